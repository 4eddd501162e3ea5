"""A part of the page: markup, script and words of one name, drawn by gr.HTML from JSON props."""

from __future__ import annotations

import hashlib
from typing import Any

import gradio as gr

from ui import words
from ui.ladder import file_url
from ui.theme import ASSETS

# Served as files, in this order, before any part's own script runs; those that are not there are left out.
SCRIPTS = (
    "studio.js",
    "menu.js",
    "vendor/openseadragon/openseadragon.min.js",
    "layers.js",
    "viewer.js",
    "picture.js",
    "axes.js",
    "cells.js",
    "large.js",
)


def html_part(name: str, value: dict[str, Any], **props: Any) -> gr.HTML:
    """Return the part whose markup is assets/<name>.html and whose script is assets/<name>.js.

    The script finds words.SCREEN and the props in `props`, `value` being what events change.
    """
    return gr.HTML(
        value=value,
        html_template=(ASSETS / f"{name}.html").read_text("utf-8"),
        js_on_load=(ASSETS / f"{name}.js").read_text("utf-8"),
        head=shared_scripts(),
        apply_default_css=False,
        elem_id=name,
        words=dict(words.SCREEN),
        **props,
    )


def shared_scripts() -> str:
    """Return the script elements that every part waits for; gradio loads each address once.

    The address changes with the text, so that no browser keeps an old one.
    """
    paths = [path for path in (ASSETS / script for script in SCRIPTS) if path.exists()]
    versions = [hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in paths]
    pairs = zip(paths, versions, strict=True)
    return "".join(f'<script src="{file_url(str(path))}?v={version}"></script>' for path, version in pairs)


def style_sheets() -> list[Any]:
    """Return the page's style sheets: studio.css, whose variables the others use, then theirs."""
    first = ASSETS / "studio.css"
    return [first, *sorted(path for path in ASSETS.glob("*.css") if path != first)]
