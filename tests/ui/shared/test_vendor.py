"""What others wrote is here as they published it, with its licence."""

import hashlib
import re

import pytest

from ui.guard.files import PAGE

# Its file, its version, what the file begins with, and words of its licence.
VENDORED = {
    "openseadragon": ("openseadragon.min.js", "6.1.1", b"//! openseadragon 6.1.1", "Redistribution and use"),
    "inter": ("inter-latin-wght-normal.woff2", "5.3.0", b"wOF2", "SIL OPEN FONT LICENSE Version 1.1"),
}


def test_everything_vendored_is_said_here() -> None:
    assert {folder.name for folder in (PAGE / "shared" / "vendor").iterdir()} == set(VENDORED)


@pytest.mark.parametrize("name", VENDORED)
def test_a_vendored_file_is_the_published_one_and_its_licence_is_next_to_it(name) -> None:
    folder, (file, version, begins, licence) = PAGE / "shared" / "vendor" / name, VENDORED[name]
    answer = (folder / "README.md").read_text("utf-8")
    assert version in answer
    body = (folder / file).read_bytes()
    assert re.findall(r"sha256 ([0-9a-f]{64})", answer) == [hashlib.sha256(body).hexdigest()]
    assert body.startswith(begins)
    assert licence in (folder / "LICENSE.txt").read_text("utf-8")
