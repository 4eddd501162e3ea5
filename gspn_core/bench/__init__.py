"""Benchmarks: `python -m gspn_core.bench NAME` prints the tables that the README quotes."""
