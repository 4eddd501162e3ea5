"""Pictures as input of a network."""

import numpy as np

# Full views, then crops of views 2, 4 and 8 times as large, since later stages of a cascade need fine detail.
VIEW_SCALES = (1, 2, 4, 8)


def to_sample(pictures: np.ndarray) -> np.ndarray:
    """Turn uint8 (B, H, W, 3) into float32 (B, 3, H, W) in [-1, 1]."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), dtype=np.float32) / 127.5 - 1
