"""What the client and the workers of a Dask cluster must agree on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

__all__ = ["annotating", "is_annotated", "key_text", "result_id", "result_of", "task_facts"]

_ANNOTATION = "asset_provenance"
_RESULT = "dask:"


def annotating(run: str, parent: str, submission: str) -> AbstractContextManager[None]:
    """Have the tasks that are submitted say to what they belong.

    Parameters
    ----------
    run
        The asset that is open.
    parent
        The id of the process that submits them.
    submission
        What tells one submission of a key from another: a task that the cluster runs again bears
        that of its first time.
    """
    import dask  # noqa: PLC0415 - an extra

    facts = {"run": run, "parent": parent, "submission": submission}
    annotate: Any = dask.annotate  # type: ignore[attr-defined] # it declares no exports
    return annotate(**{_ANNOTATION: facts})  # type: ignore[no-any-return]


def is_annotated() -> bool:
    """Say whether the tasks that are submitted now say already to what they belong."""
    import dask  # noqa: PLC0415 - as above

    return _ANNOTATION in dask.get_annotations()  # type: ignore[attr-defined]


def task_facts(annotations: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Give what a task says of itself; nothing, if it is no task of ours."""
    return (annotations or {}).get(_ANNOTATION) or {}


def key_text(key: Any) -> str:
    """Give the key of a task as text."""
    return key if isinstance(key, str) else repr(key)


def result_id(key: str, place: int) -> str:
    """Name what a task gave, where the process that it came from is not known yet.

    Parameters
    ----------
    key
        Of the task.
    place
        The place inside its result, as :meth:`Flows.tags` counts.
    """
    return f"{_RESULT}{place}:{key}"


def result_of(name: str) -> tuple[str, int] | None:
    """Give the key and the place that a name is of; None for the id of a process."""
    if not name.startswith(_RESULT):
        return None
    place, _, key = name[len(_RESULT) :].partition(":")
    return key, int(place)
