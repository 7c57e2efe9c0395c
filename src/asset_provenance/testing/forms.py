"""The forms in which Code Ocean takes what it is asked for, as its SDK sends them.

What a form does not know, and what it wants and is not there, is refused with all its faults at
once. A null is nothing given: the SDK sends one for each field that was left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from asset_provenance.testing.server import Refusal

__all__ = [
    "CREATE",
    "FOLDER",
    "PERMISSIONS",
    "SEARCH",
    "UPDATE",
    "Form",
    "Part",
    "filled",
]

_KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "a whole number": (int,),
    "a number": (int, float),
    "true or false": (bool,),
    "an object": (dict,),
    "text or a number": (str, int, float),
}
_ELEMENTS: dict[str, tuple[type, ...]] = {
    "a list of texts": (str,),
    "a list of texts or numbers": (str, int, float),
}


@dataclass(frozen=True)
class Part:
    """A field of a form.

    Parameters
    ----------
    kind
        What its value is, in words; ``"an object"`` of any content unless there is a form.
    required
        Whether it must be given; a required text must hold something.
    form
        That the value, or with ``several`` each of its elements, has.
    several
        Whether the value is a list of such forms.
    choices
        The values that it can have.
    """

    kind: str = "text"
    required: bool = False
    form: Form | None = None
    several: bool = False
    choices: tuple[str, ...] = ()


Form = Mapping[str, Part]

_TEXT, _NAME = Part(), Part(required=True)
_TEXTS, _FLAG = Part("a list of texts"), Part("true or false")
_NUMBER, _WHOLE, _OBJECT = Part("a number"), Part("a whole number"), Part("an object")

_AWS: Form = {
    "bucket": _NAME,
    "endpoint_name": _TEXT,
    "prefix": _TEXT,
    "keep_on_external_storage": _FLAG,
    "public": _FLAG,
    "use_input_bucket": _FLAG,
}
_GCP: Form = {"bucket": _NAME, "client_id": _TEXT, "client_secret": _TEXT, "prefix": _TEXT}
_SOURCE: Form = {
    "aws": Part(form=_AWS),
    "gcp": Part(form=_GCP),
    "computation": Part(form={"id": _NAME, "path": _TEXT}),
    "cloud_workstation": Part(form={"id": _NAME, "path": _NAME, "run_script": _TEXT}),
}
CREATE: Form = {
    "name": _NAME,
    "tags": Part("a list of texts", required=True),
    "mount": _NAME,
    "description": _TEXT,
    "source": Part(form=_SOURCE),
    "target": Part(form={"aws": Part(form={key: _AWS[key] for key in list(_AWS)[:3]})}),
    "custom_metadata": _OBJECT,
    "data_asset_ids": _TEXTS,
    "results_info": _OBJECT,
}
UPDATE: Form = {
    "name": _TEXT,
    "description": _TEXT,
    "tags": _TEXTS,
    "mount": _TEXT,
    "custom_metadata": _OBJECT,
}
SEARCH: Form = {
    "query": _TEXT,
    "next_token": _TEXT,
    "offset": _WHOLE,
    "limit": _WHOLE,
    "sort_field": Part(choices=("created", "type", "name", "size")),
    "sort_order": Part(choices=("asc", "desc")),
    "type": Part(choices=("dataset", "result", "combined", "model")),
    "ownership": Part(choices=("private", "created", "shared")),
    "origin": Part(choices=("internal", "external")),
    "favorite": _FLAG,
    "archived": _FLAG,
    "filters": Part(
        several=True,
        form={
            "key": _NAME,
            "value": Part("text or a number"),
            "values": Part("a list of texts or numbers"),
            "range": Part(form={"min": _NUMBER, "max": _NUMBER}),
            "exclude": _FLAG,
        },
    ),
}
FOLDER: Form = {"path": _TEXT}
_ROLES = ("owner", "editor", "viewer")
PERMISSIONS: Form = {
    "users": Part(several=True, form={"email": _NAME, "role": Part(required=True, choices=_ROLES)}),
    "groups": Part(
        several=True,
        form={"group": _NAME, "role": Part(required=True, choices=(*_ROLES, "discoverable"))},
    ),
    "everyone": Part(choices=("viewer", "discoverable", "none")),
    "share_assets": _FLAG,
}


def filled(form: Form, body: Any) -> dict[str, Any]:
    """Give what a form was filled in with, without its nulls.

    Raises
    ------
    Refusal
        If it is not filled in as it must be; with everything that is wrong.
    """
    faults: list[str] = []
    values = _filled(form, body, "", faults)
    if faults:
        raise Refusal(HTTPStatus.BAD_REQUEST, "; ".join(faults))
    return values


def _filled(form: Form, body: Any, place: str, faults: list[str]) -> dict[str, Any]:
    if not isinstance(body, dict):
        faults.append(f"{place.rstrip('.') or 'the body'} must be a JSON object")
        return {}
    faults.extend(f"{place}{name} is unknown" for name in sorted(body.keys() - form.keys()))
    values = {}
    for name, part in form.items():
        value = body.get(name)
        if value is None:
            if part.required:
                faults.append(f"{place}{name} is missing")
            continue
        values[name] = _value(part, value, f"{place}{name}", faults)
    return values


def _value(part: Part, value: Any, place: str, faults: list[str]) -> Any:
    if part.form is not None and part.several:
        if not isinstance(value, list):
            faults.append(f"{place} must be a list")
            return []
        return [
            _filled(part.form, element, f"{place}[{number}].", faults)
            for number, element in enumerate(value)
        ]
    if part.form is not None:
        return _filled(part.form, value, f"{place}.", faults)
    if not _is(value, part.kind):
        faults.append(f"{place} must be {part.kind}")
    elif part.choices and value not in part.choices:
        faults.append(f"{place} must be one of {', '.join(part.choices)}")
    elif part.required and isinstance(value, str) and not value.strip():
        faults.append(f"{place} is empty")
    return value


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool) and kind != "true or false":  # which Python takes for a number
        return False
    if kind not in _ELEMENTS:
        return isinstance(value, _KINDS[kind])
    return isinstance(value, list) and all(
        isinstance(one, _ELEMENTS[kind]) and not isinstance(one, bool) for one in value
    )
