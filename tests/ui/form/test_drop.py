from __future__ import annotations

import base64
import dataclasses
import hashlib
import io

import gradio as gr
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gspn_core.errors import GspnError
from gspn_core.images.formats import write_as
from gspn_core.images.png import picture_info, versions, write_png
from gspn_core.planning.plan import make_plan
from gspn_core.runs.reducer import apply_event
from gspn_core.runs.run import FileWritten
from gspn_core.settings import FIELD_NAMES, Settings
from tests.gspn_core.images.foreign_files import COMMENTS, text_chunk, with_exif
from tests.gspn_core.images.foreign_files import png as foreign_png
from ui.form.drop import MOST_HEAD_BYTES, checked, drop_props, read_picture, restored
from ui.form.form import initial_values, settings_from
from ui.shared.strings import form_strings


def head_of(png: bytes) -> str:
    return base64.b64encode(png[: png.index(b"IDAT") + 4]).decode()


@pytest.fixture
def plan(card):
    return make_plan(Settings(prompt="a toy boat", seed=42, target=128, gaussian_sigma=1.5), card)


@pytest.fixture
def picture(plan, tmp_path) -> bytes:
    path = tmp_path / "a.png"
    write_png(path, Image.new("RGB", (128, 128), "teal"), picture_info(plan, 1, versions()))
    return path.read_bytes()


@pytest.fixture
def held(card) -> list:
    return list({**initial_values(card), "prompt": "mine", "negative_prompt": "rust"}.values())


def test_our_own_picture_fills_the_form_with_what_made_it(picture, held, card, plan):
    shown, *values = read_picture({"head": head_of(picture), "name": "a.png", "sha256": "f" * 64}, held, card)
    assert settings_from(values) == plan.settings
    assert shown["said"] == "From a.png, stage 2"
    assert (shown["stage"], shown["sha256"], shown["notes"], shown["error"]) == (1, "f" * 64, [], "")
    assert shown["before"] == held


def test_what_the_form_held_comes_back(picture, held, card):
    shown, *_ = read_picture({"head": head_of(picture), "name": "a.png"}, held, card)
    assert restored({"before": shown["before"]}, card) == held
    for nothing in ({}, {"before": 3}, {"before": []}):
        assert len(restored(nothing, card)) == len(FIELD_NAMES)


def test_a_picture_of_another_tool_leaves_the_rest_of_the_form_alone(held, card):
    stream, info = io.BytesIO(), PngInfo()
    info.add_text("parameters", "a castle\nSteps: 9, Sampler: Euler a, CFG scale: 3, Seed: 5, Clip skip: 2")
    Image.new("RGB", (64, 64)).save(stream, "PNG", pnginfo=info)
    shown, *values = read_picture({"head": head_of(stream.getvalue()), "name": "b.png"}, held, card)
    form = dict(zip(FIELD_NAMES, values, strict=True))
    assert (form["prompt"], form["num_inference_steps"], form["seed"]) == ("a castle", 9, "5")
    assert form["scheduler"] == initial_values(card)["scheduler"]
    assert shown["stage"] is None
    assert shown["notes"] == [
        form_strings.imported_from(""),
        form_strings.not_taken(["Sampler: Euler a", "Clip skip: 2"]),
    ]


def test_what_the_form_holds_may_be_wrong_when_another_tools_picture_comes(held, card):
    stream, info = io.BytesIO(), PngInfo()
    info.add_text("parameters", "a castle\nSteps: 9, Sampler: Euler, Seed: 5")
    Image.new("RGB", (64, 64)).save(stream, "PNG", pnginfo=info)
    wrong = [*held]
    wrong[FIELD_NAMES.index("overrides")] = "rubbish"
    wrong[FIELD_NAMES.index("cosine_scale_1")] = None
    shown, *values = read_picture({"head": head_of(stream.getvalue()), "name": "b.png"}, wrong, card)
    form = dict(zip(FIELD_NAMES, values, strict=True))
    assert (form["prompt"], form["overrides"], form["cosine_scale_1"]) == ("a castle", "rubbish", None)
    assert shown["before"] == wrong


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (base64.b64encode(b"\xff\xd8\xff\xe0").decode(), "is not a PNG"),
        ("not base64!", "did not arrive whole"),
        (None, "next to its pixels"),
        ("A" * (MOST_HEAD_BYTES * 2), "next to its pixels"),
        (base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 30).decode(), "is damaged"),
    ],
)
def test_a_file_that_cannot_be_read_changes_nothing_in_the_form(held, card, head, said):
    shown, *values = read_picture({"head": head, "name": "../../x.png"}, held, card)
    assert said in shown["error"] and shown["error"].startswith("x.png")
    assert all(value == gr.skip() for value in values)


class Runs:
    """RunQueue with one run."""

    def __init__(self, view) -> None:
        self._view = view

    def view(self, job_id: str):
        if job_id != self._view.id:
            raise GspnError("There is no such run.")
        return self._view


