"""Measurements of the embedded model and of the cascade against true scenes."""
