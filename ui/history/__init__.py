"""The visitor's own runs."""
