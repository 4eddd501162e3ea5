"""Pictures next to each other."""
