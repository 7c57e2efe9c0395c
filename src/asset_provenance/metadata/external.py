"""What is told of data from outside AIND becomes their ``DataDescription``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

from aind_data_schema.core.data_description import DataDescription
from aind_data_schema_models.data_name_patterns import DataLevel, DataRegex, build_data_name
from pydantic import ValidationError

from asset_provenance.metadata import checks, vocabulary
from asset_provenance.metadata.description import explain
from asset_provenance.metadata.quiet import quiet
from asset_provenance.metadata.written_set import PROJECT_NAME
from asset_provenance.redaction import contains_secret, redact_text

__all__ = ["ExternalFacts", "Fault", "build_external", "read_facts"]

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")

_Reader = Callable[[Any], Any]
_EXAMPLES = {
    "name": "KimLab-DevCCF-v1",
    "source": "https://example.org/atlas.zip",
    "creation_time": "2024-04-21",
    "institution": "UPENN",
    "investigators": "First Last",
    "modalities": "MRI",
    "funding_source": "NIMH:RF1MH124605",
    "license": "CC-BY-4.0",
}
_HINTS = {
    "source": "the URL or API call that the data were got from",
    "creation_time": "the date the data were posted, or a related publication date if that is not "
    "available",
    "institution": "the one that collected the data",
    "funding_source": 'as the manuscript or the data repository has it; "UNKNOWN" where neither '
    "documents any",
}
_OTHER_LICENSE = (
    "; do not give one that the data do not have: ask their owners whether one of these holds, or "
    "for yours at https://github.com/AllenNeuralDynamics/aind-data-schema-models/issues"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fact that is missing or malformed.

    Parameters
    ----------
    fact
        Its name.
    what
        What is wrong with it; empty where it is missing.
    example
        A value that would do, where it is missing.
    hint
        What is meant by it.
    """

    fact: str
    what: str
    example: str | None = None
    hint: str = ""


@dataclass(slots=True)
class ExternalFacts:
    """What is told of data from outside, as the schema's objects.

    Parameters
    ----------
    label
        What the data are called, without their time.
    source
        Where they were got from, without credentials.
    had_secret
        Whether the source held credentials.
    creation_time
        When they were posted, with the offset that it was given with.
    accessed
        The day they were got; None for the day on which they are described.
    values
        The other facts, by their field in the schema.
    """

    label: str = ""
    source: str = ""
    had_secret: bool = False
    creation_time: datetime = datetime.min
    accessed: date | None = None
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The asset's name, with the date and time as they were given."""
        return str(build_data_name(self.label, self.creation_time))


def read_facts(given: Mapping[str, Any], now: datetime) -> tuple[ExternalFacts, list[Fault]]:
    """Read what was given, into the schema's objects; nothing comes from anywhere else.

    Parameters
    ----------
    given
        By the names of the parameters of :class:`asset_provenance.ExternalAsset`.
    now
        The time now, in the local time zone.

    Returns
    -------
    tuple
        The facts, and everything that is wrong with them; only without faults are they whole.
    """
    facts, faults = ExternalFacts(), []

    def read(fact: str, reader: _Reader) -> Any:
        value = given.get(fact)
        if _is_nothing(value) and fact in _EXAMPLES:
            faults.append(Fault(fact, "", _EXAMPLES[fact], _HINTS.get(fact, "")))
        elif value is not None:
            try:
                return reader(value)
            except ValueError as error:
                faults.append(Fault(fact, str(error)))
        return None

    facts.label = read("name", _label) or ""
    facts.source = read("source", vocabulary.text) or ""
    facts.had_secret = isinstance(given.get("source"), str) and contains_secret(given["source"])
    moment = read("creation_time", lambda value: _moment(value, "creation time"))
    facts.accessed = read("accessed", _accessed)
    if moment is not None:
        facts.creation_time, is_day = moment
        local = facts.creation_time if is_day else facts.creation_time.astimezone()
        is_future = not is_day and facts.creation_time > now + checks.CLOCK_SLACK
        if is_future or local.date() > now.date():
            faults.append(Fault("creation_time", f"{local.date()} is in the future"))
    if facts.accessed is not None and facts.accessed > now.date():
        faults.append(Fault("accessed", f"{facts.accessed} is in the future"))
    for fact, reader in _READERS.items():
        facts.values[fact] = read(fact, reader)
    if given.get("project_name") is None:
        facts.values["project_name"] = PROJECT_NAME
    return facts, faults


