"""Draw a scene, or a part of it, at any resolution."""
