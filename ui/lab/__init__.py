"""The Lab: grids of runs."""
