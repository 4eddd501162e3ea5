"""The chips of the embedded model's words."""

from __future__ import annotations

import gradio as gr

from gspn_core.world.captions import families, read_words, vocabulary
from ui.form.vocabulary import build_vocabulary
from ui.shared.strings import form_strings


def test_every_chip_is_a_phrase_that_the_model_was_trained_with() -> None:
    for name, phrases in families():
        assert name in form_strings.FAMILIES and len(set(phrases)) == len(phrases) > 2
        for phrase in phrases:
            assert set(phrase.split()) <= vocabulary(), phrase
            known, unknown = read_words(phrase)
            assert known and not unknown


def test_a_model_that_takes_any_words_has_no_chips(card) -> None:
    with gr.Blocks():
        assert build_vocabulary(card) is None
