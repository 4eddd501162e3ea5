"""Prompt to picture up a cascade of resolutions, on a line scan instead of quadratic attention."""
