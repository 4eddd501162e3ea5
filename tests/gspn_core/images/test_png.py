from __future__ import annotations

import base64
import dataclasses
import io
import json
import struct
import sys
import types
import zlib

import pytest
from PIL import Image

from gspn_core.errors import BadSetting
from gspn_core.images.metadata import recipe_of
from gspn_core.images.png import (
    FORMAT,
    parameters_text,
    picture_info,
    preview_uri,
    versions,
    write_png,
    write_proxy,
    write_sidecar,
)
from gspn_core.images.png_text import MAX_TEXT_BYTES, read_png, read_png_head
from gspn_core.planning.plan import make_plan
from gspn_core.settings import CHOICES, Settings

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MADE_WITH = {"gspn-studio": "0.1.0", "python": "3.11.4", "torch": "2.13.0"}


@pytest.fixture
def info(plan):
    return picture_info(plan, 1, MADE_WITH)


@pytest.fixture
def picture():
    return Image.radial_gradient("L").resize((128, 128)).convert("RGB")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width: int, height: int) -> bytes:
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def test_a_png_has_everything_it_was_made_with_and_unchanged_pixels(tmp_path, picture, info, plan):
    path = tmp_path / "a.png"
    write_png(path, picture, info)
    read = read_png(path)
    assert read["gspn_studio"] == info
    assert (read["width"], read["height"]) == (128, 128)
    assert Settings.from_dict(read["gspn_studio"]["settings"]) == plan.settings
    with Image.open(path) as opened:
        assert opened.tobytes() == picture.tobytes()
        assert opened.text["parameters"] == read["parameters"]


def test_the_parameters_have_the_form_that_other_tools_read(card):
    settings = Settings(prompt="a lake", negative_prompt="fog", seed=1, num_inference_steps=24)
    text = parameters_text(picture_info(make_plan(settings, card), 2, MADE_WITH))
    assert text == (
        "a lake\nNegative prompt: fog\nSteps: 24, Sampler: Euler, CFG scale: 4, Seed: 1, Size: 256x256, "
        "Model: toy, Version: gspn-studio 0.1.0"
    )


def test_the_parameters_of_a_stage_after_a_jump_hold_its_own_overrides(card):
    settings = Settings(prompt="a lake", seed=1, ladder="64", target=256, overrides="64.seed=5")
    info = picture_info(make_plan(settings, card), 0, MADE_WITH)
    assert "Seed: 5" in parameters_text(info)


def test_a_variation_is_written_by_the_names_that_other_tools_read(card):
    settings = Settings(prompt="a lake", seed=1, variation_seed=8, variation_strength=0.35)
    text = parameters_text(picture_info(make_plan(settings, card), 0, MADE_WITH))
    assert "Variation seed: 8, Variation seed strength: 0.35, Model: toy" in text
    found = recipe_of({"gspn_studio": None, "parameters": text, "width": 64, "height": 64}, card, {})
    assert (found.settings["variation_seed"], found.settings["variation_strength"]) == (8, 0.35)
    assert found.unknown == ["Model: toy", "Version: gspn-studio 0.1.0"]


def test_an_empty_negative_prompt_has_no_line(info):
    assert "Negative" not in parameters_text(info)


@pytest.mark.parametrize("scheduler", CHOICES["scheduler"])
def test_every_scheduler_has_a_name_that_other_tools_know(card, scheduler):
    plan = make_plan(Settings(prompt="a", scheduler=scheduler), card)
    assert f"Sampler: {scheduler[0].upper()}" in parameters_text(picture_info(plan, 0, MADE_WITH))


def test_the_same_picture_and_info_give_the_same_bytes(tmp_path, picture, info):
    for name in ("a", "b"):
        write_png(tmp_path / f"{name}.png", picture.copy(), json.loads(json.dumps(info)))
        write_proxy(tmp_path / f"{name}.jpg", picture)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


@pytest.mark.parametrize("prompt", ["a “lake” – 湖 🏔", "line\nbreak", "<b>&\x00\x7f", "é"])
def test_a_prompt_in_any_script_comes_back(tmp_path, picture, card, prompt):
    plan = make_plan(Settings(prompt=prompt), card)
    write_png(tmp_path / "a.png", picture, picture_info(plan, 0, MADE_WITH))
    read = read_png(tmp_path / "a.png")
    assert read["gspn_studio"]["prompt"] == prompt
    assert read["parameters"].startswith(prompt)


def test_only_the_sidecar_has_what_differs_between_runs(tmp_path, info):
    write_sidecar(tmp_path / "a.json", info, seconds=1.5, peak_bytes=3, memory_kind="process", created=9.0)
    sidecar = json.loads((tmp_path / "a.json").read_text())
    assert sidecar == {**info, "seconds": 1.5, "peak_bytes": 3, "memory_kind": "process", "created": 9.0}
    assert not {"seconds", "peak_bytes", "created"} & set(info)


def test_a_proxy_has_at_most_its_side_and_keeps_its_shape(tmp_path):
    write_proxy(tmp_path / "a.jpg", Image.new("RGB", (400, 100)), max_px=200)
    with Image.open(tmp_path / "a.jpg") as proxy:
        assert (proxy.format, proxy.size) == ("JPEG", (200, 50))
    write_proxy(tmp_path / "b.jpg", Image.new("RGB", (40, 10)), max_px=200)
    with Image.open(tmp_path / "b.jpg") as proxy:
        assert proxy.size == (40, 10)


