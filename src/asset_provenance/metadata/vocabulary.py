"""What a scientist writes for a fact becomes the schema's object.

Every function takes a string, a mapping as a JSON file would hold it, or the schema's own object.
It raises a ``ValueError`` that says what was given, what is accepted, and which names are near.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from aind_data_schema.components.identifiers import Code, Person
from aind_data_schema.core.data_description import Funding
from aind_data_schema_models.data_name_patterns import DataLevel, DataRegex, Group
from aind_data_schema_models.licenses import License
from aind_data_schema_models.modalities import Modality, ModalityModel
from aind_data_schema_models.organizations import Organization, OrganizationModel
from aind_data_schema_models.registries import Registry
from pydantic import BaseModel, ValidationError

from asset_provenance.metadata.quiet import quiet
from asset_provenance.records import valid_text
from asset_provenance.redaction import clean_url, redact_json, redact_text

__all__ = [
    "creation_time",
    "data_level",
    "experimenter",
    "funding",
    "group",
    "license_",
    "modality",
    "organization",
    "person",
    "pipeline",
    "pipeline_name",
    "project_name",
    "tag",
    "text",
]

logger = logging.getLogger("asset_provenance")

T = TypeVar("T", bound=Hashable)

_LONGEST_SHOWN = 80
_MOST_SUGGESTED = 3
_NEAR = 0.7


@dataclass(frozen=True)
class _Vocabulary(Generic[T]):
    """The terms of one kind that the schema knows.

    Parameters
    ----------
    kind, kinds
        What a term is, and several of them.
    terms
        Each term with the labels it goes by; the first is the one to write.
    examples
        Of labels, where the terms are too many to name them all.
    if_missing
        What to do where the schema has no such term.
    """

    kind: str
    kinds: str
    terms: Mapping[T, tuple[str, ...]]
    examples: tuple[str, ...] = ()
    if_missing: str = ""

    def read(self, value: object) -> T:
        """Give the term that a label, a mapping with its labels, or the term itself stands for."""
        value = _json_form(value)
        if isinstance(value, str):
            return self._find(_text(value, self.kind))
        if not isinstance(value, Mapping):
            raise ValueError(f"{self.kind} must be text, not {_shown(value)}")
        keys = ("name", "abbreviation", "registry", "registry_identifier")
        fields = _fields(value, self.kind, keys)
        labels = [_text(fields[key], f"{key} of {self.kind}") for key in keys[:2] if key in fields]
        found = {self._find(label): label for label in labels}
        if not found:
            raise ValueError(f'{self.kind} {_keys(value)} needs "name" or "abbreviation"')
        if len(found) > 1:
            told = _listed(f"{_shown(found[term])} is {self._title(term)}" for term in found)
            raise ValueError(f"name and abbreviation name different {self.kinds}: {told}")
        return next(iter(found))

    def _find(self, given: str) -> T:
        plain = _plain(given)
        found = [term for term, labels in self.terms.items() if given in labels] or [
            term for term, labels in self.terms.items() if plain in map(_plain, labels)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            names = _listed(map(self._title, found), "or")
            raise ValueError(f"{self.kind} {_shown(given)} can be {names}: give the full name")
        told = f"{self._known()}{self.if_missing}{self._suggestion(plain)}"
        raise ValueError(f"{_shown(given)} is not {told}")

    def _known(self) -> str:
        if self.examples:
            return (
                f"among the {len(self.terms)} {self.kinds} of the schema: give the abbreviation "
                f"or the full name, such as {_listed(map(_shown, self.examples), 'or')}"
            )
        firsts = (_shown(labels[0]) for labels in self.terms.values())
        return f"among the {self.kinds} of the schema: {_listed(firsts)}"

    def _suggestion(self, plain: str) -> str:
        if len(self.terms) < _MOST_SUGGESTED:  # named in full just before
            return ""
        owners = {_plain(label): term for term, labels in self.terms.items() for label in labels}
        near = [
            owners[label] for label in difflib.get_close_matches(plain, owners, n=6, cutoff=_NEAR)
        ]
        titles = [self._title(term) for term in dict.fromkeys(near)][:_MOST_SUGGESTED]
        return f"; did you mean {_listed(titles, 'or')}?" if titles else ""

    def _title(self, term: T) -> str:
        first, *others = self.terms[term]
        return f"{_shown(first)} ({', '.join(others)})" if others else _shown(first)


def _named(classes: Iterable[Any]) -> dict[Any, tuple[str, ...]]:
    models = [model() for model in classes]
    # Some have no abbreviation, and some the same one as name.
    return {
        model: tuple(filter(None, dict.fromkeys((model.abbreviation, model.name))))
        for model in models
    }


_ORGANIZATIONS: _Vocabulary[OrganizationModel] = _Vocabulary(
    "organization",
    "organizations",
    _named(Organization.ALL),
    ("AIND", "Allen Institute"),
    "; one that is missing there is asked for at "
    "https://github.com/AllenNeuralDynamics/aind-data-schema-models/issues",
)
_MODALITIES: _Vocabulary[ModalityModel] = _Vocabulary(
    "modality", "modalities", _named(Modality.ALL)
)
_LICENSES = _Vocabulary("license", "licenses", {item: (item.value,) for item in License})
_GROUPS = _Vocabulary("group", "groups", {item: (item.value,) for item in Group})
_DATA_LEVELS = _Vocabulary(
    "data level",
    "data levels",
    {item: (item.value,) for item in DataLevel if item is not DataLevel.RAW},
)
_REGISTRIES = _Vocabulary(
    "registry", "registries", {item: (item.name, item.value) for item in Registry}
)


def organization(value: object) -> OrganizationModel:
    """Read an organization: abbreviation or full name, mapping, or the schema's object."""
    return _ORGANIZATIONS.read(value)


