"""How commands speak: text that comes from files stays text, and colour is for terminals."""

from __future__ import annotations

import json
import os
import shlex
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.text import Text

from asset_provenance.redaction import redact_arguments, redact_text
from asset_provenance.report.words import counted

__all__ = ["acting_command", "complain", "counted", "draw", "say", "say_json", "waiting"]

_MISUSE = 2
_UNBOUNDED = 1_000_000
"""Columns, where nobody counts them."""


def _printable(text: str) -> str:
    """Write out what a terminal would act upon, or not show: control characters and the like."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def say(text: str, *, style: str = "", indent: int = 0, error: bool = False) -> None:
    """Print a line; on a terminal wrapped between words, so that paths stay whole.

    Parameters
    ----------
    text
        Whatever it holds, a terminal only shows it.
    style
        In the words of rich; seen on a terminal.
    indent
        Columns before the text.
    error
        Whether it goes to the standard error.
    """
    console = Console(stderr=error, markup=False, emoji=False, highlight=False)
    margin = " " * indent
    shown = margin + _printable(text)
    if console.is_terminal:
        shown = textwrap.fill(
            shown,
            console.width,
            subsequent_indent=margin,
            break_long_words=False,
            break_on_hyphens=False,
        )
    console.print(Text(shown, style=style), soft_wrap=True)


def draw(drawing: RenderableType) -> None:
    """Print what rich draws; where it is no terminal, on lines as long as they need.

    Parameters
    ----------
    drawing
        Its texts must be such as a terminal only shows.
    """
    console = Console(markup=False, emoji=False, highlight=False)
    options = console.options
    if not console.is_terminal:
        options = options.update(width=_UNBOUNDED)
    if _is_of_few_signs():
        options.encoding = "ascii"  # by which rich chooses how to draw lines
    for line in Segment.split_lines(console.render(drawing, options)):
        shown = Text.assemble(*((part.text, part.style or "") for part in line))
        shown.rstrip()
        console.print(shown, soft_wrap=True)


def _is_of_few_signs() -> bool:
    """Say whether the terminal may not know the signs that lines are drawn with."""
    locale = os.environ.get("LC_ALL") or os.environ.get("LANG")
    return locale in ("C", "POSIX") or not (sys.stdout.encoding or "").lower().startswith("utf")


def say_json(value: Any) -> None:
    """Print a value as JSON, in ASCII."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on a terminal that something is waited for; elsewhere say nothing."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def complain(text: str) -> int:
    """Say why a command cannot be carried out, and give the exit status of that."""
    for line in f"asset-provenance: {redact_text(text)}".split("\n"):
        say(line, error=True)
    return _MISUSE


def acting_command() -> str:
    """Give the command line again, as it was given, with what carries it out: ``--yes``."""
    given = [word for word in sys.argv[1:] if word != "--yes"]
    return shlex.join(["asset-provenance", *redact_arguments(given), "--yes"])
