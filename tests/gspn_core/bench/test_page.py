"""The page's benchmark against a real app process, and against other servers."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

import gspn_core.bench.__main__ as command
from gspn_core.bench.page import WRITER, _shares
from gspn_core.bench.visitor import Visitor
from gspn_core.runs import recorder


@pytest.fixture
def other_page():
    """Serve another page that answers with status 200; return its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"components": [], "dependencies": []}).encode())

        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_page_that_is_not_ours_is_refused_in_a_sentence(other_page):
    visitor = Visitor(other_page)
    assert visitor.get() > 0
    with pytest.raises(SystemExit, match=r"has no run click; is it GSPN Studio\?"):
        visitor.run({"target": 256})


@pytest.mark.parametrize(
    ("option", "number"), [("--followers", "31"), ("--queued", "61"), ("--queued", "0"), ("--queued", "many")]
)
def test_a_load_above_the_pages_limit_is_refused(capsys, option, number):
    with pytest.raises(SystemExit) as ended:
        command.main(["page", option, number])
    assert ended.value.code == 2
    assert "must be a whole number from 1 to" in capsys.readouterr().err


def test_the_threads_that_compute_are_no_part_of_the_page_nor_are_those_that_write(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    before = {0: 10.0, 7: 4.0, 8: 1.0, 9: 5.0}
    after = {0: 30.0, 7: 13.0, 8: 1.25, 9: 15.0, 11: 0.25, 12: 0.1}
    assert _shares(before, after, {12}) == pytest.approx((2.5, 0.5))


def test_the_threads_that_write_are_known_by_the_name_that_they_have():
    assert WRITER == recorder.WRITER


def test_a_small_load_is_answered_stopped_and_paired(tmp_path, capsys):
    path = tmp_path / "page.json"
    options = ["--followers", "2", "--queued", "3", "--repeats", "1", "--json", str(path)]
    assert command.main(["page", *options]) == 0
    load, pairs = json.loads(path.read_text())["tables"]
    rows = {name: float(figure) for name, figure, _ in load["rows"]}
    assert all(figure > 0 for figure in rows.values())
    for kind in ("a waiting run", "the run that goes"):
        assert rows[f"Stop of {kind}: shown"] >= rows[f"Stop of {kind}: answered"]
    assert "views a second" in load["notes"][0]
    seconds = {name: float(figure) for name, figure, _ in pairs["rows"]}
    assert seconds["Engine.run alone"] > 0
    own, page = seconds["Engine.run alone"], seconds["through the page, followed, all files written"]
    # Both seconds are rounded to two digits.
    rounding = 0.5 * (1 + page / own) / own
    assert seconds["more, in percent"] == pytest.approx((page / own - 1) * 100, abs=0.1 + 2 * rounding)
    # The system counts a thread's time in steps of 10 ms; the page of so short a run may take less.
    for part in ("page", "files"):
        assert 0 <= seconds[f"processor time of the {part}, in percent"] < 100
    assert "1 run with 2 more followers, 3 runs waiting" in capsys.readouterr().out
