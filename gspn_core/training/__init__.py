"""Training and distillation of the embedded model."""
