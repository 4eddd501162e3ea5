from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from gspn_core.world.render.draw import render
from gspn_core.world.scene import Scene, sample_scene


def make(**changes) -> Scene:
    values = {
        "time": "day",
        "sky": "cloudy",
        "celestial": "sun",
        "terrain": "mountains",
        "cover": "snowy",
        "foreground": "lake",
        "seed": 11,
    }
    return Scene(**values | changes)


VARIED = (
    make(),
    make(time="dusk", sky="clear", foreground="pines", seed=12),
    make(terrain="hills", cover="green", foreground="meadow", seed=13),
    make(time="night", celestial="moon", cover="red", foreground="desert", seed=14),
    make(time="dawn", terrain="dunes", cover="sandy", foreground="desert", seed=15),
    make(terrain="islands", cover="green", foreground="beach", object="sailboat", palette="vivid", seed=16),
    make(terrain="cliffs", cover="autumn", foreground="river", weather="fog", object="cabin", seed=17),
    make(terrain="cliffs", cover="rocky", object="lighthouse", time="dusk", palette="golden", seed=18),
    make(sky="aurora", time="night", celestial="crescent", foreground="meadow", palette="cool", seed=19),
    make(sky="stormy", celestial="none", weather="rain", foreground="pines", object="cabin", seed=20),
    make(celestial="none", weather="snow", foreground="meadow", palette="pastel", seed=21),
    make(object="balloon", cover="red", foreground="desert", seed=22),
    make(object="birds", terrain="hills", cover="green", foreground="river", seed=23),
)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255.0**2 / np.mean((a.astype(np.float64) - b) ** 2)))


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    H, W, C = image.shape
    return image.reshape(H // factor, factor, W // factor, factor, C).mean((1, 3))


def test_a_large_drawing_scaled_down_is_the_small_drawing():
    ratios = [
        psnr(shrink(render(scene, height=512, width=512), 4), render(scene, height=128, width=128))
        for scene in VARIED
    ]
    # Snow on pines before snow on rock is the hardest; grass, sand and water agree far better.
    assert min(ratios) >= 26.0
    assert np.mean(ratios) >= 30.0


@pytest.mark.parametrize(
    "scene", VARIED, ids=lambda scene: "-".join([scene.foreground, scene.time, scene.object])
)
def test_a_region_is_the_same_part_of_the_whole_drawing(scene):
    whole = render(scene, height=256, width=256).astype(int)
    for top, left in ((0, 128), (96, 64), (192, 0)):
        region = (top / 256, left / 256, (top + 64) / 256, (left + 64) / 256)
        part = render(scene, height=64, width=64, region=region)
        apart = np.abs(part - whole[top : top + 64, left : left + 64])
        # A point on a hard edge may fall to either side of it, and counts a sixteenth of a pixel.
        assert (apart > 2).mean() < 2e-3
        assert apart.max() <= 24


def test_a_larger_drawing_shows_detail_that_enlarging_would_not():
    scene = make(seed=21)
    region = (0.25, 0.25, 0.5, 0.5)
    coarse = render(scene, height=64, width=64, region=region).astype(np.float64)
    fine = render(scene, height=256, width=256, region=region).astype(np.float64)
    new = fine - np.repeat(np.repeat(shrink(fine, 4), 4, 0), 4, 1)
    assert new.std() > 0.15 * coarse.std()


@pytest.mark.parametrize(
    "changes",
    [
        {"terrain": "mountains"},
        {"terrain": "cliffs", "cover": "rocky"},
        {"terrain": "hills", "cover": "autumn"},
        {"terrain": "hills", "cover": "green", "foreground": "meadow"},
        {"terrain": "dunes", "cover": "sandy", "foreground": "desert"},
        {"foreground": "pines"},
        {"cover": "rocky", "foreground": "beach"},
    ],
    ids=lambda changes: "-".join(changes.values()),
)
def test_detail_goes_on_to_appear_at_4096_px(changes):
    scene = make(sky="clear", seed=41, **changes)
    rows, found = np.linspace(0.45, 0.9, 5), []
    for top, left in zip(rows, rows[::-1] - 0.4, strict=True):
        region = (top, left, top + 1 / 32, left + 1 / 32)
        coarse = render(scene, height=64, width=64, region=region).astype(np.float64)
        fine = render(scene, height=128, width=128, region=region).astype(np.float64)
        found.append((fine - np.repeat(np.repeat(shrink(fine, 2), 2, 0), 2, 1)).std())
        assert psnr(shrink(fine, 2), coarse) > 24
    # In levels of 255, where there is anything but sky.
    assert max(found) > 1.5


def test_the_same_scene_gives_the_same_bytes_in_another_process():
    code = (
        "import hashlib\n"
        "from gspn_core.world.render.draw import render\n"
        "from gspn_core.world.scene import Scene\n"
        "scene = Scene(time='night', sky='clear', celestial='moon', terrain='hills', cover='rocky',"
        " foreground='pines', seed=7)\n"
        "print(hashlib.sha256(render(scene, height=48, width=64).tobytes()).hexdigest())"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in "ab"
    }
    assert len(runs) == 1


@pytest.mark.parametrize(("height", "width"), [(64, 160), (160, 64), (96, 96), (1, 1)])
def test_every_aspect_ratio_fills_its_picture(height, width):
    image = render(make(foreground="pines"), height=height, width=width)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8


def test_a_wider_view_shows_the_square_view_and_more():
    scene = make(foreground="pines", seed=22)
    square = render(scene, height=96, width=96).astype(int)
    wide = render(scene, height=96, width=160).astype(int)
    assert np.abs(wide[:, 32:128] - square).max() <= 2


def test_every_sampled_scene_draws_something_to_see():
    rng = np.random.default_rng(8)
    for _ in range(30):
        image = render(sample_scene(rng), height=48, width=48)
        assert image.std() > 8.0


PLAIN = {"foreground": "lake", "terrain": "mountains", "celestial": "none"}


@pytest.mark.parametrize(
    "changes",
    [
        {"sky": "stormy"},
        {"time": "night", "sky": "aurora"},
        {"time": "night", "celestial": "crescent"},
        {"terrain": "islands"},
        {"terrain": "cliffs"},
        {"cover": "autumn"},
        {"foreground": "river"},
        {"cover": "rocky", "foreground": "beach"},
        *({"weather": weather} for weather in ("fog", "rain", "snow")),
        *({"object": thing} for thing in ("cabin", "sailboat", "balloon", "lighthouse", "birds")),
        *({"palette": palette} for palette in ("golden", "cool", "pastel", "vivid")),
    ],
    ids=lambda changes: "-".join(changes.values()),
)
def test_every_value_is_seen(changes):
    plain = {**PLAIN, "time": changes.get("time", "day"), "cover": changes.get("cover", "snowy")}
    if changes == {"cover": "autumn"}:
        plain["cover"] = "green"
    for seed in (31, 32, 33):
        with_it = render(make(**plain | changes, seed=seed), height=128, width=128).astype(int)
        without = render(make(**plain, seed=seed), height=128, width=128).astype(int)
        assert (np.abs(with_it - without).max(2) > 12).mean() > 0.002


def test_days_are_bright_and_nights_are_dark():
    day = render(make(), height=48, width=48).mean()
    night = render(make(time="night", celestial="moon"), height=48, width=48).mean()
    assert day > 110 > 60 > night


def test_the_sun_is_seen_only_where_the_scene_has_one():
    for seed in range(5):
        lit = render(make(sky="clear", time="dusk", seed=seed), height=128, width=128).astype(int)
        unlit = render(make(sky="clear", time="dusk", celestial="none", seed=seed), height=128, width=128)
        assert (lit[:70].min(2) > 110).sum() > (unlit[:70].min(2) > 110).sum() or (
            lit[:70, :, 1].max() > unlit[:70, :, 1].max()
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 0, "width": 8}, "height and width"),
        ({"height": 8, "width": 8, "region": (0.5, 0.0, 0.5, 1.0)}, "region"),
        ({"height": 8, "width": 8, "region": (0.0, 0.0, 1.0, 1.5)}, "region"),
    ],
)
def test_an_impossible_picture_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        render(make(), **options)


def test_importing_the_renderer_compiles_nothing():
    code = (
        "import importlib, pkgutil\n"
        "from gspn_core.world import render\n"
        "names = [found.name for found in pkgutil.iter_modules(render.__path__)]\n"
        "modules = [importlib.import_module(f'gspn_core.world.render.{name}') for name in names]\n"
        "kernels = [k for m in modules for k in vars(m).values() if hasattr(k, 'signatures')]\n"
        "print(len(kernels), sum(len(k.signatures) for k in kernels))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    kernels, compiled = map(int, out.split())
    assert kernels > 20
    assert compiled == 0
