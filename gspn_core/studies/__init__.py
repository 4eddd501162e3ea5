"""Parameter studies: axes, cells, the runner, the export."""
