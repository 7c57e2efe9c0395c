"""What commands say to those who call them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["Told"]


@dataclass(frozen=True)
class Told:
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)
