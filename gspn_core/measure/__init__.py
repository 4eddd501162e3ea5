"""Figures of pictures: how far two are apart, and what a cascade added, kept or repeated."""
