"""The runs that `tests.golden` records: one case per feature that changes a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WORLD, TINY = "world", "tiny"
BOTH, SINGLE = ("float32", "bfloat16"), ("float32",)
COMMON: Mapping[str, Any] = {"seed": 7, "num_inference_steps": 2}
PROMPTS = {
    WORLD: "snowy mountains over a lake at dusk, a few clouds, low sun",
    TINY: "a red fox in deep snow",
}
TARGETS = {WORLD: 512, TINY: 128}
SAMPLERS = (
    "euler",
    "euler-karras",
    "dpm++2m",
    "dpm++2m-karras",
    "dpm++2m-sde",
    "dpm++2m-sde-karras",
    "unipc",
    "ddim",
    "lcm",
    "tcd",
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run.

    Args:
        settings: in addition to COMMON.
        starts: whether it has an init image.
        finished: how many of its first stages are passed in as pictures, made by the same run.
        room_mib: by dtype, MiB that a stage may take above the process's own memory; plenty where not given.
        runs_out: how often memory runs out after a step.
        ways: the memory options that the last stage must end up with because of that.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: str = WORLD
    dtypes: Sequence[str] = SINGLE
    starts: bool = False
    finished: int = 0
    room_mib: Mapping[str, int] = field(default_factory=dict)
    runs_out: int = 0
    ways: tuple[str, ...] = ()


def _world(name: str, *, dtypes: Sequence[str] = SINGLE, **settings: Any) -> Case:
    return Case(name=name, settings=settings, dtypes=dtypes)


def _tiny(name: str, **settings: Any) -> Case:
    return Case(name=name, settings=settings, model=TINY, dtypes=BOTH)


DILATED = {"cosine_scale_2": 0.15, "upscale_strength": 0.6, "num_inference_steps": 3}
CASES: tuple[Case, ...] = (
    *(_world(f"mixer-{name}", mixer=name, dtypes=BOTH) for name in ("gspn", "attention", "neighborhood")),
    *(
        _world(f"sampler-{name}", mixer="attention", scheduler=name, num_inference_steps=3)
        for name in SAMPLERS
    ),
    _world("base-alone", target=256),
    _world("ladder-jump", target=1024, ladder="256 1024"),
    _world("ladder-doublings", target=1024, ladder="256 512 1024"),
    _world("keep-base-0", keep_base=0.0, mixer="attention"),
    _world("keep-base-half", keep_base=0.5, mixer="attention"),
    _world("dilation-down", **DILATED, dtypes=BOTH),
    _world("dilation-deep", **DILATED, dilation_scope="deep"),
    _world("dilation-all", **DILATED, dilation_scope="all"),
    _world("dilation-main", **DILATED, dilation_use="main", dilation_until=0.5),
    _world("dilation-neighborhood", **DILATED, mixer="neighborhood", dtypes=BOTH),
    _world("dilation-least-weight", num_inference_steps=3, cosine_scale_2=1.0, dilated_min_weight=0.3),
    _world(
        "holds", gaussian_sigma=2.0, cosine_scale_1=0.5, cosine_scale_3=1.0, upscale_strength=0.7, dtypes=BOTH
    ),
    _world("holds-none", gaussian_sigma=0.0, cosine_scale_1=3.0, mixer="attention"),
    _world("negative", negative_prompt="clouds, fog", mixer="attention"),
    _world("guidance-1", guidance_scale=1.0, dtypes=BOTH),
    _world("guidance-8", guidance_scale=8.0, mixer="attention"),
    _world("guidance-stop", guidance_stop=0.5, num_inference_steps=3, mixer="attention"),
    _world("portrait", aspect="2:3"),
    _world("landscape", aspect="16:9", target=256, mixer="neighborhood"),
    _world("size-conditioning", original_scale=0.5, target_scale=2.0, crop_top=64, crop_left=8, target=256),
    _world("override-many", overrides="512.mixer=attention\n512.scheduler=euler\n512.seed=3"),
    _world(
        "override-prompt",
        mixer="attention",
        overrides="256.guidance_scale=1\n512.prompt=a beach at sunset\n512.num_inference_steps=5",
    ),
    Case(name="start-kept", starts=True),
    Case(name="start-redrawn", starts=True, settings={"start_strength": 0.5}, dtypes=BOTH),
    Case(name="start-redrawn-alone", starts=True, settings={"start_strength": 0.9, "target": 256}),
    Case(name="start-at-512", starts=True, settings={"start_px": 512, "start_strength": 0.5}),
    Case(name="finished-base", finished=1),
    Case(name="memory-tiles", room_mib={"float32": 180, "bfloat16": 125}, ways=("small_tiles",), dtypes=BOTH),
    Case(
        name="memory-eight-bits",
        room_mib={"float32": 95},
        ways=("serial_guidance", "chunked_feed_forward", "small_blocks", "small_tiles", "float8_storage"),
    ),
    *(
        Case(
            name=f"memory-runs-out-{mixer}",
            settings={"mixer": mixer},
            dtypes=BOTH,
            runs_out=3,
            ways=("serial_guidance", "chunked_feed_forward", "small_blocks"),
        )
        for mixer in ("gspn", "neighborhood")
    ),
    Case(
        name="memory-runs-out-attention",
        settings={"mixer": "attention"},
        runs_out=2,
        ways=("serial_guidance", "chunked_feed_forward"),
    ),
    *(_tiny(f"mixer-{name}", mixer=name) for name in ("attention", "neighborhood", "linear")),
    _tiny("refiner-ensemble", refiner="ensemble", refiner_start=0.5),
    _tiny("refiner-image", refiner="image", refiner_start=0.4, negative_prompt="a cat"),
    _tiny("refiner-score", refiner="ensemble", refiner_start=0.3, aesthetic_score=3.0, guidance_scale=1.0),
    _tiny("refiner-image-linear", refiner="image", refiner_start=0.5, mixer="linear", aspect="2:3"),
    _tiny("empty-negative", guidance_scale=9.0, target=256, ladder="64 256"),
    Case(
        name="refiner-redraws",
        model=TINY,
        dtypes=BOTH,
        starts=True,
        settings={"refiner": "image", "refiner_start": 0.5, "start_strength": 0.6},
    ),
)
