"""A part of the page: markup, script and strings of one name, drawn by gr.HTML from JSON props."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import gradio as gr

from ui.guard.files import PAGE, PLACES, SERVED_SUFFIXES, file_url
from ui.shared.strings import screen_strings

# Served as files, in this order, before any part's own script runs.
SCRIPTS = (
    "shared/dom.js",
    "shared/studio.js",
    "shared/menu.js",
    "shared/vendor/openseadragon/openseadragon.min.js",
    "shared/layers.js",
    "shared/viewer.js",
    "shared/picture.js",
    "lab/axes.js",
    "lab/cells.js",
    "shared/large.js",
)


def html_part(place: str, name: str, value: dict[str, Any], **props: Any) -> gr.HTML:
    """Return the part whose markup is <place>/<name>.html and whose script is <place>/<name>.js.

    Args:
        place: The folder of the part, directly in the page's.
        name: What the part is called; also the id of its element.
        value: What events change. The script finds it in `props`, next to `words`, the page's strings.
        props: What else the script finds there.
    """
    return gr.HTML(
        value=value,
        html_template=(PAGE / place / f"{name}.html").read_text("utf-8"),
        js_on_load=(PAGE / place / f"{name}.js").read_text("utf-8"),
        head=shared_scripts(),
        apply_default_css=False,
        elem_id=name,
        words=dict(screen_strings.SCREEN),
        **props,
    )


def shared_scripts() -> str:
    """Return the script elements that every part waits for; gradio loads each address once.

    The address changes with the text, so that no browser keeps an old one.
    """
    paths = [PAGE / script for script in SCRIPTS]
    versions = [hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in paths]
    pairs = zip(paths, versions, strict=True)
    return "".join(f'<script src="{file_url(str(path))}?v={version}"></script>' for path, version in pairs)


def style_sheets() -> list[Path]:
    """Return the page's style sheets: studio.css, whose variables the others use, then theirs."""
    first = PAGE / "shared" / "studio.css"
    return [first, *sorted((path for path in files_of_the_page(".css") if path != first), key=_by_name)]


def files_of_the_page(*suffixes: str) -> list[Path]:
    """Return the files in the places' folders that end in one of some suffixes."""
    found = [path for place in PLACES for path in (PAGE / place).rglob("*") if path.suffix in suffixes]
    return sorted(path for path in found if path.is_file())


def served_files() -> list[Path]:
    """Return the files of the page that a browser may ask for: scripts and pictures, no source."""
    return files_of_the_page(*SERVED_SUFFIXES)


def _by_name(path: Path) -> str:
    return path.name
