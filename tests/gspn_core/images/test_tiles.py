"""Tiles: complete, in place, and the same picture when joined again."""

import numpy as np
import pytest
from PIL import Image

from gspn_core.images import tiles
from gspn_core.images.tiles import OVERLAP_PX, TILE_PX, tiles_info, write_tiles


def gradient(height: int, width: int) -> Image.Image:
    """Return a picture with a different colour at every pixel."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = (255 * x / width, 255 * y / height, 255 * (x + y) / (width + height))
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def put_together(folder, info, level: int) -> Image.Image:
    height, width = info.level_size(level)
    whole = Image.new("RGB", (width, height))
    for path in (folder / str(level)).iterdir():
        column, row = map(int, path.stem.split("_"))
        # Without the pixel of overlap with each neighbour.
        left, top = (OVERLAP_PX if place else 0 for place in (column, row))
        with Image.open(path) as tile:
            inner = tile.crop((left, top, min(left + TILE_PX, tile.width), min(top + TILE_PX, tile.height)))
            whole.paste(inner, (column * TILE_PX, row * TILE_PX))
    return whole


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).mean())


@pytest.mark.parametrize(
    ("height", "width", "levels", "count"),
    [
        (1, 1, 1, 1),
        (256, 256, 1, 1),
        (512, 512, 1, 1),
        (513, 512, 2, 3),
        (1024, 1024, 2, 5),
        (640, 1664, 3, 8 + 2 + 1),
        (8192, 8192, 5, 341),
    ],
)
def test_levels_halve_down_to_one_tile(height, width, levels, count) -> None:
    info = tiles_info(height, width)
    assert (info.levels, info.count()) == (levels, count)
    assert max(info.level_size(0)) <= TILE_PX
    assert info.level_size(info.levels - 1) == (height, width)


@pytest.mark.parametrize(("height", "width"), [(200, 333), (512, 512), (700, 1301), (1536, 520)])
def test_every_level_put_together_is_the_picture_at_its_size(tmp_path, height, width) -> None:
    image = gradient(height, width)
    info = write_tiles(tmp_path / "tiles", image)
    assert info == tiles_info(height, width)
    assert len(list((tmp_path / "tiles").rglob("*.jpg"))) == info.count()
    for level in range(info.levels):
        whole = put_together(tmp_path / "tiles", info, level)
        assert mean_difference(whole, image.resize(whole.size, Image.Resampling.BOX)) < 1.5


def test_no_seam_shows_where_tiles_meet(tmp_path) -> None:
    image = gradient(1024, 1024)
    info = write_tiles(tmp_path / "tiles", image)
    columns = np.asarray(put_together(tmp_path / "tiles", info, info.levels - 1), dtype=float)
    steps = np.abs(np.diff(columns, axis=1)).mean(axis=(0, 2))
    assert steps[TILE_PX - 1] <= steps.mean() + 1.0


def test_a_tile_shows_a_pixel_of_each_neighbour(tmp_path) -> None:
    image = gradient(1100, 1100)
    write_tiles(tmp_path / "tiles", image)
    with Image.open(tmp_path / "tiles" / "2" / "1_1.jpg") as tile:
        around = (TILE_PX - 1, TILE_PX - 1, 2 * TILE_PX + 1, 2 * TILE_PX + 1)
        assert tile.size == (TILE_PX + 2, TILE_PX + 2)
        assert mean_difference(tile, image.crop(around)) < 1.5
    with Image.open(tmp_path / "tiles" / "2" / "2_0.jpg") as tile:
        assert tile.size == (1100 - 2 * TILE_PX + 1, TILE_PX + 1)


def test_colour_keeps_its_full_resolution(tmp_path) -> None:
    red_and_blue = np.zeros((64, 64, 3), dtype=np.uint8)
    red_and_blue[:, ::2, 0] = 255
    red_and_blue[:, 1::2, 2] = 255
    write_tiles(tmp_path / "tiles", Image.fromarray(red_and_blue))
    with Image.open(tmp_path / "tiles" / "0" / "0_0.jpg") as tile:
        assert mean_difference(tile, Image.fromarray(red_and_blue)) < 12


def test_other_modes_become_rgb_and_the_picture_is_left_as_it_was(tmp_path) -> None:
    image = gradient(600, 600).convert("RGBA")
    before = image.tobytes()
    write_tiles(tmp_path / "tiles", image)
    assert (image.mode, image.tobytes()) == ("RGBA", before)
    with Image.open(tmp_path / "tiles" / "1" / "0_0.jpg") as tile:
        assert tile.mode == "RGB"


def test_tiles_that_were_there_before_give_way_whole(tmp_path) -> None:
    write_tiles(tmp_path / "tiles", gradient(1024, 1024))
    info = write_tiles(tmp_path / "tiles", gradient(300, 300))
    assert [path.name for path in tmp_path.iterdir()] == ["tiles"]
    assert len(list((tmp_path / "tiles").rglob("*.jpg"))) == info.count() == 1


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch) -> None:
    written = []

    def fill(folder, _image) -> None:
        if written:
            raise OSError(28, "No space left on device")
        written.append(folder)
        folder.mkdir()
        (folder / "0_0.jpg").write_bytes(b"half")

    monkeypatch.setattr(tiles, "_write_level", fill)
    with pytest.raises(OSError, match="No space left"):
        write_tiles(tmp_path / "tiles", gradient(1024, 1024))
    assert written and list(tmp_path.iterdir()) == []


def test_nothing_stands_at_the_place_until_the_last_tile_is_written(tmp_path, monkeypatch) -> None:
    seen = []
    write_level = tiles._write_level

    def watch(folder, image) -> None:
        write_level(folder, image)
        seen.append((tmp_path / "tiles").exists())

    monkeypatch.setattr(tiles, "_write_level", watch)
    write_tiles(tmp_path / "tiles", gradient(1024, 1024))
    assert seen == [False, False]
    assert (tmp_path / "tiles").is_dir()
