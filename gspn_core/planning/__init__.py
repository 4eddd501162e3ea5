"""What a run will do, by arithmetic alone: stages, their keys, memory and time. No torch, no files."""
