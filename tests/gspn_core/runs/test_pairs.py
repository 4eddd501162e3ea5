from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gspn_core.errors import BadSetting, Busy, GspnError
from gspn_core.images.load import digest
from gspn_core.runs import pairs as module
from gspn_core.runs.pairs import Pairs
from gspn_core.runs.run import StageView


@pytest.fixture
def stage(tmp_path):
    """Return a function that makes a finished stage with a picture of noise in a new job's folder."""

    def make(seed: int = 0, height: int = 32, width: int = 48) -> StageView:
        values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = Image.fromarray(values)
        path = tmp_path / f"job-{seed}-{height}" / "stage.png"
        path.parent.mkdir(exist_ok=True)
        image.save(path)
        return StageView(
            index=0, height=height, width=width, state="done", png_path=str(path), digest=digest(image)
        )

    return make


def test_two_pictures_have_figures_and_a_map_in_the_folder_of_the_first(stage):
    one, other = stage(1), stage(2)
    figures = Pairs().figures(one, other)
    assert (figures.height, figures.width) == (32, 48)
    assert 5 < figures.psnr < 12 and -0.2 < figures.ssim < 0.2
    heat = Path(figures.heat_path)
    assert heat.parent == Path(one.png_path).parent
    assert Image.open(heat).size == (48, 32)


def test_a_picture_is_equal_to_itself(stage):
    figures = Pairs().figures(stage(1), stage(1))
    assert figures.psnr is None
    assert figures.ssim == pytest.approx(1)


def test_two_sizes_are_compared_at_the_smaller(stage):
    figures = Pairs().figures(stage(1, 64, 96), stage(2))
    assert (figures.height, figures.width) == (32, 48)
    with pytest.raises(BadSetting, match="other shapes"):
        Pairs().figures(stage(1, 64, 64), stage(2))


def test_what_was_measured_is_kept_and_a_lost_or_damaged_record_is_measured_again(stage, monkeypatch):
    measured, measure = [], module._measure
    monkeypatch.setattr(module, "_measure", lambda *args: measured.append(1) or measure(*args))
    one, other = stage(1), stage(2)
    first = Pairs().figures(one, other)
    assert Pairs().figures(one, other) == first
    assert len(measured) == 1
    record = Path(first.heat_path).with_suffix(".json")
    record.write_text("{")
    assert Pairs().figures(one, other) == first
    Path(first.heat_path).unlink()
    assert Pairs().figures(one, other) == first
    assert len(measured) == 3


def test_an_unwritten_or_missing_picture_is_refused(stage):
    one, other = stage(1), stage(2)
    with pytest.raises(GspnError, match="picture of 48×32 is not written yet"):
        Pairs().figures(one, StageView(index=0, height=32, width=48))
    Path(other.png_path).unlink()
    with pytest.raises(GspnError, match="gone or damaged"):
        Pairs().figures(one, other)


def test_only_so_many_wait(stage, monkeypatch):
    entered, leave = threading.Event(), threading.Event()

    def slow(*_):
        entered.set()
        assert leave.wait(60)
        raise GspnError("no")

    monkeypatch.setattr(module, "_measure", slow)
    pairs, stages = Pairs(), [stage(number) for number in range(2)]

    def ask() -> None:
        with pytest.raises(GspnError):
            pairs.figures(*stages)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert entered.wait(60)
    for _ in range(6000):
        if pairs._waiting._value == 0:
            break
        threading.Event().wait(0.01)
    with pytest.raises(Busy, match="try again in a moment"):
        pairs.figures(*stages)
    leave.set()
    for thread in threads:
        thread.join(60)
