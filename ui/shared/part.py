"""A part of the page: markup, script and strings of one name, drawn by gr.HTML from JSON props."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import gradio as gr

from ui.guard.files import PAGE, PLACES, SERVED_SUFFIXES, file_url
from ui.shared.strings import page_strings, screen_strings

# Served as files, in this order, before any part's own script runs.
SCRIPTS = (
    "shared/dom.js",
    "shared/studio.js",
    "shared/language.js",
    "shared/menu.js",
    "form/keyboard.js",
    "shared/vendor/openseadragon/openseadragon.min.js",
    "shared/layers.js",
    "shared/viewer.js",
    "studio/picture.js",
    "studio/gallery.js",
    "studio/batch.js",
    "studio/panel.js",
    "studio/pin.js",
    "studio/save.js",
    "studio/frames.js",
    "studio/split.js",
    "studio/notify.js",
    "form/region.js",
    "form/extend.js",
    "form/png_head.js",
    "compare/stage.js",
    "compare/side.js",
    "compare/votes.js",
    "compare/blind.js",
    "lab/axes.js",
    "lab/cells.js",
    "lab/plot.js",
    "lab/enlarged.js",
    "lab/sheet.js",
)
# Joined in this order: of two rules of equal weight the later one holds.
SHEETS = (
    "shared/tokens.css",
    "shared/frame.css",
    "shared/controls.css",
    "shared/masthead.css",
    "shared/models.css",
    "shared/menu.css",
    "shared/notice.css",
    "shared/viewer.css",
    "form/form.css",
    "form/vocabulary.css",
    "form/texts.css",
    "form/loras.css",
    "form/steering.css",
    "form/slider.css",
    "form/crops.css",
    "form/curves.css",
    "form/drop.css",
    "form/start.css",
    "form/region.css",
    "form/extend.css",
    "shared/travel.css",
    "studio/run_bar.css",
    "studio/presets.css",
    "studio/instant.css",
    "studio/hello.css",
    "studio/picture.css",
    "studio/split.css",
    "studio/pin.css",
    "studio/ladder.css",
    "studio/gallery.css",
    "studio/batch.css",
    "studio/panel.css",
    "studio/measured.css",
    "compare/compare.css",
    "compare/stage.css",
    "compare/side.css",
    "compare/blind.css",
    "lab/lab.css",
    "lab/setup.css",
    "lab/cells.css",
    "lab/enlarged.css",
    "history/history.css",
    "history/run.css",
)


FONT = "Inter"
_FONT_FILE = PAGE / "shared" / "vendor" / "inter" / "inter-latin-wght-normal.woff2"


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
    return "".join(f'<script src="{_address(PAGE / script)}"></script>' for script in SCRIPTS)


def catalogues() -> dict[str, list[str]]:
    """Return the addresses of each language's catalogue, by its code; a browser asks for its own alone."""
    folders = {code: PAGE / "shared" / "strings" / code for code in page_strings.LANGUAGES if code != "en"}
    return {code: [_address(path) for path in sorted(f.glob("*.js"))] for code, f in folders.items()}


def font_face() -> str:
    """Return the rule by which a browser knows the page's font, served by the page itself."""
    return (
        f"@font-face {{ font-family: '{FONT}'; font-weight: 100 900; font-display: swap; "
        f"src: url('{_address(_FONT_FILE)}') format('woff2'); }}"
    )


def _address(script: Path) -> str:
    return f"{file_url(str(script))}?v={hashlib.sha256(script.read_bytes()).hexdigest()[:12]}"


def style_sheets() -> list[Path]:
    """Return the page's style sheets in the order in which they are joined."""
    return [PAGE / sheet for sheet in SHEETS]


def files_of_the_page(*suffixes: str) -> list[Path]:
    """Return the files in the places' folders that end in one of some suffixes."""
    found = [path for place in PLACES for path in (PAGE / place).rglob("*") if path.suffix in suffixes]
    return sorted(path for path in found if path.is_file())


def served_files() -> list[Path]:
    """Return the files of the page that a browser may ask for: scripts and pictures, no source."""
    return files_of_the_page(*SERVED_SUFFIXES)