def test_a_preview_is_a_jpeg_in_a_data_uri():
    uri = preview_uri(Image.new("RGB", (32, 16), (200, 0, 0)))
    kind, _, data = uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
        assert opened.size == (32, 16)


PACKAGES = {"gspn-studio", "python", "torch", "diffusers", "transformers", "pillow"}


def test_versions_name_this_project_its_packages_and_the_threads_that_compute():
    import torch

    found = versions()
    assert set(found) == PACKAGES | {"threads"}
    assert found["gspn-studio"].count(".") == 2
    assert found["threads"] == str(torch.get_num_threads())


@pytest.mark.parametrize("loaded", [None, types.ModuleType("torch")], ids=["not", "in part"])
def test_until_torch_is_loaded_no_threads_are_named(monkeypatch, loaded):
    monkeypatch.setitem(sys.modules, "torch", loaded)
    assert set(versions()) == PACKAGES


def test_a_png_of_another_tool_has_its_parameters_and_no_info(tmp_path):
    text = (
        chunk(b"tEXt", b"parameters\0a lake\nSteps: 3") + chunk(b"tEXt", b"Software\0x") + chunk(b"IEND", b"")
    )
    (tmp_path / "a.png").write_bytes(header(8, 8) + text)
    assert read_png(tmp_path / "a.png") == {
        "width": 8,
        "height": 8,
        "parameters": "a lake\nSteps: 3",
        "gspn_studio": None,
        "others": {"Software": "x"},
    }


def test_a_compressed_text_is_read(tmp_path):
    body = b"parameters\0\0" + zlib.compress(b"a lake")
    (tmp_path / "a.png").write_bytes(header(8, 8) + chunk(b"zTXt", body) + chunk(b"IEND", b""))
    assert read_png(tmp_path / "a.png")["parameters"] == "a lake"


BOMB = zlib.compress(b"x" * (MAX_TEXT_BYTES + 1))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a PNG"),
        (b"\xff\xd8\xff", "is not a PNG"),
        (SIGNATURE, "is damaged"),
        (header(8, 8), "is damaged"),
        (header(8, 8)[:-1] + b"\0", "is damaged"),
        (header(8, 8) + chunk(b"tEXt", b"gspn_studio\0{")[:-6], "is damaged"),
        (
            header(8, 8)
            + chunk(b"tEXt", b"parameters\0lake").replace(b"lake", b"cake")
            + chunk(b"IEND", b""),
            "is damaged",
        ),
        (header(8, 8) + chunk(b"tEXt", b"gspn_studio\0{") + chunk(b"IEND", b""), "is damaged"),
        (header(8, 8) + chunk(b"tEXt", b"gspn_studio\0" + b"[" * 10**5) + chunk(b"IEND", b""), "is damaged"),
        (header(8, 8) + chunk(b"tEXt", b"gspn_studio\0[1]") + chunk(b"IEND", b""), "is damaged"),
        (header(8, 8) + chunk(b"zTXt", b"parameters\0\0junk") + chunk(b"IEND", b""), "is damaged"),
        (header(8, 8) + chunk(b"iTXt", b"parameters\0\0\0\0\0\xff") + chunk(b"IEND", b""), "is damaged"),
        (header(10**5, 10**5), "claims 100000×100000 px"),
        (header(0, 8), "claims 0×8 px"),
        (header(8, 8) + chunk(b"tEXt", b"parameters\0" + b"x" * MAX_TEXT_BYTES), "more than 256 KiB of text"),
        (header(8, 8) + chunk(b"zTXt", b"parameters\0\0" + BOMB), "more than 256 KiB of text"),
        (header(8, 8) + chunk(b"iTXt", b"parameters\0\1\0\0\0" + BOMB), "more than 256 KiB of text"),
        (
            header(8, 8)
            + chunk(b"tEXt", b'gspn_studio\0{"format": 99, "settings": {}}')
            + chunk(b"IEND", b""),
            f"has text of format 99, this studio reads {FORMAT}",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_a_file_that_is_not_one_of_ours_is_refused_in_a_sentence(tmp_path, content, said):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(BadSetting) as caught:
        read_png(tmp_path / "a.png")
    assert caught.value.field == "picture"
    assert said in str(caught.value)


def test_the_head_of_a_file_gives_the_same_as_the_whole_file(tmp_path, picture, info):
    path = tmp_path / "a.png"
    write_png(path, picture, info)
    whole = path.read_bytes()
    head = whole[: whole.index(b"IDAT") + 4]
    assert read_png_head(head, "a.png") == read_png(path)
    assert len(head) < len(whole)
    with pytest.raises(BadSetting, match="a.png is damaged"):
        read_png_head(head[:-20], "a.png")


def test_the_text_for_other_tools_has_the_stages_own_values(plan, card):
    settings = dataclasses.replace(plan.settings, overrides="128.seed=4; 128.guidance_scale=2.5; 256.seed=9")
    own = make_plan(settings, card)
    text = parameters_text(picture_info(own, 1, versions()))
    assert "CFG scale: 2.5, Seed: 4, Size: 128x128" in text
