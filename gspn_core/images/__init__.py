"""Image files: reading them safely, PNG with its metadata, tiles."""
