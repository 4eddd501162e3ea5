import time

import numpy as np
import torch

from gspn_core.runtime.device import describe_machine, total_bytes
from gspn_core.runtime.meter import Meter

CPU = torch.device("cpu")
MEGABYTE = 2**20


def test_the_peak_is_of_the_stage_and_not_of_what_came_before():
    meter = Meter(CPU, interval_seconds=0.002)
    meter.start()
    block = np.ones(200 * MEGABYTE, dtype=np.uint8)
    time.sleep(0.05)
    held = meter.sample()
    del block
    after = meter.sample()
    assert held.kind == "process"
    assert after.peak_bytes >= held.now_bytes
    assert held.now_bytes - after.now_bytes > 150 * MEGABYTE
    meter.start()
    assert meter.sample().peak_bytes < after.peak_bytes - 150 * MEGABYTE
    meter.stop()


def test_a_peak_between_two_samples_is_seen_by_the_thread():
    meter = Meter(CPU, interval_seconds=0.002)
    meter.start()
    before = meter.sample().now_bytes
    block = np.ones(100 * MEGABYTE, dtype=np.uint8)
    time.sleep(0.1)
    del block
    meter.stop()
    assert meter.sample().peak_bytes - before > 70 * MEGABYTE


def test_seconds_are_wall_time_since_start():
    meter = Meter(CPU)
    meter.start()
    time.sleep(0.05)
    assert 0.05 <= meter.seconds < 5
    meter.stop()


def test_stopping_ends_the_thread():
    meter = Meter(CPU)
    meter.start()
    thread = meter._thread
    meter.stop()
    assert not thread.is_alive()


def test_the_machine_has_its_name():
    assert describe_machine(CPU).startswith("CPU, ")
    assert total_bytes(CPU) > 100 * MEGABYTE
