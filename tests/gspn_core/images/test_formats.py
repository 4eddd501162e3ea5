"""Pictures that this project writes in other formats bring the very same settings back."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from PIL import Image

from gspn_core.errors import BadSetting
from gspn_core.images.formats import write_as, write_film
from gspn_core.images.metadata import recipe_of
from gspn_core.images.picture_text import read_texts
from gspn_core.images.png import picture_info, versions, write_png
from gspn_core.images.xmp import text_in, xmp_of
from gspn_core.planning.plan import make_plan
from gspn_core.settings import Settings

PLAIN = Settings(prompt="a toy boat", seed=42, target=128)
ASKED = {
    "plain": PLAIN,
    "every script": replace(PLAIN, prompt="家 \U0001f6a4 “quay” & <b>it's</b>\n\ttab \x7f \u2028 \uffff"),
    "many settings": replace(
        PLAIN,
        negative_prompt="fog\nrust",
        gaussian_sigma=1.37,
        num_inference_steps=17,
        scheduler="dpm++2m-sde-karras",
        overrides="128.guidance_scale=2.5\n128.seed=9",
    ),
    "quotes": replace(PLAIN, prompt="\"'&<" * 500),
    "as long as can be": replace(
        PLAIN,
        prompt="\U0001f6a4" * 2000,
        negative_prompt="家" * 2000,
        start=f"640x480-{'a' * 64}",
        start_strength=0.5,
        region="; ".join(["brush 30" + " 1000" * 18] * 200),
    ),
}
ENDINGS = ("png", "webp", "jpeg")


@pytest.fixture
def written(card, tmp_path):
    """Write a picture with settings in a format; return its path."""

    def write(settings: Settings, ending: str, **changed):
        png = tmp_path / "a.png"
        plan = make_plan(settings, card)
        info = {**picture_info(plan, len(plan.stages) - 1, versions()), **changed}
        write_png(png, Image.new("RGB", (128, 128), "teal"), info)
        path = png.with_suffix(f".{ending}")
        if ending != "png":
            write_as(path, png)
        return path

    return write


@pytest.mark.parametrize("settings", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_settings_come_back(written, card, settings, ending):
    recipe = recipe_of(read_texts(written(settings, ending)), card, versions())
    assert Settings.from_dict(recipe.settings) == make_plan(settings, card).settings
    assert recipe.stage == (0 if settings.start else 1) and recipe.is_ours
    assert not (recipe.refused or recipe.unknown or recipe.differing)


def test_a_film_brings_the_settings_of_its_last_stage(written, card, tmp_path):
    png = written(PLAIN, "png")
    film = tmp_path / "film.webp"
    write_film(film, [png, png], png)
    recipe = recipe_of(read_texts(film), card, versions())
    assert Settings.from_dict(recipe.settings) == make_plan(PLAIN, card).settings


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_picture_of_a_later_format_is_refused_by_name(written, ending):
    path = written(PLAIN, ending, format=99)
    with pytest.raises(BadSetting, match="text of format 99, this studio reads 1"):
        read_texts(path, "a.x")


def test_a_picture_without_its_xmp_is_read_as_another_tool_s(written, card):
    stream = io.BytesIO()
    with Image.open(written(PLAIN, "jpeg")) as image:
        image.save(stream, "JPEG", exif=image.info["exif"])
    path = written(PLAIN, "png").with_name("bare.jpeg")
    path.write_bytes(stream.getvalue())
    recipe = recipe_of(read_texts(path), card, versions())
    assert not recipe.is_ours and recipe.settings["prompt"] == PLAIN.prompt


def test_an_editor_may_write_the_property_as_an_element():
    info = {"settings": {"prompt": "a & b"}}
    text = json.dumps(info).replace("&", "&amp;")
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<r:Description xmlns:ns1="urn:gspn-studio"><ns1:settings>{text}</ns1:settings></r:Description>'
        "</r:RDF></x:xmpmeta>"
    )
    assert json.loads(text_in(packet)) == json.loads(text_in(packet.encode() + b"  \0")) == info


@pytest.mark.parametrize(
    "packet",
    [
        None,
        3,
        b"",
        b"\xff\xfe",
        b"<x:xmpmeta urn:gspn-studio",
        xmp_of({"settings": {}})[:-60],
        xmp_of({"settings": {}}).replace(b"urn:gspn-studio", b"urn:another"),
        b'<!DOCTYPE x [<!ENTITY a "aa">]>' + xmp_of({"settings": {}}),
        ('<!DOCTYPE x [<!ENTITY a "aa">]>' + xmp_of({"settings": {}}).decode()).encode("utf-16"),
        xmp_of({"settings": {"prompt": "a" * 600_000}}),
        xmp_of({"settings": {"prompt": "a" * 300_000}}),
    ],
)
def test_a_packet_that_is_damaged_foreign_or_too_large_holds_nothing(packet):
    assert text_in(packet) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"settings": 3}', '{"settings": {}}', "[" * 50_000])
def test_a_packet_that_holds_no_settings_is_refused_or_ignored(tmp_path, text):
    from xml.sax.saxutils import quoteattr

    packet = xmp_of({}).replace(b'"{}"', quoteattr(text).encode())
    path = tmp_path / "b.webp"
    Image.new("RGB", (64, 64)).save(path, "WEBP", xmp=packet)
    if not text:
        assert read_texts(path)["gspn_studio"] is None
        return
    with pytest.raises(BadSetting):
        read_texts(path)
