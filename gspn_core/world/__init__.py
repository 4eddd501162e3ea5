"""The procedural world of landscapes that the embedded model is trained on and measured against."""
