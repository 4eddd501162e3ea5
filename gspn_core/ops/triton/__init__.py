"""The line scan on CUDA, compiled by Triton."""