def modality(value: object) -> ModalityModel:
    """Read a modality: abbreviation or full name, mapping, or the schema's object."""
    return _MODALITIES.read(value)


def license_(value: object) -> License:
    """Read a license: its name, or the schema's object."""
    return _LICENSES.read(value)


def group(value: object) -> Group:
    """Read the group that collected the data: its name, or the schema's object."""
    return _GROUPS.read(value)


def data_level(value: object) -> DataLevel:
    """Read the level of a result: derived or simulated."""
    value = _json_form(value)
    if isinstance(value, str) and _plain(value) == "raw":
        raise ValueError('a derived asset cannot be raw: give "derived" or "simulated"')
    return _DATA_LEVELS.read(value)


def funding(value: object) -> Funding:
    """Read a funding: ``"FUNDER"``, ``"FUNDER:GRANT_NUMBER"``, mapping, or the schema's object."""
    # As a text may be the funder alone, so may an object.
    value = {"funder": value} if isinstance(value, OrganizationModel) else _json_form(value)
    if isinstance(value, str):
        funder, colon, number = value.partition(":")
        if colon and not number.strip():
            raise ValueError(
                f"funding {_shown(value)} has no grant number after the colon: give the funder "
                "alone where there is none"
            )
        value = {"funder": funder, "grant_number": number}
    elif not isinstance(value, Mapping):
        raise ValueError(f"funding must be text or a mapping, not {_shown(value)}")
    fields = _fields(value, "funding", ("funder", "grant_number", "fundee"))
    if "funder" not in fields:
        raise ValueError(
            'funding needs a funder: give "FUNDER" or "FUNDER:GRANT_NUMBER", such as '
            '"NIMH:RF1MH123"; internal funding is "AI", the Allen Institute'
        )
    if isinstance(fields["funder"], str) and fields.get("grant_number") is None:
        _refuse_grant_in_funder(fields["funder"])
    grant = fields.get("grant_number")
    fundee = fields.get("fundee")
    if not isinstance(fundee, list | tuple | None):
        raise ValueError(
            f'"fundee" of funding is a list of persons, such as ["Ada Lovelace"], '
            f"not {_shown(fundee)}"
        )
    return Funding(
        funder=organization(fields["funder"]),
        grant_number=None if grant is None else _text(grant, "grant number of funding"),
        fundee=None if fundee is None else [person(item) for item in fundee],
    )


