"""The kinds of a stage: what its image depends on, where it stands, how many steps it takes. No torch."""
