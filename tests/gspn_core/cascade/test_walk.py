import re
import threading

import numpy as np
import pytest
import torch

from gspn_core.attention.adapter import self_attentions
from gspn_core.attention.gspn import GSPNMixer
from gspn_core.attention.linear import LinearMixer
from gspn_core.attention.neighborhood import NeighborhoodProcessor
from gspn_core.attention.registry import NEEDS_ADAPTER
from gspn_core.engine import Engine
from gspn_core.errors import BadSetting, NotFinite, OutOfMemory, Stopped
from gspn_core.events import CascadeDone, PlanReady, StageDone, StageStarted, StepDone, TileDone
from gspn_core.kinds.kind import CONTROL, OTHER_MODELS, TILING
from gspn_core.kinds.registry import BEGINNING_ONLY
from gspn_core.settings import FIELD_NAMES, STARTING, Settings

SETTINGS = Settings(prompt="a hill", target=256, seed=3, num_inference_steps=4, dilated_min_weight=0.0)


@pytest.fixture
def engine(tiny_model):
    return Engine(tiny_model)


def _pictures(engine, settings):
    return [
        event.image
        for event in engine.run(engine.plan(settings), previews=False)
        if isinstance(event, StageDone)
    ]


def _last(engine, **changes):
    return _pictures(engine, Settings(**{**SETTINGS.to_dict(), **changes}))[-1]


def test_events_come_in_the_order_of_the_plan(engine):
    events = list(engine.run(engine.plan(SETTINGS)))
    assert isinstance(events[0], PlanReady)
    assert isinstance(events[-1], CascadeDone)
    stages = events[0].plan.stages
    started = [event.stage for event in events if isinstance(event, StageStarted)]
    done = [event.stage for event in events if isinstance(event, StageDone)]
    assert started == done == list(stages)
    for stage in stages:
        steps = [event for event in events if isinstance(event, StepDone) and event.stage == stage.index]
        assert [event.step for event in steps] == list(range(1, stage.steps + 1))
        tiles = [event for event in events if isinstance(event, TileDone) and event.stage == stage.index]
        phases = {event.phase for event in tiles}
        assert phases == ({"decode"} if stage.kind.name == "generate" else {"encode", "decode"})


def test_pictures_double_and_previews_are_small(engine):
    events = list(engine.run(engine.plan(SETTINGS)))
    sizes = [event.image.size for event in events if isinstance(event, StageDone)]
    assert sizes == [(64, 64), (128, 128), (256, 256)]
    previews = [event.preview for event in events if isinstance(event, StepDone)]
    assert all(preview is not None and max(preview.size) <= 256 for preview in previews)


def test_figures_are_measured(engine):
    events = list(engine.run(engine.plan(SETTINGS)))
    for event in events:
        if isinstance(event, StageDone):
            assert event.seconds > 0
            assert event.memory.kind == "process"
            assert event.memory.total_bytes > event.memory.peak_bytes >= event.memory.now_bytes > 50e6
    stage_seconds = sum(event.seconds for event in events if isinstance(event, StageDone))
    assert events[-1].seconds >= 0.9 * stage_seconds


@pytest.mark.parametrize("mixer", NEEDS_ADAPTER)
def test_the_same_seed_and_settings_give_the_same_bytes(engine, mixer):
    first, second = (_last(engine, mixer=mixer, target=128).tobytes() for _ in range(2))
    assert first == second


def test_only_the_mixer_asked_for_runs(engine):
    ran = []
    attentions = self_attentions(engine.model.pipeline.unet).values()
    own = {attention: attention.processor for attention in attentions}

    def note(module, *_):
        processor = getattr(module, "processor", None)
        if isinstance(module, (GSPNMixer, LinearMixer)):
            ran.append("gspn" if isinstance(module, GSPNMixer) else "linear")
        elif isinstance(processor, NeighborhoodProcessor):
            ran.append("neighborhood")
        else:
            ran.append("attention" if processor is own[module] else processor)

    mixers = [mixer for adapter in engine.model.adapters.values() for mixer in adapter.mixers.values()]
    hooks = [module.register_forward_hook(note) for module in (*attentions, *mixers)]
    try:
        for mixer in NEEDS_ADAPTER:
            ran.clear()
            _last(engine, mixer=mixer, target=64)
            assert set(ran) == {mixer}
            assert len(ran) % len(attentions) == 0
    finally:
        for hook in hooks:
            hook.remove()


def test_neighborhood_draws_the_base_stage_as_attention_does_and_a_later_one_otherwise(engine):
    asked = {**SETTINGS.to_dict(), "target": 128, "aspect": "2:1", "upscale_strength": 1.0}
    attention, neighborhood = (
        [np.array(image, int) for image in _pictures(engine, Settings(**{**asked, "mixer": mixer}))]
        for mixer in ("attention", "neighborhood")
    )
    assert np.abs(attention[0] - neighborhood[0]).max() <= 1
    assert not np.array_equal(attention[1], neighborhood[1])


