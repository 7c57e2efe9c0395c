"""The time of day and the monotonic time of one moment, in one relation for a whole program.

A thread can be made to wait between the readings of two clocks. Were each process to keep readings
of its own, what ran inside another could seem to end after it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["both"]

# In seconds. Less is a thread that waited between two readings; more is a clock that was set, or a
# machine that slept.
_STEP = 0.05

# By how many seconds the time of day is ahead of the monotonic time.
_ahead = float("-inf")


def both() -> tuple[datetime, float]:
    """Give the time of day, aware, and the monotonic time, in seconds, of this moment."""
    monotonic = time.monotonic()
    if abs(time.time() - monotonic - _ahead) > _STEP:
        monotonic = _compare()
    return datetime.fromtimestamp(monotonic + _ahead, UTC), monotonic


def _compare() -> float:
    """Learn anew how far apart the clocks are; give the monotonic time."""
    global _ahead  # noqa: PLW0603 - the clocks are the machine's
    # The least of several: whoever had to wait between the readings finds the second too late.
    readings = []
    for _ in range(3):
        monotonic = time.monotonic()
        readings.append((time.time() - monotonic, monotonic))
    _ahead = min(readings)[0]
    return readings[-1][1]
