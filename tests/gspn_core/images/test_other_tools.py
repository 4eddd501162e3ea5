"""Settings out of the files of other tools, each input made here."""

from __future__ import annotations

import json
import pickle

import pytest
from PIL import ExifTags

from gspn_core.errors import BadSetting
from gspn_core.images.infotext import parse_infotext
from gspn_core.images.metadata import Recipe, recipe_of
from gspn_core.images.other_tools import UnreadText
from gspn_core.images.picture_text import read_texts
from gspn_core.images.samplers import sampler_of
from gspn_core.prompts import markup_in
from tests.gspn_core.images.foreign_files import COMMENTS, chunk, png, text_chunk, with_exif

LINE = "Steps: 31, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 908, Size: 96x64"
TEXT = f"a harbour — café で\nNegative prompt: mist\n{LINE}"
READ = {
    "prompt": "a harbour — café で",
    "negative_prompt": "mist",
    "num_inference_steps": 31,
    "guidance_scale": 6.5,
    "seed": 908,
    "scheduler": "dpm++2m-karras",
}


@pytest.fixture
def recipe(card, tmp_path):
    """Return a function: the recipe of a file's bytes."""

    def of(data: bytes) -> Recipe:
        path = tmp_path / "picture"
        path.write_bytes(data)
        return recipe_of(read_texts(path, "picture.png"), card, {})

    return of


def settings_of(found: Recipe) -> dict:
    return {name: found.settings[name] for name in READ if name in found.settings}


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt", "iTXt+"])
@pytest.mark.parametrize("is_after", [False, True])
def test_a_text_of_any_kind_is_read_before_and_after_the_pixels(recipe, kind, is_after):
    text = (text_chunk(kind, "parameters", TEXT),)
    found = recipe(png(after=text) if is_after else png(*text))
    assert settings_of(found) == READ
    assert (found.settings["aspect"], found.unknown, found.refused) == ("3:2", [], [])


def test_a_plain_text_in_latin_1_is_read_as_that(recipe):
    text = f"a caf\xe9\n{LINE}".encode("latin-1")
    assert recipe(png(text_chunk("tEXt", "parameters", text))).settings["prompt"] == "a café"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "PNG", "TIFF"])
@pytest.mark.parametrize("form", COMMENTS)
def test_a_comment_in_exif_is_read_in_any_encoding(recipe, kind, form):
    assert settings_of(recipe(with_exif(kind, COMMENTS[form](TEXT)))) == READ


def test_a_picture_on_its_side_has_the_aspect_that_is_seen(recipe):
    data = with_exif("JPEG", COMMENTS["ascii"](TEXT), {ExifTags.Base.Orientation: 6})
    assert recipe(data).settings["aspect"] == "2:3"


@pytest.mark.parametrize(
    ("foreign", "place"),
    [
        (text_chunk("tEXt", "workflow", "{" * 400_000), "before"),
        (text_chunk("zTXt", "prompt", "y" * 3_000_000), "before"),
        (text_chunk("iTXt", "XML:com.adobe.xmp", b"\xe9\xff"), "before"),
        (text_chunk("tEXt", "parameters", "torn", is_sound=False), "before"),
        (text_chunk("zTXt", "parameters", "z" * 300_000), "before"),
        (chunk(b"zTXt", b"parameters\0\0not packed"), "before"),
        (chunk(b"iTXt", b"parameters\0\0\0\0\0\xff\xfe"), "before"),
        (chunk(b"tEXt", b"no keyword"), "before"),
        (chunk(b"tEXt", b""), "before"),
        (chunk(b"iCCP", b"profile\0\0junk"), "before"),
        (chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\2\1\x12\0\3"), "before"),
        (chunk(b"eXIf", b"x" * 300_000), "before"),
        (chunk(b"caBX", bytes(400_000)), "before"),
        (b"\0\0\0", "after"),
    ],
    ids=range(14),
)
def test_other_chunks_hide_no_sound_text(recipe, foreign, place):
    text = text_chunk("iTXt", "parameters", TEXT)
    data = png(foreign, text) if place == "before" else png(after=(text, foreign), ends=False)
    assert settings_of(recipe(data)) == READ


GRAPH = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "xl.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a harbour — café で", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "mist", "clip": ["4", 1]}},
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 908,
            "steps": 31,
            "cfg": 6.5,
            "sampler_name": "dpmpp_2m",
            "scheduler": "karras",
            "denoise": 1,
            "positive": ["6", 0],
            "negative": ["7", 0],
        },
    },
}
SWARM = {
    "sui_image_params": {
        "prompt": READ["prompt"],
        "negativeprompt": "mist",
        "steps": 31,
        "cfgscale": 6.5,
        "seed": 908,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "model": "xl",
        "width": 96,
    }
}
FOOOCUS = {
    "prompt": READ["prompt"],
    "negative_prompt": "mist",
    "steps": 31,
    "guidance_scale": 6.5,
    "seed": "908",
    "sampler": "dpmpp_2m_sde_gpu",
    "scheduler": "karras",
    "sharpness": 2.0,
    "metadata_scheme": "fooocus",
    "resolution": "(96, 64)",
}
INVOKE = {
    "app_version": "5.0",
    "positive_prompt": READ["prompt"],
    "negative_prompt": "mist",
    "steps": 31,
    "cfg_scale": 6.5,
    "seed": 908,
    "scheduler": "dpmpp_2m_k",
    "width": 96,
}
NOVEL = {
    "prompt": READ["prompt"],
    "uc": "mist",
    "steps": 31,
    "scale": 6.5,
    "seed": 908,
    "sampler": "k_dpmpp_2m",
    "noise_schedule": "karras",
    "request_type": "x",
}
CIVITAI = {
    "extraMetadata": json.dumps(
        {
            "prompt": READ["prompt"],
            "negativePrompt": "mist",
            "steps": 31,
            "cfgScale": 6.5,
            "seed": 908,
            "sampler": "DPM++ 2M Karras",
        }
    ),
    "3": {"class_type": "X", "inputs": {}},
}
OLD_INVOKE = {
    "app_id": "invoke-ai/InvokeAI",
    "image": {
        "prompt": [{"prompt": READ["prompt"], "weight": 1.0}],
        "steps": 31,
        "cfg_scale": 6.5,
        "seed": 908,
        "sampler": "k_euler",
    },
}
UTF16 = COMMENTS["unicode big"]


