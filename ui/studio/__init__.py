"""The studio: a run on the screen."""
