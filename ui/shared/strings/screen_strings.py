"""The strings that templates and scripts read as `words`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ui.shared.strings import compare_strings, form_strings, history_strings, lab_strings, measured_strings

SCREEN: Mapping[str, str] = MappingProxyType(
    {
        "viewer": "Image",
        "ladder": "Stages",
        "panel": "Run",
        "zoom": "Zoom",
        "zoom_in": "Zoom in (+)",
        "zoom_out": "Zoom out (−)",
        "fit": "Fit",
        "fit_title": "The whole image (0)",
        "full": "1:1",
        "full_title": "One image pixel per screen pixel (Z)",
        "enlarge": "Full screen (F)",
        "download": "PNG",
        "download_wait": "Writing the PNG…",
        "examples": "Try an example",
        "compare_earlier": "Compare with the run before",
        "compare_pinned": "Compare with A",
        "pin": "Pin as A",
        "pin_title": "Keep this image as A; a later run of its size is compared with it (P)",
        "unpin": "Unpin A",
        "reset": "Reset",
        "copied": "Copied",
        "not_copied": "Could not copy",
        "gallery": "Examples",
        "gallery_hint": "Finished examples. Run draws your own.",
        "gallery_open": "Example: {prompt}",
        "weights": "Blend weights per step",
        "weights_wait": "Upscale weights appear from stage 2 on.",
        "c1": "skip",
        "c2": "dilated",
        "c3": "blur",
        "memory_wait": "Memory appears while running.",
        "restored": "Started",
        "explain": "Show help",
        "theme": "Theme",
        "places": "Places",
        "models": "Choose the model",
        "issue_close": "Close this message",
        "chip": "The run",
        "keys_title": "Keyboard shortcuts",
        "close": "Close",
        "actions": "Next",
        "suggestions": "Suggestions",
        "undo": "Undo",
        "stage_menu": "More for {stage}",
        "left_before": "about",
        "left_after": "left",
        "left_unknown": "— left",
        "keys": "Ctrl Enter run · Esc stop · 1–9 stage · Z 1:1 · P pin as A · F full screen · ? keys",
        **compare_strings.SCREEN,
        **lab_strings.SCREEN,
        **history_strings.SCREEN,
        **form_strings.DROP,
        **form_strings.START,
        **measured_strings.SCREEN,
    }
)