@pytest.mark.parametrize(
    ("data", "tool", "different"),
    [
        (png(text_chunk("tEXt", "parameters", json.dumps(SWARM, indent=2))), "SwarmUI", {}),
        (with_exif("JPEG", UTF16(json.dumps(SWARM))), "SwarmUI", {}),
        (with_exif("WEBP", COMMENTS["ascii"](json.dumps(SWARM))), "SwarmUI", {}),
        (
            png(
                text_chunk("tEXt", "fooocus_scheme", "fooocus"),
                text_chunk("tEXt", "parameters", json.dumps(FOOOCUS)),
            ),
            "Fooocus",
            {"scheduler": "dpm++2m-sde-karras"},
        ),
        (
            with_exif("WEBP", UTF16(json.dumps(FOOOCUS)), {ExifTags.Base.Software: "Fooocus v2.5"}),
            "Fooocus",
            {"scheduler": "dpm++2m-sde-karras"},
        ),
        (png(text_chunk("tEXt", "parameters", f"{TEXT}, Version: Fooocus v2.5.0")), "Fooocus", {}),
        (png(text_chunk("tEXt", "parameters", f"{TEXT}, App: SD.Next")), "SD.Next", {}),
        (png(text_chunk("iTXt", "invokeai_metadata", json.dumps(INVOKE))), "InvokeAI", {}),
        (
            png(text_chunk("tEXt", "sd-metadata", json.dumps(OLD_INVOKE))),
            "InvokeAI",
            {"scheduler": "euler", "negative_prompt": ""},
        ),
        (
            png(
                text_chunk("tEXt", "Software", "NovelAI"),
                text_chunk("tEXt", "Description", READ["prompt"]),
                text_chunk("tEXt", "Comment", json.dumps(NOVEL)),
            ),
            "NovelAI",
            {},
        ),
        (
            with_exif("WEBP", UTF16(json.dumps({"Software": "NovelAI", "Comment": json.dumps(NOVEL)}))),
            "NovelAI",
            {},
        ),
        (png(text_chunk("tEXt", "prompt", json.dumps(GRAPH))), "ComfyUI", {}),
        (png(after=(text_chunk("zTXt", "prompt", json.dumps(GRAPH)),)), "ComfyUI", {}),
        (with_exif("WEBP", None, {ExifTags.Base.Model: f"prompt:{json.dumps(GRAPH)}"}), "ComfyUI", {}),
        (with_exif("JPEG", UTF16(json.dumps(CIVITAI))), "Civitai", {}),
        (
            with_exif("JPEG", UTF16(f"{TEXT}, Civitai resources: [], Civitai metadata: {{}}")),
            "",
            {},
        ),
    ],
    ids=range(16),
)
def test_the_settings_of_another_tool_are_taken_over(recipe, data, tool, different):
    found = recipe(data)
    assert settings_of(found) == {**READ, **different}
    assert found.tool == tool and not found.is_ours and not found.refused


def two_samplers() -> dict:
    return {**GRAPH, "9": GRAPH["3"]}


def without_text() -> dict:
    return {**GRAPH, "6": {"class_type": "Wildcards", "inputs": {"file": "a"}}}


