"""Metrics of images: how far two are apart, what a cascade added or repeated, adherence to a prompt."""
