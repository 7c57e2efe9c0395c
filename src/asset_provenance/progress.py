"""How far long work on files is, on a terminal; nothing where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["byte_progress"]


@contextmanager
def byte_progress(title: str, total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show how many bytes are done, on the standard error if that is a terminal.

    Parameters
    ----------
    title
        What is being done.
    total
        How many bytes there are to do.
    shown
        Whether it is wanted.

    Yields
    ------
    callable
        To be told of each number of bytes that was done; from any thread.
    """
    if not (shown and sys.stderr is not None and sys.stderr.isatty()):
        yield _ignore
        return
    from rich.console import Console  # noqa: PLC0415 - only for somebody who watches
    from rich.progress import (  # noqa: PLC0415 - as above
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    # It goes away when it is done: what became of it is said by others.
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)


def _ignore(count: int) -> None:
    """Take no notice."""
