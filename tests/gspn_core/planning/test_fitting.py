from __future__ import annotations

import dataclasses
import itertools
import random

import pytest

from gspn_core.models.catalog import SDXL_CARD, find_card
from gspn_core.models.extras import REFINER_SHAPES, TINY_PARAMETERS
from gspn_core.models.shapes import SDXL_SHAPES
from gspn_core.planning.costs import Work, predict, tile_px
from gspn_core.planning.fitting import fit
from gspn_core.planning.plan import make_plan, work_of
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import Machine, MemoryOptions
from gspn_core.settings import Settings

GPU = Machine(
    device="cuda",
    budget_bytes=24 * 10**9,
    base_bytes=5 * 10**8,
    host_bytes=64 * 10**9,
    timings=(
        StageTiming(
            mixer="attention",
            height=1024,
            width=1024,
            encode_seconds=0.2,
            step_seconds=0.3,
            decode_seconds=0.4,
        ),
    ),
)
CPU = dataclasses.replace(GPU, device="cpu", host_bytes=0)
SMALL_HOST = dataclasses.replace(GPU, host_bytes=10**9)
REFINED = dataclasses.replace(SDXL_SHAPES, refiner=REFINER_SHAPES, preview_parameters=TINY_PARAMETERS)
SDXL = dataclasses.replace(SDXL_CARD, shapes=SDXL_SHAPES)


def work(px=4096, mixer="neighborhood", **changes):
    return dataclasses.replace(
        Work(height=px, width=px, mixer=mixer, calls=20, tile_px=1024 if px > 1024 else None), **changes
    )


@pytest.mark.parametrize("refined", [False, True], ids=["alone", "with a refiner"])
@pytest.mark.parametrize("machine", [GPU, CPU, SMALL_HOST], ids=["gpu", "cpu", "gpu with a small host"])
def test_a_plan_stays_within_its_budget_and_more_budget_is_never_slower(machine, refined):
    shapes = REFINED if refined else SDXL_SHAPES
    random.seed(0)
    works = [
        work(px, mixer, rows=rows, has_reference=px > 1024, refines=refined and px == 1024)
        for px, mixer, rows in itertools.product(
            (1024, 2048, 4096, 8192), ("attention", "neighborhood", "gspn", "linear"), (1, 2)
        )
    ]
    fitted = 0
    for one in random.sample(works, 16):
        before = None
        for budget in sorted(random.uniform(2e9, 60e9) for _ in range(40)):
            way = fit(one, shapes, dataclasses.replace(machine, budget_bytes=int(budget)))
            if way is None:
                assert before is None, "what fitted into less must fit into more"
                continue
            fitted += 1
            assert way.peak_bytes <= budget
            assert before is None or way.seconds <= before
            before = way.seconds
    assert fitted > 100


def test_every_choice_costs_time_or_none_and_saves_memory():
    plain = predict(work(8192), MemoryOptions(), SDXL_SHAPES, GPU)
    for name in ("serial_guidance", "skips_on_host"):
        saving = predict(work(8192), MemoryOptions(**{name: True}), SDXL_SHAPES, GPU)
        assert saving.peak_bytes < plain.peak_bytes
        assert saving.seconds > plain.seconds
    for residency in ("model", "group"):
        saving = predict(work(8192), MemoryOptions(residency=residency), SDXL_SHAPES, GPU)
        assert saving.peak_bytes < plain.peak_bytes
        assert saving.seconds > plain.seconds


def test_a_refiner_and_a_preview_decoder_are_counted_where_they_are():
    other_parts = 2 * (REFINER_SHAPES.parameters + TINY_PARAMETERS)
    for one in (work(1024, has_reference=False), work(4096)):
        plain, refined = (predict(one, MemoryOptions(), shapes, GPU) for shapes in (SDXL_SHAPES, REFINED))
        assert refined.peak_bytes == plain.peak_bytes + other_parts
    # With the UNet alone on the device, the refiner comes for the stage that it works in and for no other.
    moved = MemoryOptions(residency="model")
    plain, refined = (predict(work(4096), moved, shapes, GPU) for shapes in (SDXL_SHAPES, REFINED))
    assert refined.peak_bytes == plain.peak_bytes + 2 * TINY_PARAMETERS
    first = work(1024, has_reference=False)
    plain = predict(first, moved, SDXL_SHAPES, GPU)
    working = predict(dataclasses.replace(first, refines=True), moved, REFINED, GPU)
    assert working.peak_bytes >= plain.peak_bytes + other_parts


def test_only_the_first_stage_works_with_the_refiner():
    card = dataclasses.replace(SDXL, shapes=REFINED, has_refiner=True)
    asked = Settings(prompt="a lake", seed=1, target=2048, refiner="ensemble")
    first, second = make_plan(asked, card, GPU).stages
    assert work_of(first).refines and not work_of(second).refines
    assert not work_of(make_plan(dataclasses.replace(asked, refiner="none"), card, GPU).stages[0]).refines


