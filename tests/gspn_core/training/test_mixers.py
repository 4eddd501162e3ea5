"""The comparison of mixers at toy size."""

from __future__ import annotations

import json
from dataclasses import replace

import torch
from torch import nn

from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.training.captured import Captured
from gspn_core.training.distillation import Distillation
from gspn_core.training.mixers import FORMS, but_the_lowest, compare, ship, table


def test_every_form_is_distilled_once_and_sorted_by_its_distance(trained):
    recipe, _ = trained
    recipe = replace(recipe, distill_loop=replace(recipe.distill_loop, max_steps=1))
    forms = {name: FORMS[name] for name in ("hybrid", "chunk-free")}
    rows = compare(recipe, forms)
    assert {row["name"] for row in rows} == set(forms)
    assert [row["apart"] for row in rows] == sorted(row["apart"] for row in rows)
    assert all(row["parameters"] > 0 and row["mixer_loss"] > 0 for row in rows)
    kept = {row["name"]: row["mixers"] for row in rows}
    assert 0 < kept["hybrid"] < kept["chunk-free"]
    figures = (recipe.work / "mixers" / "hybrid" / "figures.json").read_text()
    (recipe.work / "mixers" / "hybrid" / "figures.json").write_text(
        json.dumps({**json.loads(figures), "apart": 9.0})
    )
    assert compare(recipe, forms)[-1]["apart"] == 9.0
    assert table(rows).count("\n") == 3


def test_a_hybrid_keeps_the_attention_of_the_lowest_resolution(trained):
    recipe, _ = trained
    work = Distillation(recipe)
    names = but_the_lowest(work.unet)
    assert names < set(work.adapter.mixers)
    batch = work.large.draw(1)
    seen = Captured()
    with torch.no_grad(), seen.of(work.unet, work.adapter.mixers):
        work._predict(batch.latents, torch.tensor([5]), batch)
    sizes = {name: size[0] for name, size in seen.map_sizes.items()}
    lowest = min(sizes.values())
    assert names == {name for name, size in sizes.items() if size > lowest}


def test_a_form_that_is_shipped_goes_on_from_the_comparison(trained, tmp_path):
    recipe, _ = trained
    short = replace(recipe, distill_loop=replace(recipe.distill_loop, max_steps=1))
    compare(short, {"compact": FORMS["compact"]})
    compared = torch.load(recipe.work / "mixers" / "compact" / "adapter.pt", weights_only=True)
    longer = replace(recipe, distill_loop=replace(recipe.distill_loop, max_steps=3))
    losses = ship(longer, "compact", tmp_path / "adapter")
    assert losses["mixer_loss"] > 0
    kept = torch.load(recipe.work / "mixers" / "compact" / "on-policy.pt", weights_only=True)
    assert kept["step"] == 3
    loaded = GSPNAdapter.load(tmp_path / "adapter", Distillation(recipe).unet)
    assert loaded.config == FORMS["compact"].config
    # Three steps after the end of the comparison, and their weights are written.
    written, averages = [*loaded.mixers.values()], kept["averages"]["mixers"]
    state = nn.ModuleList(written).state_dict()
    before = dict(zip(averages, compared.values(), strict=True))
    for name, average in averages.items():
        torch.testing.assert_close(state[name].float(), average, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(average, before[name], atol=2e-2, rtol=1e-2)
    assert any(not torch.equal(averages[name], before[name]) for name in averages)
