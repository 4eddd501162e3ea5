"""The line scan on the CPU, compiled by numba."""
