"""Super-resolution: one pass of a network from a small picture to one four times as large."""
