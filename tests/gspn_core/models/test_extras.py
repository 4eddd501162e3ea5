import dataclasses

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel

from gspn_core.models.catalog import Extras, find_card
from gspn_core.models.extras import REFINER_SHAPES, TINY_PARAMETERS, with_extras
from gspn_core.models.layout import LAYOUTS
from gspn_core.models.random_weights import write_random_refiner
from gspn_core.models.shapes import SDXL_SHAPES, unet_shapes


def count(part) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def test_the_published_extras_shapes_are_those_of_their_classes():
    with torch.device("meta"):
        refiner = UNet2DConditionModel.from_config(dict(LAYOUTS["full"].refiner))
        tiny = AutoencoderTiny()
    assert unet_shapes(refiner.config, parameters=count(refiner)) == REFINER_SHAPES
    assert count(tiny) == TINY_PARAMETERS


def test_a_refiner_in_a_folder_is_read_from_it(tmp_path):
    write_random_refiner(tmp_path / "refiner", size="small")
    shapes = find_card("world", extras=Extras(refiner=str(tmp_path / "refiner"))).shapes
    assert shapes.refiner.channels == (16, 32, 32) and shapes.refiner.parameters > 10_000
    plain = find_card("world").shapes
    assert dataclasses.replace(shapes, refiner=None) == plain


def test_what_is_to_be_fetched_is_known_by_its_name():
    shapes = find_card("sdxl", extras=Extras(refiner="sdxl-refiner", preview="taesdxl")).shapes
    assert (shapes.refiner, shapes.preview_parameters) == (REFINER_SHAPES, TINY_PARAMETERS)


def test_an_extra_of_unknown_shapes_makes_the_whole_unknown(tmp_path):
    assert with_extras(SDXL_SHAPES, refiner=tmp_path, preview=None) is None
    assert with_extras(None, refiner=None, preview=None) is None
