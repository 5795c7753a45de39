"""A process that waits and computes nothing is stalled; one that computes is not."""

import time

from rlbench.watchdog import Watchdog


def test_an_idle_wait_is_a_stall():
    stalls = []
    with Watchdog(lambda: stalls.append(1), tick_seconds=0.1, idle_ticks=3):
        time.sleep(1.0)
    assert stalls == [1]


def test_a_slow_computation_is_not_a_stall():
    stalls = []
    with Watchdog(lambda: stalls.append(1), tick_seconds=0.1, idle_ticks=3):
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            sum(range(1000))
    assert stalls == []
