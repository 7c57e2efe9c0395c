"""What is found wrong with metadata, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import ValidationError

from asset_provenance.redaction import redact_text

__all__ = ["MENDS", "Finding", "Findings", "Severity", "schema_findings", "where_is"]

Severity = Literal["error", "warning"]

_MOST_FINDINGS = 100
"""Most findings of one file, and most faults of one model that are told one by one."""
_LONGEST_TEXT = 400
_SHOWN_PLACES = 3
_SCHEMA_FORM = "give it the form that aind-data-schema has for it"
_TIME = 'give date, time and zone: "{}": "2026-01-31T12:00:00Z"'

MENDS = {
    "commit_hash": "give 7 to 60 hexadecimal digits, as `git rev-parse HEAD` prints them",
    "creation_time": _TIME.format("creation_time"),
    "data_level": 'write "data_level": "derived", or "simulated"',
    "end_date_time": _TIME.format("end_date_time"),
    "experimenters": 'name who ran it: "experimenters": ["First Last"]',
    "funding_source": 'name who paid: "funding_source": [{"funder": {...}}]; for internal funding '
    "that is the Allen Institute",
    "investigators": 'name who leads it: "investigators": [{"name": "First Last"}]',
    "license": 'write "license": "CC-BY-4.0", or "MIT"',
    "modalities": 'name them: "modalities": [{"name": "Extracellular electrophysiology", '
    '"abbreviation": "ecephys"}]',
    "project_name": 'name it, without any of <>:;"/|?\\_: "project_name": "Thalamus in the middle"',
    "start_date_time": _TIME.format("start_date_time"),
    "url": 'say where others find it: "url": "https://github.com/your-lab/your-analysis"',
}
"""What to write for a field, by its name."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with written metadata.

    Parameters
    ----------
    severity
        ``"error"``, or ``"warning"`` for what may be meant, or came with an input.
    file
        Relative to the asset's folder, in POSIX form; empty for the files together.
    where
        The place in the file; empty for the file as a whole.
    what
        What is wrong.
    mend
        What to do or to write.
    """

    severity: Severity
    file: str
    where: str
    what: str
    mend: str


class Findings:
    """Collects findings for people to read.

    Texts hold no secret and have a bounded length, what is wrong in the same way at many places is
    told once, and of a file that is wrong all over no more is told than anybody could use.
    """

    def __init__(self) -> None:
        self._places: dict[Finding, dict[str, None]] = {}
        self._counts: dict[str, int] = {}

    def add(self, found: Finding) -> None:
        """Take a finding."""
        where = _shown(found.where)
        file, what, mend = map(_shown, (found.file, found.what, found.mend))
        key = Finding(found.severity, file, "", what, mend)
        if key not in self._places:
            self._counts[found.file] = self._counts.get(found.file, 0) + 1
            if self.is_full(found.file):
                return
        self._places.setdefault(key, {})[where] = None

    def is_full(self, file: str) -> bool:
        """Say whether more than enough is known of a file."""
        return self._counts.get(file, 0) > _MOST_FINDINGS

    def has_errors(self, file: str) -> bool:
        """Say whether an error was found in a file."""
        return any(key.file == file and key.severity == "error" for key in self._places)

    def listed(self) -> list[Finding]:
        """Give the findings, errors first, else in the order in which they were found."""
        result = []
        for key, places in self._places.items():
            more = len(places) - _SHOWN_PLACES
            where = "; ".join(list(places)[:_SHOWN_PLACES])
            result.append(replace(key, where=f"{where}; and {more} more" if more > 0 else where))
        result += [
            Finding("error", file, "", "more is wrong than is shown here", "mend this first")
            for file in self._counts
            if self.is_full(file)
        ]
        return sorted(result, key=lambda found: found.severity)


def _shown(text: str) -> str:
    # Redacted before it is cut, so that no half of a secret is left.
    text = redact_text(text[: 4 * _LONGEST_TEXT])
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def schema_findings(
    error: Exception, file: str, place: Sequence[Any] = (), names: Mapping[int, str] | None = None
) -> list[Finding]:
    """Tell in words what the schema refuses, one finding for each field.

    Parameters
    ----------
    error
        What a model of the schema raised.
    file
        The file that it refuses.
    place
        Where in the file that lies.
    names
        Names of the file's processes, by their place.
    """
    where = where_is(place, names)
    if not isinstance(error, ValidationError):
        # The schema's own validators trip over content of a kind that they do not expect.
        what = f"aind-data-schema cannot read it ({type(error).__name__})"
        return [Finding("error", file, where, what, _SCHEMA_FORM)]
    if error.error_count() > _MOST_FINDINGS:
        what = f"aind-data-schema refuses it at {error.error_count()} places"
        return [Finding("error", file, where, what, _SCHEMA_FORM)]
    return [
        Finding("error", file, where_is([*place, *fault["loc"]], names), *_words(fault))
        for fault in error.errors(include_url=False, include_context=False)
    ]


def _words(fault: Mapping[str, Any]) -> tuple[str, str]:
    kind, field = fault["type"], str(fault["loc"][-1]) if fault["loc"] else ""
    # The nearest field around the place that is known here.
    mend = next((MENDS[part] for part in reversed(fault["loc"]) if part in MENDS), None)
    if kind == "missing":
        return f"{field} is missing", mend or f'add "{field}"'
    if kind == "extra_forbidden":
        return f"the schema knows no field {field}", f'remove "{field}"'
    if field and fault["input"] is None:
        return f"{field} is null", mend or _SCHEMA_FORM
    if kind == "too_short":
        return f"{field} is empty", mend or _SCHEMA_FORM
    message = fault["msg"].removeprefix("Value error, ")
    return f"the schema refuses it: {message}", mend or _SCHEMA_FORM


def where_is(place: Sequence[Any], names: Mapping[int, str] | None = None) -> str:
    """Give a place in a file for people: ``data_processes[2] sort_units, code.url``.

    Parameters
    ----------
    place
        Keys and indices, from the top.
    names
        Names of the processes, by their index.
    """
    text = ""
    for depth, part in enumerate(place):
        if isinstance(part, int):
            text += f"[{part}]"
            if depth == 1 and place[0] == "data_processes" and names and part in names:
                text += f" {names[part]},"
        else:
            text += f" {part}" if text.endswith(",") else f".{part}" if text else str(part)
    return text.removesuffix(",")
