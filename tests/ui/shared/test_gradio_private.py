"""What is set of Gradio beyond its public names does what it is set for."""

from __future__ import annotations

import gradio as gr
from gradio.state_holder import SessionState

from ui.shared.gradio_private import keep_sessions_light


def test_a_session_holds_no_configuration_and_the_page_keeps_its_own():
    with gr.Blocks() as page:
        gr.Slider(0, 9, value=3)
        gr.State(5)
    before = page.get_config_file()["components"]
    keep_sessions_light(page)
    session = SessionState(page)
    assert set(map(str, session.config_values.values())) <= {"{}"}
    assert session.blocks_config.blocks == page.default_config.blocks
    assert list(session.blocks_config.fns) == list(page.default_config.fns)
    assert page.get_config_file()["components"] == before
    # A value that changes is not written down a second time.
    key = next(iter(session.blocks_config.blocks))
    session._update_value_in_config(key, 7)
    assert session.config_values[key] == {}