@quiet()
def build_external(facts: ExternalFacts, accessed: date) -> DataDescription:
    """Build the description of data from outside.

    Raises
    ------
    ValueError
        If the schema, or our own checks, refuse the facts; the message says which.
    """
    got = f"Downloaded from {facts.source} on {accessed.isoformat()}"
    own = facts.values["data_summary"]
    fields = {
        **facts.values,
        "name": facts.name,
        "creation_time": facts.creation_time,
        "data_level": DataLevel.DERIVED,
        "data_summary": f"{own}\n{got}" if own else got,
    }
    try:
        described = DataDescription(**fields)
    except ValidationError as error:
        raise ValueError(explain(error)) from None
    faults = checks.check_description(described, is_external=True)
    if faults:
        raise ValueError("; ".join(faults))
    return described


def _is_nothing(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, list | tuple | set | frozenset) and not value)


def _several(reader: _Reader) -> _Reader:
    """Give a reader of one or several; what is wrong with each of them is told together."""

    def read(value: Any) -> list[Any]:
        given = value if isinstance(value, list | tuple | set | frozenset) else [value]
        items, wrong = [], []
        for item in given:
            try:
                items.append(reader(item))
            except ValueError as error:
                wrong.append(str(error))
        if wrong:
            raise ValueError("; ".join(wrong))
        return [item for index, item in enumerate(items) if item not in items[:index]]

    return read


def _label(value: Any) -> str:
    label = vocabulary.text(value)
    if _LABEL.fullmatch(label):
        return label
    clean = re.sub(r"[^A-Za-z0-9.+-]+", "-", label).strip("-.+")
    hint = f', for instance "{clean}"' if clean else ""
    raise ValueError(
        f"{label!r} may hold letters, digits, hyphens, dots and plus signs only (the time is added "
        f"after an underscore){hint}"
    )


def _license(value: Any) -> Any:
    try:
        return vocabulary.license_(value)
    except ValueError as error:
        raise ValueError(f"{error}{_OTHER_LICENSE}") from None


def _subject(value: Any) -> str:
    subject = vocabulary.text(value)
    if not re.match(DataRegex.NO_UNDERSCORES.value, subject):
        raise ValueError(f"{subject!r} holds an underscore, which the schema refuses")
    return subject


_READERS: dict[str, _Reader] = {
    "institution": vocabulary.organization,
    "investigators": _several(vocabulary.person),
    "modalities": _several(vocabulary.modality),
    "funding_source": _several(vocabulary.funding),
    "license": _license,
    "project_name": vocabulary.project_name,
    "data_summary": vocabulary.text,
    "subject_id": _subject,
}
"""How each fact is read that the schema has a field for, in the order in which they are told."""


def _accessed(value: Any) -> date:
    moment, _ = _moment(value, "date accessed")
    return moment.date()


def _moment(value: Any, what: str) -> tuple[datetime, bool]:
    """Read a date, or a date with a time; say which.

    What is read has the date and time that were written, on every machine: a date alone is its
    midnight in UTC, and a time without a zone is in local time, as the schema takes it.
    """
    wanted = f'{what} must be a full date, such as "2024-04-21", or one with a time'
    given = value
    if isinstance(given, str):
        text = given.strip()
        try:
            given = date.fromisoformat(text) if _DAY.fullmatch(text) else _with_time(text)
        except ValueError:
            raise ValueError(f"{wanted}, not {_shown(value)}") from None
    try:
        if isinstance(given, datetime):
            # Subclasses (pandas has one) take no time zone, or are no time at all.
            moment = datetime.combine(given.date(), given.timetz())
            return (moment if moment.tzinfo else moment.astimezone()), False
        if isinstance(given, date):
            return datetime.combine(given, time(), UTC), True
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{wanted}, not {given}") from None
    raise ValueError(f"{wanted}, not {_shown(value)}")


def _with_time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    try:
        date.fromisoformat(text)
    except ValueError:
        return moment
    raise ValueError("a date of another form")


def _shown(value: object) -> str:
    return f'"{redact_text(value)[:80]}"' if isinstance(value, str) else type(value).__name__