def test_eight_thousand_pixels_fit_into_24_gigabytes():
    way = fit(work(8192), SDXL_SHAPES, GPU)
    assert way is not None
    assert not way.choices.small_tiles and not way.choices.float8_storage


def test_nothing_that_changes_the_picture_is_chosen_while_something_exact_fits():
    for budget in range(4, 40):
        machine = dataclasses.replace(GPU, budget_bytes=budget * 10**9)
        way = fit(work(4096), SDXL_SHAPES, machine)
        if way is None or not (way.choices.small_tiles or way.choices.float8_storage):
            continue
        exact = dataclasses.replace(
            way.choices, small_tiles=0, float8_storage=False, serial_guidance=True,
            chunked_feed_forward=True, small_blocks=True, skips_on_host=True,
        )  # fmt: skip
        assert predict(work(4096), exact, SDXL_SHAPES, machine).peak_bytes > machine.budget_bytes


def test_a_longer_text_takes_longer_and_leaves_keys_alone():
    asked = Settings(prompt="a lake", seed=1, target=1024, mixer="attention")
    short, same, long = (
        make_plan(asked, SDXL, GPU, chunks=lambda *_, count=count: count) for count in (1, 1, 8)
    )
    assert short == same == make_plan(asked, SDXL, GPU)
    assert [stage.key for stage in short.stages] == [stage.key for stage in long.stages]
    assert long.stages[-1].text_chunks == 8
    assert 1.01 < long.stages[-1].seconds / short.stages[-1].seconds < 1.2


def test_without_memory_on_the_host_nothing_is_offloaded():
    way = fit(work(1024), SDXL_SHAPES, dataclasses.replace(SMALL_HOST, budget_bytes=int(8e9)))
    assert way is None or (way.choices.residency == "device" and not way.choices.skips_on_host)


def test_tiles_are_halved_from_the_whole_picture_or_from_the_models_own():
    assert tile_px(work(4096), MemoryOptions(small_tiles=1)) == 512
    assert tile_px(work(1024), MemoryOptions(small_tiles=1)) == 512
    assert tile_px(work(1024), MemoryOptions()) is None


def test_a_stages_key_changes_with_tiles_but_not_with_options_of_equal_bytes():
    ask = Settings(prompt="a lake", seed=1, target=2048)

    def keys(gigabytes):
        machine = dataclasses.replace(GPU, budget_bytes=int(gigabytes * 1e9))
        return [(stage.choices, stage.key) for stage in make_plan(ask, SDXL, machine).stages]

    roomy, tight = keys(48), keys(7.5)
    assert roomy[0][0].residency == "device" and tight[0][0].residency != "device"
    assert roomy[0][1] == tight[0][1] == make_plan(ask, SDXL).stages[0].key
    tiny = keys(3.5)
    assert tiny[-1][0].small_tiles and tiny[-1][1] != roomy[-1][1]


def test_a_stage_that_never_fits_is_named_with_what_it_needs():
    machine = dataclasses.replace(GPU, budget_bytes=int(6e9))
    plan = make_plan(Settings(prompt="a lake", seed=1, target=8192), SDXL, machine)
    assert plan.too_large is plan.stages[3]
    assert plan.too_large.peak_bytes > plan.budget_bytes
    assert all(stage.peak_bytes <= plan.budget_bytes for stage in plan.stages[:3])


def test_the_embedded_models_numbers_are_read_from_its_files():
    shapes = find_card("world").shapes
    assert shapes.unet.parameters == pytest.approx(11e6, rel=0.1)
    assert shapes.vae.factor == 8
    assert shapes.mixer_parameters("gspn") > 0 == shapes.mixer_parameters("attention")


def test_a_stage_in_tiles_needs_the_memory_of_a_tile_and_the_time_of_its_calls():
    def last(**values):
        asked = Settings(prompt="a", seed=1, target=4096, mixer="neighborhood", **values)
        return make_plan(asked, SDXL, GPU).stages[-1]

    whole = last(ladder="1024 4096")
    half, every = (last(ladder="1024 tiles:4096", tile_share=share) for share in (0.5, 1.0))
    assert half.calls == half.steps * 8 and every.calls == every.steps * 16
    assert half.peak_bytes == every.peak_bytes < whole.peak_bytes
    around = last(ladder="1024 tiles:4096", tile_share=0.0625)
    assert every.seconds - half.seconds == pytest.approx(8 * (half.seconds - around.seconds) / 7)
    assert last(ladder="1024 tiles:4096", tile_share=0.0).seconds == 0