def _state_of(unet):
    """Return what a mixer or a dilation could leave behind in a UNet."""
    return [
        (
            name,
            id(module),
            len(module._forward_pre_hooks),
            len(module._forward_hooks),
            id(getattr(module, "processor", None)),
            getattr(module, "dilation", None),
            getattr(module, "padding", None),
        )
        for name, module in unet.named_modules()
    ]


@pytest.mark.parametrize("mixer", NEEDS_ADAPTER)
def test_the_unet_is_left_as_it_was_found(engine, mixer):
    unet = engine.model.pipeline.unet
    before = _state_of(unet)
    settings = Settings(**{**SETTINGS.to_dict(), "mixer": mixer})
    run = engine.run(engine.plan(settings))
    while not (isinstance(event := next(run), StepDone) and event.stage == 1):
        pass
    run.close()
    assert _state_of(unet) == before
    _last(engine, mixer=mixer, target=128)
    assert _state_of(unet) == before


CHANGES = {
    "prompt": "a lake",
    "negative_prompt": "fog",
    "target": 64,
    "aspect": "2:1",
    "mixer": "attention",
    "num_inference_steps": 5,
    "guidance_scale": 5.0,
    "guidance_stop": 0.3,
    "upscale_strength": 0.9,
    "gaussian_sigma": 2.0,
    "cosine_scale_1": 0.2,
    "cosine_scale_2": 0.3,
    "cosine_scale_3": 0.2,
    "dilated_min_weight": 0.9,
    "keep_base": 0.0,
    "dilation_scope": "all",
    "dilation_use": "main",
    "dilation_until": 0.0,
    "tile_share": 1.0,
    "ladder": "64",
    "scheduler": "unipc",
    "original_scale": 2.0,
    "target_scale": 0.5,
    "crop_top": 64,
    "crop_left": 64,
    "refiner": "image",
    "refiner_start": 0.5,
    "aesthetic_score": 9.0,
    "negative_aesthetic_score": 9.0,
    "seed": 4,
    "variation_seed": 9,
    "variation_strength": 0.5,
    "freeu_b1": 1.4,
    "freeu_b2": 1.4,
    "freeu_s1": 0.3,
    "freeu_s2": 0.3,
    "overrides": "128.seed=4",
}


def test_every_field_of_the_settings_has_a_change_to_try():
    # LoRA files are tried in tests/gspn_core/lora, controls in tests/gspn_core/conditions.
    assert set(CHANGES) | set(STARTING) | OTHER_MODELS | CONTROL | {"loras"} == set(FIELD_NAMES)


@pytest.fixture(scope="module")
def drawn_before():
    """Return where pictures that several changes are compared with are kept: settings to picture."""
    return {}


@pytest.mark.parametrize("name", CHANGES)
def test_every_setting_reaches_the_picture(engine, drawn_before, name):
    # With the dilated branch at work; it is off at the defaults.
    usual = {"target": 128, "upscale_strength": 0.7, "guidance_scale": 3.0, "cosine_scale_2": 1.0}
    if name in BEGINNING_ONLY - {"refiner"}:
        usual["refiner"] = "ensemble"
    if name == "variation_seed":
        usual["variation_strength"] = 0.5
    if name == "ladder":
        # Of three stages a ladder can leave one out.
        usual["target"] = 256
    if name in TILING:
        usual["ladder"] = "64 tiles:128"
    asked = Settings(**{**SETTINGS.to_dict(), **usual})
    if asked not in drawn_before:
        drawn_before[asked] = _last(engine, **usual)
    before = drawn_before[asked]
    after = _last(engine, **{**usual, name: CHANGES[name]})
    assert before.size != after.size or not np.array_equal(np.array(before), np.array(after))


@pytest.fixture
def seen_by_the_refiner(engine):
    """Return the timesteps that of the refiner's calls, and the scores that it reads."""
    seen = []
    hook = engine.model.refiner.register_forward_pre_hook(
        lambda _module, args, kwargs: seen.append(
            (float(args[1]), kwargs["added_cond_kwargs"]["time_ids"][:, -1].tolist())
        ),
        with_kwargs=True,
    )
    yield seen
    hook.remove()


def test_an_ensemble_hands_the_schedules_end_over_to_the_refiner(engine, seen_by_the_refiner):
    _last(engine, refiner="ensemble", refiner_start=0.6, num_inference_steps=10, target=64)
    assert len(seen_by_the_refiner) == 4
    assert all(timestep < 400 for timestep, _ in seen_by_the_refiner)
    assert seen_by_the_refiner[0][1] == [2.5, 6.0]


def test_a_finished_picture_is_drawn_again_by_the_refiner_in_steps_that_are_planned(
    engine, seen_by_the_refiner
):
    settings = Settings(
        prompt="a hill", target=64, seed=3, num_inference_steps=10, refiner="image", refiner_start=0.7
    )
    events = list(engine.run(engine.plan(settings)))
    assert events[0].plan.stages[0].steps == 13 and events[0].model_calls == (13,)
    assert [event.step for event in events if isinstance(event, StepDone)] == list(range(1, 14))
    assert len(seen_by_the_refiner) == 3