def _refuse_grant_in_funder(text: str) -> None:
    """Tell how a grant number is given that follows a funder without a colon."""
    first, _, rest = text.strip().partition(" ")
    if rest and not _is_organization(text) and _is_organization(first):
        raise ValueError(f'funding {_shown(text)}: did you mean "{first}:{rest.strip()}"?')


def _is_organization(text: str) -> bool:
    try:
        organization(text)
    except ValueError:
        return False
    return True


def person(value: object) -> Person:
    """Read a person: the name, mapping, or the schema's object."""
    value = _json_form(value)
    fields: Mapping[str, Any] = {"name": value}
    if isinstance(value, Mapping):
        fields = _fields(value, "person", ("name", "registry", "registry_identifier"))
        if "name" not in fields:
            raise ValueError('person needs a "name"')
    name = " ".join(_text(fields["name"], "name of a person").split())
    if "@" in name:
        raise ValueError(
            f"{_shown(name)} holds an e-mail address where a person's name is wanted: give the "
            'name, such as "Ada Lovelace"'
        )
    optional: dict[str, Any] = {}
    if "registry" in fields:
        optional["registry"] = _REGISTRIES.read(fields["registry"])
    if "registry_identifier" in fields:
        identifier = _text(fields["registry_identifier"], "registry identifier of a person")
        optional["registry_identifier"] = identifier
    return Person(name=name, **optional)


def experimenter(value: object) -> str:
    """Read the name of a person: a string, mapping, or the schema's ``Person``."""
    name: str = person(value).name
    return name


def project_name(value: object) -> str:
    """Read a project name, without the characters that the schema refuses in one."""
    name = _text(value, "project name")
    pattern = DataRegex.NO_SPECIAL_CHARS_EXCEPT_SPACE.value
    refused = [char for char in dict.fromkeys(name) if not re.match(pattern, char)]
    if not refused:
        return name
    wrong = f"project name {_shown(name)} holds {' '.join(refused)}, which the schema refuses"
    run = rf"\s*[{re.escape(''.join(refused))}]+[\s{re.escape(''.join(refused))}]*"
    clean = re.sub(run, lambda found: " " if re.search(r"\s", found[0]) else "-", name).strip(" -")
    raise ValueError(f"{wrong}: {_shown(clean)} would do" if clean else wrong)


def creation_time(value: object) -> datetime:
    """Read a date with time; one without a time zone is in local time. The result is in UTC."""
    wanted = 'creation time must be a date with a time, such as "2026-11-25T01:20:03Z"'
    given = value
    if isinstance(value, str):
        try:
            given = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(f"{wanted}, not {_shown(value)}") from None
        if _is_date(value.strip()):
            given = given.date()
    if not isinstance(given, datetime):
        shown = str(given) if isinstance(given, date) else _shown(given)
        raise ValueError(f"{wanted}, not {shown}")
    try:
        # Subclasses (pandas has one) take no time zone, or are no time at all.
        moment = datetime.combine(given.date(), given.timetz())
        return moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{wanted}, not {given}") from None


def pipeline(value: object) -> Code:
    """Read a pipeline: ``"url@version"``, mapping, or the schema's ``Code``, with name and URL."""
    if isinstance(value, str):
        code = _code(_pipeline_fields(_text(value, "pipeline")))
    elif isinstance(value, Mapping):
        known = tuple(key for key in Code.model_fields if key != "object_type")
        code = _code(_fields(value, "pipeline", known))
    elif isinstance(value, Code):
        code = value
    else:
        raise ValueError(
            'pipeline must be "url@version", a mapping with url and name, or a Code of the schema, '
            f"not {_shown(value)}"
        )
    url = _pipeline_url(code.url)
    if not (code.name and code.name.strip()):
        raise ValueError(f'pipeline {_shown(url)} needs a name: give "name" beside its "url"')
    if not (code.version or code.commit_hash):
        logger.warning("pipeline %s has neither version nor commit_hash", code.name)
    return _code({**redact_json(code.model_dump(mode="json", exclude_none=True)), "url": url})


