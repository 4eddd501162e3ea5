"""Metrics of images: difference of two, what a cascade added or repeated, adherence to a prompt."""