def test_the_refiner_leaves_later_stages_and_their_keys_alone(engine, seen_by_the_refiner):
    _last(engine, refiner="ensemble", num_inference_steps=4, target=64)
    alone = len(seen_by_the_refiner)
    _last(engine, refiner="ensemble", num_inference_steps=4, target=256)
    assert 0 < alone == len(seen_by_the_refiner) - alone


def test_text_is_encoded_once_for_all_stages(engine):
    calls = []
    encoder = engine.model.pipeline.text_encoder
    hook = encoder.register_forward_hook(lambda *_: calls.append(1))
    try:
        _last(engine, negative_prompt="fog")
    finally:
        hook.remove()
    assert len(calls) == 2


@pytest.mark.parametrize("after", [3, 9, 14])
def test_a_stop_ends_the_run_at_the_next_event_and_keeps_finished_stages(engine, after):
    asked = threading.Event()
    events = []
    with pytest.raises(Stopped):
        for event in engine.run(engine.plan(SETTINGS), asked.is_set):
            assert not asked.is_set()
            events.append(event)
            if len(events) == after:
                asked.set()
    assert len(events) == after
    assert len(_pictures(engine, SETTINGS)) == 3


def test_bad_settings_are_refused_before_anything_runs(engine):
    with pytest.raises(BadSetting, match="reaches a target of 64, 128, 256, 512 px, got 1000; try 512"):
        next(engine.run(engine.plan(Settings(prompt="a", target=1000))))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("too much"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=["gpu", "python", "cpu"],
)
def test_lack_of_memory_is_reported_in_a_sentence_and_the_engine_goes_on(engine, monkeypatch, error):
    vae, decode = engine.model.pipeline.vae, engine.model.pipeline.vae.decode

    def fail_at_the_second_stage(latents, **kwargs):
        if latents.shape[2] > 8:
            raise error
        return decode(latents, **kwargs)

    seen = []
    with monkeypatch.context() as patch, pytest.raises(OutOfMemory, match="finished stages are kept"):
        patch.setattr(vae, "decode", fail_at_the_second_stage)
        for event in engine.run(engine.plan(SETTINGS)):
            seen.append(event)
    assert sum(isinstance(event, StageDone) for event in seen) == 1
    assert len(_pictures(engine, SETTINGS)) == 3


def test_another_failure_of_torch_is_not_taken_for_memory(engine, monkeypatch):
    def fail(*_args, **_kwargs):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(engine.model.pipeline.vae, "decode", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(engine.run(engine.plan(SETTINGS)))


def test_inference_mode_does_not_leak_out_of_the_run(engine):
    run = engine.run(engine.plan(SETTINGS))
    next(run)
    next(run)
    assert not torch.is_inference_mode_enabled()
    run.close()


def test_a_run_may_be_resumed_from_another_thread(engine):
    run, events = engine.run(engine.plan(SETTINGS), previews=False), []
    for _ in range(3):
        thread = threading.Thread(target=lambda: events.append(next(run)))
        thread.start()
        thread.join()
    events.extend(run)
    images = [event.image for event in events if isinstance(event, StageDone)]
    assert images[-1].tobytes() == _last(engine).tobytes()


def test_a_run_that_goes_on_after_finished_stages_gives_the_same_bytes(engine):
    whole = _pictures(engine, SETTINGS)
    events = list(engine.run(engine.plan(SETTINGS), finished=whole[:2]))
    started = [event.stage.index for event in events if isinstance(event, StageStarted)]
    assert started == [2]
    (last,) = [event.image for event in events if isinstance(event, StageDone)]
    assert last.tobytes() == whole[2].tobytes()


@pytest.mark.parametrize(
    ("part", "what", "remedy"), [("unet", "latents", "another model"), ("vae", "image", "--vae")]
)
def test_numbers_that_are_none_end_the_run_with_a_remedy(engine, part, what, remedy):
    broken = getattr(engine.model.pipeline, part)
    weight = broken.conv_out.bias if part == "unet" else broken.decoder.conv_out.bias
    sound = weight.detach().clone()
    try:
        weight.data[0] = float("nan")
        said = f"{what}.*not numbers.*--dtype float32 or with .*{remedy}"
        with pytest.raises(NotFinite, match=re.escape(remedy)) as caught:
            _pictures(engine, SETTINGS)
        assert re.search(said, str(caught.value))
    finally:
        weight.data.copy_(sound)


def test_a_stage_of_the_defaults_shrinks_to_the_stage_before(engine):
    asked = {**SETTINGS.to_dict(), "target": 128, "gaussian_sigma": 0.0}
    before, after = _pictures(engine, Settings(**asked))
    shrunk = np.asarray(after.reduce(2), dtype=float)
    apart = np.abs(shrunk - np.asarray(before, dtype=float))
    # What was clipped to black or white cannot be restored.
    assert np.median(apart) < 4
    loose = np.asarray(_pictures(engine, Settings(**{**asked, "keep_base": 0.0}))[1].reduce(2), dtype=float)
    assert np.median(apart) < 0.3 * np.median(np.abs(loose - np.asarray(before, dtype=float)))
