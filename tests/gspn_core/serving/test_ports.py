from __future__ import annotations

import re

import pytest

from gspn_core.serving.ports import why_not_listen


def test_a_free_port_has_nothing_against_it(free_port) -> None:
    assert why_not_listen("127.0.0.1", free_port) is None


def test_a_taken_port_is_named_with_the_remedy(taken_port) -> None:
    assert why_not_listen("127.0.0.1", taken_port) == (
        f"Port {taken_port} on 127.0.0.1 is taken by another program; choose another with --port."
    )


@pytest.mark.parametrize("host", ["no such host", "203.0.113.7"])
def test_a_host_that_is_not_here_is_answered_in_a_sentence(host) -> None:
    refusal = why_not_listen(host, 7860)
    assert re.fullmatch(r".* is not (a valid address|an address of this machine).*\.", refusal)
