"""How much of a prompt a picture of the embedded model shows, by a classifier of attributes."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from gspn_core.metrics.arrays import to_size
from gspn_core.models.catalog import WORLD, WORLD_FOLDER
from gspn_core.prompts import plain_text
from gspn_core.world.captions import read_attributes

if TYPE_CHECKING:
    from gspn_core.metrics.classifier import Classifier

CLASSIFIER_FILE = WORLD_FOLDER / "classifier" / "classifier.safetensors"


# After the network's halvings a side must have two pixels left: on maps one pixel wide, oneDNN's bfloat16
# convolution sometimes returned NaN (torch 2.13).
_LEAST_PX = 64


class PromptAdherence:
    """The share of the attributes named in a prompt that the classifier sees in a picture.

    The classifier is loaded at the first picture; its accuracy is in the embedded model's card.
    """

    def __init__(self, path: Path = CLASSIFIER_FILE) -> None:
        self._path = path
        self._reading = threading.Lock()
        self._classifier: Classifier | None = None

    def __call__(self, prompt: str, picture: Image.Image) -> float | None:
        """Measure one picture.

        Args:
            prompt: that the picture was made from.
            picture: of any size and shape; a larger one is shrunk to the pixel count of the model's base.

        Returns:
            A share in [0, 1]; None for a prompt that names no attribute.

        Raises:
            ModelUnavailable: the classifier's file is missing or belongs to another world.
        """
        asked = read_attributes(plain_text(prompt))
        if not asked:
            return None
        # Imports torch, which the page does not need before its first study.
        from gspn_core.metrics.classifier import look, read_classifier

        with self._reading:
            if self._classifier is None:
                self._classifier = read_classifier(self._path)
        scale = min(1.0, WORLD.base_px / math.sqrt(picture.width * picture.height))
        width, height = (max(_LEAST_PX, round(side * scale)) for side in picture.size)
        small = to_size(picture, width, height)
        seen = look(self._classifier, [np.asarray(small)]).values
        return sum(seen[name][0] in values for name, values in asked.items()) / len(asked)
