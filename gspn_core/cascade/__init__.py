"""The super-resolution cascade: each stage repeats the last timesteps at twice the size of the one before."""
