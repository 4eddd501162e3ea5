"""The page answers to its own names alone."""

from __future__ import annotations

import pytest

from tests.ui.guard.conftest import Served
from ui.guard.hosts import LOOPBACK, allowed_hosts, is_loopback


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LOCALHOST", 200),
        ("[::1]:{port}", 200),
        ("evil.example:{port}", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1:{port}@evil.example", 421),
        ("evil.example:80:127.0.0.1", 421),
        ("", 421),
    ],
)
def test_a_foreign_host_name_is_refused_for_every_route(served: Served, port, host, status):
    for route in ("/", "/config", "/gradio_api/info"):
        answer = served.client.get(route, headers={"host": host.format(port=port)})
        assert answer.status_code == status
        if status == 421:
            assert "--allowed-host" in answer.text


@pytest.mark.parametrize(
    ("address", "given", "is_public", "hosts"),
    [
        ("127.0.0.1", (), False, (*LOOPBACK, "127.0.0.1")),
        ("0.0.0.0", (), False, ()),
        ("::", (), False, ()),
        ("127.0.0.1", (), True, ()),
        ("0.0.0.0", ("Studio.example",), False, (*LOOPBACK, "studio.example")),
        ("127.0.0.1", ("studio.example",), True, (*LOOPBACK, "studio.example")),
    ],
)
def test_only_a_server_for_this_machine_asks_for_its_names_unless_some_are_given(
    address, given, is_public, hosts
):
    assert allowed_hosts(address, given, is_public=is_public) == hosts


@pytest.mark.parametrize(
    ("address", "only_here"),
    [("localhost", True), ("127.0.0.2", True), ("::1", True), ("0.0.0.0", False), ("127.example", False)],
)
def test_a_loopback_address_is_known(address, only_here):
    assert is_loopback(address) is only_here