def test_a_reproduction_is_held_against_the_picture_once_it_is_written(view_after, tmp_path):
    path = tmp_path / "stage.png"
    path.write_bytes(b"the same")
    asked = {
        "stage": 1,
        "sha256": hashlib.sha256(b"the same").hexdigest(),
        "shown": drop_props(said="From a"),
    }
    view = view_after()
    asked["job"] = view.id
    assert checked(Runs(view), asked)["check"] == "wait"
    view = apply_event(view, FileWritten(stage=1, kind="png", path=str(path)))
    same = checked(Runs(view), asked)
    assert (same["check"], same["said"]) == (form_strings.DROP_SAME, "From a")
    assert checked(Runs(view), {**asked, "sha256": "0" * 64})["check"] == form_strings.DROP_DIFFERS
    for stranger in ("stranger", None, 3):
        assert checked(Runs(view), {**asked, "job": stranger})["check"] == ""
    for stage in (None, 9, "1", -1):
        assert checked(Runs(view), {**asked, "stage": stage})["check"] == "wait"


def test_a_stage_that_an_earlier_run_made_is_not_said_to_be_reproduced(view_after, tmp_path):
    path = tmp_path / "stage.png"
    path.write_bytes(b"the same")
    view = apply_event(view_after(), FileWritten(stage=1, kind="png", path=str(path)))
    stages = (view.stages[0], dataclasses.replace(view.stages[1], reused=True), *view.stages[2:])
    asked = {"job": view.id, "stage": 1, "sha256": hashlib.sha256(b"the same").hexdigest()}
    found = checked(Runs(dataclasses.replace(view, stages=stages)), asked)
    assert found["check"] == form_strings.DROP_SAME_REUSED


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setattr("ui.form.start.get_upload_folder", lambda: str(folder))
    return folder


SETTINGS = "a castle\nSteps: 9, Sampler: Euler, CFG scale: 3, Seed: 5"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_an_uploaded_picture_is_read_and_removed(uploads, held, card, kind):
    path = uploads / "picture"
    path.write_bytes(with_exif(kind, COMMENTS["unicode big"](SETTINGS)))
    shown, *values = read_picture({"path": str(path), "name": "b.jpg", "either": True}, held, card)
    form = dict(zip(FIELD_NAMES, values, strict=True))
    assert (form["prompt"], form["seed"], form["aspect"]) == ("a castle", "5", "3:2")
    assert not path.exists() and not shown["error"] and "start" not in shown


def test_an_uploaded_picture_without_settings_is_kept_to_start_from(uploads, held, card):
    path = uploads / "picture"
    path.write_bytes(with_exif("JPEG"))
    asked = {"path": str(path), "name": "photo.jpg"}
    shown, *values = read_picture({**asked, "either": True}, held, card)
    assert (shown["start"], shown["path"], shown["error"]) == (True, str(path), "")
    assert shown["said"] == form_strings.used_as_start("photo.jpg", "")
    assert path.exists() and all(value == gr.skip() for value in values)
    again, *_ = read_picture({**asked, "either": True}, held, card)
    assert again["turn"] != shown["turn"]
    refused, *_ = read_picture(asked, held, card)
    assert "does not say how it was made" in refused["error"] and not path.exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "nowhere", "a\0b", "", "."])
def test_a_path_that_was_not_uploaded_is_neither_read_nor_removed(uploads, held, card, tmp_path, path):
    own = tmp_path / "mine.jpg"
    own.write_bytes(with_exif("JPEG", COMMENTS["ascii"](SETTINGS)))
    for asked in (path, str(own), str(uploads)):
        shown, *_ = read_picture({"path": asked, "name": "x.jpg"}, held, card)
        assert shown["error"].startswith("x.jpg")
    assert own.exists() and uploads.exists()


def test_a_picture_whose_tool_is_known_is_named_and_started_from(held, card):
    data = foreign_png(text_chunk("tEXt", "prompt", '{"3": {"class_type": "KSampler", "inputs": {}}}'))
    asked = {"head": base64.b64encode(data).decode(), "name": "c.png"}
    shown, *_ = read_picture({**asked, "either": True}, held, card)
    assert shown["said"] == "Made by ComfyUI, whose workflow is not read here; used as init image."
    assert shown["start"] and not shown["path"]
    refused, *_ = read_picture(asked, held, card)
    assert refused["error"].startswith("Made by ComfyUI, whose workflow is not read here; type its settings")


def test_what_a_prompt_means_to_another_tool_alone_is_said(held, card):
    text = "a (red:1.2) castle <lora:ink:1>\nSteps: 9, Sampler: UniPC, Schedule type: Karras, Seed: 5"
    data = foreign_png(text_chunk("iTXt", "parameters", text))
    shown, *_ = read_picture({"head": base64.b64encode(data).decode(), "name": "b.png"}, held, card)
    assert shown["notes"] == [
        form_strings.imported_from(""),
        "LoRA ink (1) is not here for this model; the picture was made with it.",
        form_strings.not_taken(["Schedule type: Karras"]),
    ]


@pytest.mark.parametrize("ending", ["webp", "jpeg"])
def test_a_download_of_this_page_fills_the_form_as_its_png_does(uploads, picture, held, card, plan, ending):
    png = uploads.parent / "own.png"
    png.write_bytes(picture)
    path = uploads / f"own.{ending}"
    write_as(path, png)
    shown, *values = read_picture({"path": str(path), "name": path.name, "either": True}, held, card)
    assert settings_from(values) == plan.settings
    assert shown["said"] == f"From own.{ending}, stage 2"
    assert (shown["stage"], shown["sha256"], shown["notes"]) == (1, None, [])
    assert shown["check"] == form_strings.DROP_LOSSY and not path.exists()
