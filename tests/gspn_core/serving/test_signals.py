from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from gspn_core.serving.signals import interrupted_by_signals


@pytest.fixture(params=["SIGTERM", "SIGHUP"])
def number(request):
    """Return a signal with its default handler, which the test's own process keeps otherwise."""
    number = getattr(signal, request.param)
    before = signal.signal(number, signal.SIG_DFL)
    yield number
    signal.signal(number, before)


def test_a_signal_interrupts_once_and_its_handler_is_restored(number) -> None:
    with pytest.raises(KeyboardInterrupt), interrupted_by_signals():
        try:
            os.kill(os.getpid(), number)
            threading.Event().wait(30)
        finally:
            # What closes the server is not interrupted again.
            assert signal.getsignal(number) is signal.SIG_IGN
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_signal_during_a_finalizer_interrupts_afterwards(number) -> None:
    class Finalized:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            pytest.fail("It was not interrupted.")

    with pytest.raises(KeyboardInterrupt), interrupted_by_signals():
        Finalized()
        assert not threading.Event().wait(30)
        pytest.fail("The signal was lost.")
    assert signal.getsignal(number) is signal.SIG_DFL


def test_an_ignored_signal_stays_ignored(number) -> None:
    signal.signal(number, signal.SIG_IGN)
    with interrupted_by_signals():
        assert signal.getsignal(number) is signal.SIG_IGN
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is signal.SIG_IGN


def test_another_thread_leaves_the_handlers_alone(number) -> None:
    seen = []

    def enter() -> None:
        with interrupted_by_signals():
            seen.append(signal.getsignal(number))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join(30)
    assert seen == [signal.SIG_DFL]