@pytest.mark.parametrize(
    ("chunks", "made_by"),
    [
        ([("prompt", json.dumps(two_samplers()))], "ComfyUI, whose workflow"),
        ([("prompt", json.dumps(without_text()))], "ComfyUI, whose workflow"),
        ([("prompt", "{torn")], "ComfyUI, whose workflow"),
        ([("prompt", "y" * 300_000)], "ComfyUI, whose workflow"),
        ([("workflow", '{"nodes": []}')], "ComfyUI, whose workflow"),
        ([("parameters", '{"nodes": [], "links": []}')], "ComfyUI, whose workflow"),
        ([("Dream", '"a lake" -s 50')], "InvokeAI, whose text"),
        ([("invokeai_graph", "{}")], "InvokeAI, whose text"),
        ([("invokeai_metadata", '{"app_version": "9"}')], "InvokeAI, whose text"),
        ([("Software", "NovelAI"), ("Comment", "torn")], "NovelAI, whose text"),
        ([("parameters", '{"sui_image_params": {"seed": 1}}')], "SwarmUI, whose text"),
        ([("parameters", '{"hue": 3}')], "another tool, whose text"),
        ([("parameters", '[{"hue": 3}]')], "another tool, whose text"),
        ([("parameters", '{"prompt": "a lake", "steps"')], "another tool, whose text"),
        ([("parameters", '{"a":' * 40_000)], "another tool, whose text"),
    ],
    ids=range(15),
)
def test_what_is_not_read_is_named_and_never_the_prompt(recipe, chunks, made_by):
    with pytest.raises(UnreadText, match=f"^Made by {made_by} is not read here; type its settings") as caught:
        recipe(png(*(text_chunk("tEXt", *one) for one in chunks)))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        png(),
        png(text_chunk("tEXt", "Software", "GIMP")),
        png(text_chunk("tEXt", "Description", "my holidays, Time: dusk, Mood: calm, Place: sea")),
        with_exif("JPEG", b"ASCII\0\0\0Screenshot"),
        with_exif("JPEG", None, {ExifTags.Base.Make: "Camera", ExifTags.Base.ImageDescription: "DIGITAL"}),
        with_exif("WEBP", b"UNICODE\0"),
        with_exif("AVIF"),
    ],
    ids=range(7),
)
def test_a_picture_that_no_tool_made_holds_no_settings(recipe, data):
    with pytest.raises(BadSetting, match="does not say how it was made") as caught:
        recipe(data)
    assert not isinstance(caught.value, UnreadText)


@pytest.mark.parametrize("data", [b"", b"text", b"\xff\xd8\xff\xe1\0", b"RIFF\0\0\0\0WEBP", b"%PDF-1.4"])
def test_a_file_that_is_not_a_picture_is_refused_in_a_sentence(recipe, data):
    with pytest.raises(BadSetting, match="is not an image that can be read; choose a PNG, JPEG, WebP"):
        recipe(data)


@pytest.mark.parametrize(
    ("text", "prompt", "negative", "pairs", "more"),
    [
        ("a pier. Negative prompt: mist. Steps: 8, Seed: 3", "a pier", "mist", 2, 0),
        ("a pier Negative prompt: mist Steps: 8, Sampler: Euler", "a pier", "mist", 2, 0),
        ("a pier, Steps: 8, Seed: 3, Size: 9x9", "a pier", "", 3, 0),
        ("a pier Negative prompt: mist\nSteps: 8, Seed: 3", "a pier", "mist", 2, 0),
        ("a pier\nNegative prompt: mist. Steps: 8", "a pier", "mist", 1, 0),
        ("a pier\nNegative prompt: mist,\nrain\nSteps: 8", "a pier", "mist,\nrain", 1, 0),
        ("a pier\nSteps: 8\nSampler: Euler\nSeed: 3", "a pier", "", 3, 0),
        ("a pier\nSeed: 3, Steps: 8", "a pier", "", 2, 0),
        ("a pier\nSteps: 8, Seed: 3\nTemplate: {a|b}\nNegative Template: x", "a pier", "", 2, 2),
        ('a\nSteps: 8, Civitai resources: [{"n": "x, Seed: 5"}], Seed: 3', "a", "", 3, 0),
        ('a\nSteps: 8, Seed: 3\n\nCivitai resources: [{"n": "Seed: 5, Size: 1x1, "}]', "a", "", 2, 1),
        ('a\nSteps: 8, Seed: 3, Lora hashes: "a: 1, Seed: 5", X: [{"torn": "Seed: 5', "a", "", 4, 0),
        ("Place: pier, Time: noon, Mood: calm", "Place: pier, Time: noon, Mood: calm", "", 0, 0),
        ("Steps: up a hill, Seed: of doubt", "Steps: up a hill, Seed: of doubt", "", 0, 0),
        ("stairs with Steps: 12", "stairs with Steps: 12", "", 0, 0),
        ("scene: a\nlight: b\nlens: c", "scene: a\nlight: b\nlens: c", "", 0, 0),
        ("{red|blue} sails\nSteps: 8, Seed: 3", "{red|blue} sails", "", 2, 0),
    ],
)
def test_a_text_is_parted_at_its_marks(text, prompt, negative, pairs, more):
    found = parse_infotext(text)
    assert (found.prompt, found.negative_prompt) == (prompt, negative)
    assert (len(found.pairs), len(found.more)) == (pairs, more)
    assert found.pairs.get("Seed", "3") == "3"


