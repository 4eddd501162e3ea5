"""Runs: a queue in front of one device, what every run looks like now, and its files."""
