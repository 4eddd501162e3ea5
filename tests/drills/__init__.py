"""Drills: what a public server meets, done on purpose and measured (`python -m tests.drills`)."""
