"""What is recorded of an asset, as one HTML page that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from shlex import quote
from typing import Any, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined

from asset_provenance.corefiles import read_bytes
from asset_provenance.records import ProcessStatus
from asset_provenance.report import texts, values, words
from asset_provenance.report.curves import curves
from asset_provenance.report.graph import drawing
from asset_provenance.report.timeline import timeline
from asset_provenance.views import AssetView, as_text

__all__ = ["Found", "environment", "page"]

_MOST_OPEN = 8
"""Of more processes, each is folded."""
_MOST_BARS = 1000
"""Most processes that the timeline has."""
_MOST_IN_FULL = 1000
"""Most processes of which all is told."""


class Found(Protocol):
    """What the page wants to know of a finding of ``check``."""

    @property
    def severity(self) -> str:
        """``error`` or ``warning``."""

    @property
    def file(self) -> str:
        """The file, if it is of one."""

    @property
    def where(self) -> str:
        """The place in it."""

    @property
    def what(self) -> str:
        """What is wrong."""

    @property
    def mend(self) -> str:
        """What to do."""


def page(view: AssetView, findings: Sequence[Found], version: str) -> str:
    """Give the page of an asset.

    Parameters
    ----------
    view
        What its metadata say.
    findings
        What is wrong with them.
    version
        Of this package.

    Returns
    -------
    str
        HTML that is shown without any other file, without the network, and without scripts.
    """
    own, inherited = view.own_processes, tuple(one for one in view.processes if one.is_inherited)
    early = [one for one in own if one.status is not ProcessStatus.COMPLETED]
    in_full = (*own, *inherited)[:_MOST_IN_FULL]
    drawn = {one.name: curves(one) for one in in_full}
    found = {curve.what for of_one in drawn.values() for curve in of_one}
    parents = {one.name: one.parent for one in view.processes}
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            view=view,
            folder=str(view.folder.resolve()),
            facts=_facts(view.description),
            findings=findings,
            own=timeline(own[:_MOST_BARS]),
            inherited=timeline(inherited[: max(0, _MOST_BARS - len(own))]),
            own_count=len(own),
            inherited_count=len(inherited),
            statuses=Counter(one.status.value for one in own),
            early=early,
            drawn=drawn,
            measured=[what for what in ("CPU", "Memory", "GPU") if what in found],
            warnings_count=sum(map(bool, (early, view.unfinished)))
            + len(findings)
            + len(view.problems),
            graph=drawing(view),
            in_full=in_full,
            followed={
                one.name: [name for name in one.depends_on if parents.get(name) != one.name]
                for one in in_full
            },
            anchors={one.name: f"p{number}" for number, one in enumerate(in_full, start=1)},
            is_folded=len(in_full) > _MOST_OPEN,
            packages=[_package_list(path) for path in view.packages],
            now=datetime.now(UTC),
            version=version,
        )
    )


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Give what fills in the templates: every text is made safe, and then escaped."""
    made = Environment(
        loader=PackageLoader("asset_provenance.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: texts.shown(value) if type(value) is str else value,
    )
    made.filters |= {
        "duration": _duration,
        "fitted": lambda text, cells: texts.fitted(texts.shown(text), cells),
        "moment": _moment,
        "size": words.size,
        "as_word": lambda value: quote(str(value)),
        "link": texts.link,
        "curves": curves,
        "folding": values.of_text,
        "values": values.mapping,
    }
    made.globals |= {"commit_link": texts.commit_link, "script_link": texts.script_link}
    made.globals |= {
        "code_in_short": words.code_in_short,
        "counted": words.counted,
        "reason": words.reason,
        "short": words.values_in_short,
    }
    return made


def _duration(seconds: float | None) -> str:
    return "unknown" if seconds is None else words.duration(seconds)


def _moment(time: datetime | None) -> str:
    return "unknown" if time is None else f"{words.moment(time)} UTC"


def _facts(description: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Give what the data description says besides name and sources, in words."""
    found = [
        ("Subject", [as_text(description.get("subject_id"))]),
        ("Project", [as_text(description.get("project_name"))]),
        ("Modalities", _names(description.get("modalities", description.get("modality")))),
        ("Institution", _names([description.get("institution")])),
        ("Investigators", _names(description.get("investigators"))),
        ("Funding", _names(_funders(description.get("funding_source")))),
        ("Group", [as_text(description.get("group"))]),
        ("Licence", [as_text(description.get("license"))]),
        ("Restrictions", [as_text(description.get("restrictions"))]),
        ("Tags", _names(description.get("tags"))),
    ]
    return [
        (label, list(dict.fromkeys(text for text in several if text))) for label, several in found
    ]


def _names(items: Any) -> list[str | None]:
    """Give the names of people, places and the like, in whichever form they are written."""
    return [
        as_text(one.get("name")) if isinstance(one, dict) else as_text(one)
        for one in (items if isinstance(items, list) else [items])
    ]


def _funders(items: Any) -> list[Any]:
    return [
        one.get("funder") if isinstance(one, dict) else one
        for one in (items if isinstance(items, list) else [])
    ]


def _package_list(path: Path) -> tuple[str, str]:
    try:
        return path.name, read_bytes(path).decode("utf-8", "backslashreplace")
    except (OSError, ValueError) as error:
        return path.name, f"(it cannot be read: {error})"
