"""Where the messages of the workers of a Dask cluster arrive, on the client's side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Inbox"]


class Inbox:
    """Hands messages on, those of one worker in the order in which it sent them.

    Parameters
    ----------
    hand_on
        Is given each message, under the lock.
    """

    def __init__(self, hand_on: Callable[[Mapping[str, Any]], None]) -> None:
        self.lock = threading.RLock()
        self._hand_on = hand_on
        self._next: dict[str, int] = {}
        self._early: dict[str, dict[int, Mapping[str, Any]]] = {}
        self._changed = threading.Condition(self.lock)

    def take(self, message: Mapping[str, Any]) -> None:
        """Take a message, and hand on what is its turn."""
        with self._changed:
            writer = message["writer"]
            early = self._early.setdefault(writer, {})
            early[message["number"]] = message
            number = self._next.get(writer, 0)
            while number in early:
                self._hand_on(early.pop(number))
                number += 1
            self._next[writer] = number
            self._changed.notify_all()

    def wait_for(self, told: Mapping[str, int], timeout: float) -> bool:
        """Wait until so many messages of each worker have come; say whether they have."""
        with self._changed:
            return self._changed.wait_for(
                lambda: all(self._next.get(one, 0) >= number for one, number in told.items()),
                timeout,
            )

    def take_rest(self) -> None:
        """Hand on what waits for messages that did not come."""
        with self.lock:
            for early in self._early.values():
                for number in sorted(early):
                    self._hand_on(early.pop(number))