@pytest.mark.parametrize(
    ("sampler", "schedule", "ours", "left"),
    [
        ("DPM++ 2M", "Karras", "dpm++2m-karras", ""),
        ("DPM++ 2M Karras", "", "dpm++2m-karras", ""),
        ("dpmpp_2m_sde_gpu", "karras", "dpm++2m-sde-karras", ""),
        ("k_euler", "native", "euler", ""),
        ("euler_k", "", "euler-karras", ""),
        ("uni_pc_bh2", "normal", "unipc", ""),
        ("UniPC", "Karras", "unipc", "Karras"),
        ("DDIM", "karras", "ddim", "Karras"),
        ("Euler", "Exponential", "euler", "Exponential"),
        ("DPM++ 2M", "Automatic", "dpm++2m", "Automatic"),
        ("Euler a", "Karras", None, "Karras"),
        ("euler_ancestral", "", None, ""),
        ("", "beta", None, "beta"),
    ],
)
def test_a_sampler_of_any_name_is_ours_or_named(sampler, schedule, ours, left):
    assert sampler_of(sampler, schedule) == (ours, left)


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("Steps: 8, Sampler: UniPC, Schedule type: Karras", ["Schedule type: Karras"]),
        ("Steps: 8, Sampler: Euler a, Schedule type: Beta", ["Sampler: Euler a", "Schedule type: Beta"]),
        ("Steps: 8, Schedule type: Exponential, Seed: 1", ["Schedule type: Exponential"]),
        ("Steps: 8, Seed: 1, Hires upscale: 2", ["Hires upscale: 2"]),
    ],
)
def test_what_cannot_be_taken_over_is_listed(recipe, line, unknown):
    assert recipe(png(text_chunk("tEXt", "parameters", f"a\n{line}"))).unknown == unknown


@pytest.mark.parametrize(
    ("pairs", "unknown"),
    [
        ("Variation seed: 77, Variation seed strength: 0.25", []),
        ("Variation seed: 77, Variation strength: 0.25", []),
        (
            "Variation seed: 77, Variation seed strength: 0.25, Seed resize from: 512x512",
            ["Seed resize from: 512x512"],
        ),
    ],
)
def test_a_variation_seed_is_taken_over_with_its_strength(recipe, pairs, unknown):
    found = recipe(png(text_chunk("tEXt", "parameters", f"a\n{LINE}, {pairs}")))
    assert (found.settings["variation_seed"], found.settings["variation_strength"]) == (77, 0.25)
    assert found.unknown == unknown


def test_a_variation_of_swarmui_is_taken_over(recipe):
    params = SWARM["sui_image_params"] | {"variationseed": 12, "variationseedstrength": 0.4}
    found = recipe(png(text_chunk("tEXt", "parameters", json.dumps({"sui_image_params": params}))))
    assert (found.settings["variation_seed"], found.settings["variation_strength"]) == (12, 0.4)


def test_a_far_seed_is_refused_without_another_in_its_place(recipe):
    found = recipe(png(text_chunk("tEXt", "parameters", "a\nSteps: 8, Seed: 1102676403634909")))
    assert "seed" not in found.settings
    assert found.refused == [
        "seed must be a whole number from 0 to 4294967295, got 1102676403634909; "
        "leave it empty for a random one."
    ]


@pytest.mark.parametrize(
    ("prompt", "markup"),
    [
        ("a (red:1.3) sail", ()),
        ("((sail)) and {{wind}}", ("weights in braces",)),
        ("[sail:0.5]", ("prompt editing",)),
        ("<hypernet:ink:0.8> sail BREAK sea", ("tags",)),
        ("__colour__ sail, {one|two} masts", ("wildcards",)),
        ("a sail AND a mast, embedding:bad", ("AND", "embeddings")),
        ("a red sail (old), at 12:30", ()),
    ],
)
def test_markup_that_means_nothing_here_is_found(recipe, prompt, markup):
    assert markup_in(prompt) == markup
    found = recipe(png(text_chunk("iTXt", "parameters", f"{prompt}\n{LINE}")))
    assert found.markup == markup and found.settings["prompt"] == prompt