def pipeline_name(value: object) -> str:
    """Read which pipeline is meant: its name, or the schema's ``Code`` itself."""
    return _text(value.name if isinstance(value, Code) else value, "name of a pipeline")


def text(value: object) -> str:
    """Read text that is not empty."""
    return _text(value, "it")


def tag(value: object) -> str:
    """Read a tag: text that is not empty."""
    return _text(value, "tag")


def _pipeline_fields(given: str) -> dict[str, str]:
    # An "@" before the last "/" is of a user's name, as in git@host:owner/repository.
    folder, slash, last = given.rpartition("/")
    last, at, version = last.partition("@")
    if at and not (version and last):
        raise ValueError('pipeline "url@version" has nothing on one side of the "@"')
    url = _pipeline_url(folder + slash + last)
    if "@" in urlsplit(url).path:
        raise ValueError(
            f'pipeline {_shown(url)} has a "/" in its version, or an "@" in its path: give a '
            'mapping with "url", "name" and "version"'
        )
    fields = {"url": url, "name": urlsplit(url).path.rstrip("/").rpartition("/")[2]}
    if re.fullmatch("[0-9a-fA-F]{40}", version):
        fields["commit_hash"] = version
    elif version:
        fields["version"] = version
    return fields


def _pipeline_url(given: object) -> str:
    url = clean_url(_text(given, "url of a pipeline"))
    parts = urlsplit(url)
    if not parts.scheme or not parts.path.strip("/"):
        raise ValueError(
            f'{_shown(url)} is not the URL of a pipeline: it needs "https://host/name"'
        )
    return url


def _code(fields: Mapping[str, Any]) -> Code:
    if "url" not in fields:
        raise ValueError('pipeline needs a "url"')
    try:
        with quiet():  # what the schema would warn of is said once, by the caller, in the log
            return Code(**fields)
    except ValidationError as error:
        # Not the values: they may hold what nobody should see.
        wrong = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ValueError(f"pipeline is not valid: {'; '.join(wrong)}") from None


def _fields(value: Mapping[Any, Any], kind: str, known: tuple[str, ...]) -> dict[str, Any]:
    """Give what a mapping holds, without what is empty; a key that is not known is an error."""
    unknown = [str(key) for key in value if key not in known and key != "object_type"]
    if unknown:
        near = difflib.get_close_matches(unknown[0].casefold(), known, n=_MOST_SUGGESTED)
        hint = f"; did you mean {_listed(map(_shown, near), 'or')}?" if near else ""
        raise ValueError(
            f"{kind} has no {_shown(unknown[0])}: it takes {_listed(map(_shown, known))}{hint}"
        )
    return {
        key: item
        for key, item in value.items()
        if key != "object_type"
        and item is not None
        and not (isinstance(item, str) and not item.strip())
    }


def _json_form(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    return value.model_dump() if isinstance(value, BaseModel) else value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} must be text, not {_shown(value)}")
    if not value.strip():
        raise ValueError(f"{what} is empty")
    return redact_text(valid_text(value.strip()))


def _is_date(value: str) -> bool:
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _plain(label: str) -> str:
    """Leave the letters and digits, so that case, spaces, hyphens and points do not matter."""
    return "".join(filter(str.isalnum, label.casefold()))


def _shown(value: object) -> str:
    if isinstance(value, str):
        safe = redact_text(value)
        return f'"{safe}"' if len(safe) <= _LONGEST_SHOWN else f'"{safe[:_LONGEST_SHOWN]}..."'
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    return f"{type(value).__name__} object"


def _keys(value: Mapping[Any, Any]) -> str:
    return f"with {_listed(_shown(str(key)) for key in value)}" if value else "without fields"


def _listed(items: Iterable[str], word: str = "and") -> str:
    *most, last = items
    return f"{', '.join(most)} {word} {last}" if most else last
