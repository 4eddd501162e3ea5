"""Untrusted text is read in one pass: no text within the size limit takes long."""

from __future__ import annotations

import json
import random
import re
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from gspn_core.errors import BadSetting
from gspn_core.images.metadata import recipe_of
from gspn_core.images.png_text import MAX_CHUNKS, read_png_head
from gspn_core.planning.types import ModelCard
from gspn_core.setting_values import override_lines
from gspn_core.settings import (
    MAX_OVERRIDES,
    MAX_OVERRIDES_CHARACTERS,
    Settings,
    overrides_text,
    parse_overrides,
    read_value,
)
from gspn_core.studies.axis import parse_axis

# Of this thread alone, and ten times what the slowest takes on a slow core; the first forms took minutes.
MOST_SECONDS = 0.5
CARD = ModelCard(
    name="toy",
    title="Toy",
    description="draws toys",
    base_px=64,
    size_multiple=32,
    max_target_px=128,
    default_target_px=128,
    num_inference_steps=4,
    guidance_scale=4.0,
    upscale_strength=0.5,
    mixers=("gspn",),
)


@contextmanager
def a_moment() -> Iterator[None]:
    began = time.thread_time()
    yield
    assert time.thread_time() - began < MOST_SECONDS


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return the head of a PNG with these chunks before its pixels."""
    header = (b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (header, *chunks, (b"IDAT", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    "text",
    [
        '512.prompt="' + '\\"' * 16_000,
        '"\\"' * 33_000,
        '512.prompt="' + "\\" * 32_000,
        '"' * 33_001,
        '";' * 33_000,
        "1.seed=" + "9" * 90_000,
        "1" * 100_000,
        "1 . " + " " * 90_000 + "x",
        "1.seed=1\n" * 11_000,
        "\n".join(f"{n}.seed=1" for n in range(64, 8000)),
    ],
    ids=range(10),
)
def test_overrides_of_any_text_are_read_or_refused_at_once(text):
    with a_moment(), suppress(BadSetting):
        Settings(prompt="a toy", overrides=text[:MAX_OVERRIDES_CHARACTERS])


def test_the_parts_of_overrides_are_those_of_the_formula():
    formula = re.compile(r'(?:[^\n;"]|"(?:[^"\\\n]|\\.)*"|")+')
    draw = random.Random(7)
    for _ in range(20_000):
        text = "".join(draw.choice('a;"\\\n') for _ in range(draw.randrange(14)))
        assert override_lines(text) == formula.findall(text), text


def test_overrides_beyond_their_bounds_are_refused_with_the_count():
    with pytest.raises(BadSetting, match="100,001 characters, at most 100,000 fit"):
        parse_overrides(" " * (MAX_OVERRIDES_CHARACTERS + 1))
    many = [{"stage_px": 64 + n, "name": "seed", "value": 1} for n in range(MAX_OVERRIDES + 1)]
    for given in (many, overrides_text(many[:-1]) + "\n9999.seed=1"):
        with pytest.raises(BadSetting, match="301 values, at most 300 fit"):
            Settings(prompt="a toy", overrides=given)
    assert read_value("seed", "9" * 65) == "9" * 65


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("seed", "9" * 100_000),
        ("gaussian_sigma", "0" * 50_000 + ".." + "0" * 40_000),
        ("gaussian_sigma", "1" * 100_000 + "x"),
        ("gaussian_sigma", "." * 100_000),
        ("seed", "999 from 1," * 9_000),
        ("gaussian_sigma", "1," * 50_000),
        ("gaussian_sigma", "0.1..0.9 by 0.1," * 1_000),
        ("gaussian_sigma", "1 " + " " * 90_000 + ".."),
        ("prompt", "a\n" * 50_000),
    ],
    ids=range(9),
)
def test_the_values_of_an_axis_are_read_or_refused_at_once(name, text):
    with a_moment(), pytest.raises(BadSetting):
        axis = parse_axis(name, text[:100_000], CARD)
        # The same value again and again is one.
        raise BadSetting("axis", str(axis.values))


def test_a_number_with_a_point_at_its_end_is_still_one():
    assert parse_axis("gaussian_sigma", "1., .5, 2e0, 0.5..1. by .25", CARD).values == (1.0, 0.5, 2.0, 0.75)


def test_a_picture_of_thousands_of_packed_texts_costs_a_moment():
    bomb = zlib.compress(b"a" * 255_000, 9)
    chunks = [(b"zTXt", b"parameters\0\0" + bomb)] * 3_000
    with a_moment():
        found = read_png_head(
            png((b"zTXt", b"parameters\0\0" + zlib.compress(b"a castle")), *chunks), "a.png"
        )
    assert found["parameters"] == "a castle"
    with a_moment():
        assert read_png_head(png(*[(b"zTXt", b"x\0\0" + bomb)] * 3_000), "a.png")["parameters"] is None
    with a_moment(), pytest.raises(BadSetting, match="is damaged"):
        read_png_head(png(*[(b"tEXt", b"")] * (MAX_CHUNKS + 1)), "a.png")


def test_a_foreign_text_that_is_damaged_or_large_hides_no_sound_one():
    foreign = [(b"zTXt", b"workflow\0\0not packed"), (b"tEXt", b"prompt\0" + b"a" * 300_000)]
    assert (
        read_png_head(png(*foreign, (b"tEXt", b"parameters\0a castle")), "a.png")["parameters"] == "a castle"
    )


@pytest.mark.parametrize(
    "text",
    [
        'a:"' * 80_000,
        'a:"\\",' * 40_000,
        "a " * 120_000,
        ",".join(f"k{n}: v" for n in range(25_000)),
        "Negative prompt:\n" * 15_000,
        "a Steps: 1\n" * 22_000,
        "a Seed: 1, b\n" * 18_000,
        "Steps: 1, " + "a: [" * 60_000,
        "Steps: 1, " + 'a: ["' * 50_000,
        "Steps: 1, " + "a: [1," * 40_000,
        "Steps: 1\n" + "a: {" * 60_000,
        "(a" * 120_000 + ":1.",
        "{a|" * 80_000,
        json.dumps({"prompt": "a", "seed": 1, **{f"k{n}": [n] for n in range(15_000)}}),
        '{"prompt": "a", "x": ' + "[" * 200_000,
        '{"sui_image_params": "' + '\\"' * 100_000,
        json.dumps({"Comment": json.dumps({"uc": "\\" * 40_000}), "Software": "NovelAI"}),
    ],
    ids=range(17),
)
def test_a_text_of_another_tool_is_read_at_once(text):
    found = {"gspn_studio": None, "parameters": text, "width": 64, "height": 64, "others": {}}
    with a_moment(), suppress(BadSetting):
        recipe_of(found, CARD, {})


def test_a_graph_of_thousands_of_nodes_that_lead_in_circles_is_given_up_at_once():
    nodes = {
        str(n): {"class_type": "X", "inputs": {"text": [str(n + 1), 0], "conditioning": [str(n + 1), 0]}}
        for n in range(3000)
    }
    sampler = {name: ["0", 0] for name in ("steps", "cfg", "sampler_name", "positive", "negative", "seed")}
    nodes["2999"] = {"class_type": "KSampler", "inputs": sampler}
    found = {"gspn_studio": None, "parameters": None, "width": 64, "height": 64}
    with a_moment(), pytest.raises(BadSetting, match="Made by ComfyUI"):
        recipe_of({**found, "others": {"prompt": json.dumps(nodes)}}, CARD, {})


def test_settings_of_a_picture_with_thousands_of_names_are_read_at_once():
    settings = {f"name {n}": [n] for n in range(12_000)}
    text = json.dumps({"format": 1, "settings": settings})[:250_000]
    found = {
        "gspn_studio": {"settings": settings, "format": 1},
        "width": 64,
        "height": 64,
        "parameters": text,
    }
    with a_moment():
        recipe_of(found, CARD, {})
