"""The page's theme: a font of its own and neutral surfaces with one accent; the rest is in style sheets."""

from __future__ import annotations

import gradio as gr

from ui.shared.part import FONT

_SANS = (FONT, "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

# Names of tokens.css, which has them for light and for dark.
_COLOURS = {
    "body_background_fill": "var(--ground)",
    "background_fill_primary": "var(--surface)",
    "background_fill_secondary": "var(--ground)",
    "body_text_color": "var(--ink)",
    "body_text_color_subdued": "var(--muted)",
    "border_color_primary": "var(--line)",
    "border_color_accent": "var(--accent)",
    "block_background_fill": "transparent",
    "block_label_text_color": "var(--muted)",
    "block_title_text_color": "var(--muted)",
    "block_info_text_color": "var(--muted)",
    "input_background_fill": "var(--field)",
    "input_background_fill_focus": "var(--field)",
    "input_border_color": "var(--line)",
    "input_border_color_focus": "var(--accent)",
    "input_placeholder_color": "var(--faint)",
    "slider_color": "var(--accent)",
    "button_primary_background_fill": "var(--accent)",
    "button_primary_background_fill_hover": "var(--accent-strong)",
    "button_primary_text_color": "var(--on-accent)",
    "button_primary_border_color": "transparent",
    "button_secondary_background_fill": "var(--field)",
    "button_secondary_background_fill_hover": "var(--raised)",
    "button_secondary_text_color": "var(--ink)",
    "button_secondary_border_color": "var(--line)",
    "checkbox_label_background_fill": "var(--field)",
    "checkbox_label_background_fill_hover": "var(--raised)",
    "checkbox_label_background_fill_selected": "var(--accent)",
    "checkbox_label_text_color": "var(--ink)",
    "checkbox_label_text_color_selected": "var(--on-accent)",
    "checkbox_label_border_color": "var(--line)",
    "color_accent_soft": "var(--accent-soft)",
    "accordion_text_color": "var(--ink)",
}
_SHAPES = {
    "block_border_width": "0px",
    "block_padding": "0px",
    "block_shadow": "none",
    "block_radius": "8px",
    "input_border_width": "1px",
    "input_radius": "8px",
    "input_shadow": "none",
    "input_shadow_focus": "0 0 0 1px var(--accent)",
    "block_title_text_weight": "450",
    "block_title_text_size": "12.5px",
    "block_info_text_size": "12px",
    "input_text_size": "13.5px",
    "button_large_radius": "9px",
    "button_large_text_size": "14px",
    "button_small_radius": "7px",
    "layout_gap": "14px",
    "form_gap_width": "0px",
    "color_accent": "var(--accent)",
}


def studio_theme() -> gr.themes.Base:
    """Return the theme; its colours are the variables that tokens.css defines for light and dark."""
    base = gr.themes.Base(font=_SANS, font_mono=_MONO, spacing_size="sm", radius_size="md", text_size="sm")
    dark = {f"{name}_dark": value for name, value in _COLOURS.items() if hasattr(base, f"{name}_dark")}
    return base.set(**_COLOURS, **dark, **_SHAPES)
