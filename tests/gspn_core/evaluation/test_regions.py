import json

import numpy as np
import pytest
from PIL import Image

from gspn_core.evaluation.regions import (
    RegionConfig,
    RegionFigures,
    Regions,
    edge_jump,
    object_prompts,
    region_of,
    regions_markdown,
)
from gspn_core.region import parse_region


def test_scenes_are_held_out_and_name_the_object_that_their_region_holds():
    prompts = object_prompts(6, seed=0)
    assert prompts[:3] == object_prompts(3, seed=0)
    for prompt in prompts:
        assert prompt.scene.object != "none" and "object" in prompt.named
        mask = np.asarray(parse_region(region_of(prompt.scene)).mask(64, 64)) > 0
        assert 0.002 < mask.mean() < 0.8


def test_a_jump_is_seen_through_a_feather_and_not_where_there_is_none():
    mask = np.zeros((128, 128), bool)
    mask[40:88, 40:88] = True
    noise = np.random.default_rng(0).integers(100, 110, (128, 128, 3)).astype(float)
    within = 24 - abs(np.arange(128) - 63.5)
    rise = np.clip(np.minimum.outer(within, within) / 8, 0, 1)
    found = [
        edge_jump(Image.fromarray(np.uint8(noise + 60 * share[..., None])), mask, 16)
        for share in (np.zeros_like(rise), mask.astype(float), rise)
    ]
    assert found[0] < 2 and found[1] == pytest.approx(60, abs=2) and 30 < found[2] < 60
    assert edge_jump(Image.fromarray(np.uint8(noise)), np.ones((128, 128), bool), 16) == 0


def test_a_table_has_counts_spread_and_what_a_plain_paste_does():
    rows = [
        RegionFigures(
            number=i,
            object="cabin",
            seen={"before": "none", "redrawn": after, "img2img": "none", "true": "cabin"},
            jumps={"redrawn": 1.0 + i, "img2img": 9.0, "true": 2.0},
            changed=i,
            extended_jumps={"drawn": 3.0, "mirrored": 1.0},
            extended_changed=0,
        )
        for i, after in enumerate(("cabin", "none", "cabin", "cabin"))
    ]
    text = regions_markdown(rows)
    assert "| **its region redrawn** | 75 ± 25 | 2.5 ± 0.6 |" in text
    assert "pasted in | 0 ± 0 | 9.0 ± 0.0 |" in text and "4 scenes." in text
    assert "as before in 1 redrawn and 4 extended" in text


def test_scenes_that_a_file_has_are_not_drawn_again(model, classifier, tmp_path, silent, monkeypatch):
    path = tmp_path / "regions.json"
    config = RegionConfig(scenes=2)
    (_, first) = Regions(model, classifier, path, config, silent).run()
    assert all(row.changed == row.extended_changed == 0 for row in first)
    assert [row["number"] for row in json.loads(path.read_text())["rows"]] == [row.number for row in first]
    monkeypatch.setattr(Regions, "measure", lambda *_: pytest.fail("drawn again"))
    assert list(Regions(model, classifier, path, config, silent).run())[-1] == first
