"""Where facts and options come from: the call, the environment, toml files, the user's own file.

This module knows names and sources, not what a valid value is: the schema's vocabulary turns raw
values into its objects later.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asset_provenance.suggestions import did_you_mean

__all__ = [
    "DESCRIPTION_FACTS",
    "ENVIRONMENT_PREFIX",
    "FACTS",
    "SERVICE_OPTIONS",
    "Given",
    "Settings",
    "load_settings",
    "parse_text",
    "user_file",
]

ENVIRONMENT_PREFIX = "ASSET_PROVENANCE_"
TABLE = "asset-provenance"
FILE_NAME = "asset-provenance.toml"

DESCRIPTION_FACTS = (
    "project_name",
    "investigators",
    "funding_source",
    "modalities",
    "institution",
    "license",
    "group",
    "tags",
    "restrictions",
    "data_summary",
    "data_level",
    "creation_time",
)
"""Facts that are fields of the schema's ``DataDescription``."""
FACTS = (*DESCRIPTION_FACTS, "experimenters", "pipelines", "pipeline_name")
_SERVICE_TIMEOUT = 10.0
SERVICE_OPTIONS = ("offline", "docdb_host", "docdb_version", "service_timeout")
"""Options that say who on the network is asked, and for how long."""
LIST_FACTS = frozenset(
    {"investigators", "funding_source", "modalities", "tags", "experimenters", "pipelines"}
)

_OPTIONS: dict[str, type] = {
    "data_root": str,
    "output_dir": str,
    "code_url": str,
    "code_version": str,
    "core_dependency": str,
    "docdb_host": str,
    "docdb_version": str,
    "offline": bool,
    "service_timeout": float,
    "save_patch": bool,
    "checksums": bool,
    "max_repeats": int,
    "live": bool,
}
_LONGEST_TIME = 86_400
"""Seconds that an option may ask for: a day. Longer waits than some weeks, the system refuses."""
_WANTED = {
    bool: "true or false",
    float: f"a number of seconds above 0, and at most {_LONGEST_TIME}",
    int: "a whole number above 0",
    str: "a text",
}
_NAMES = (*FACTS, *_OPTIONS)
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})

_log = logging.getLogger("asset_provenance")


@dataclass(frozen=True, slots=True)
class Given:
    """A raw value and where it was given."""

    value: Any
    source: str


class Settings:
    """Every fact and option that was given, each from the first source that has it.

    Parameters
    ----------
    given
        Values by name.
    problems
        What is wrong with the sources themselves, one text each.
    """

    def __init__(self, given: Mapping[str, Given], problems: list[str]) -> None:
        self._given = dict(given)
        self.problems = problems

    def get(self, name: str) -> Given | None:
        """Give the value of a fact or option and where it came from, or None."""
        return self._given.get(name)

    def text(self, name: str) -> str | None:
        """Give an option that is a text, or None."""
        given = self._given.get(name)
        return None if given is None else os.fspath(given.value)

    def number(self, name: str, default: int) -> int:
        """Give an option that is a whole number."""
        given = self._given.get(name)
        return default if given is None else int(given.value)

    def seconds(self, name: str, default: float) -> float:
        """Give an option that is a time in seconds."""
        given = self._given.get(name)
        return default if given is None else float(given.value)

    @property
    def service_timeout(self) -> float:
        """Seconds that a service on the network may take."""
        return self.seconds("service_timeout", default=_SERVICE_TIMEOUT)

    def against_asking(self, what: str) -> list[str]:
        """Tell what stands against asking services at all, which something needs."""
        if not self.flag("offline", default=False):
            return []
        given = self.get("offline")
        where = f" ({given.source})" if given else ""
        return [f"offline is set{where}, and {what} asks services: set it to false"]

    def flag(self, name: str, default: bool) -> bool:
        """Give an option that is true or false."""
        given = self._given.get(name)
        return default if given is None else bool(given.value)

    @property
    def live(self) -> bool | None:
        """Whether somebody wants to see what goes on; None if nothing was said."""
        given = self._given.get("live")
        return None if given is None else bool(given.value)


def load_settings(
    call: Mapping[str, Any],
    *,
    script_folder: Path | None,
    recorded: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    working_folder: Path | None = None,
    own_file: Path | None = None,
) -> Settings:
    """Collect what was given, first source wins.

    Parameters
    ----------
    call
        Values given in the call; None counts as not given.
    script_folder
        Folder of the main script, from where toml files are looked for upward; the working folder
        comes after it.
    recorded
        What a run was given that has ended; it comes after the call.
    environ, working_folder, own_file
        Default: those of this program and its user.

    Returns
    -------
    Settings
        With everything wrong in the sources listed in its ``problems``; nothing is raised here, so
        that all faults of a run can be told together.
    """
    problems: list[str] = []
    layers: list[Mapping[str, Given]] = [
        {name: Given(value, "the call") for name, value in call.items() if value is not None},
        {name: Given(value, "the run's record") for name, value in (recorded or {}).items()},
        _from_environment(os.environ if environ is None else environ, problems),
    ]
    start = [script_folder, Path.cwd() if working_folder is None else working_folder]
    project_file = _nearest_file([folder for folder in start if folder is not None], problems)
    files = (project_file, user_file() if own_file is None else own_file)
    layers += [_from_file(file, problems) for file in files if file is not None]
    if not any({"pipelines", "pipeline_name"} & layer.keys() for layer in layers):
        layers.append(_from_pipeline(os.environ if environ is None else environ))
    given: dict[str, Given] = {}
    for layer in layers:
        for name, value in layer.items():
            given.setdefault(name, value)
    return Settings(given, problems)


def user_file() -> Path:
    """Give the place of the user's own file of facts and options."""
    import platformdirs  # noqa: PLC0415 - imported when a run starts, not with the package

    return platformdirs.user_config_path(TABLE, appauthor=False) / FILE_NAME


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, Given]:
    result: dict[str, Given] = {}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or not text.strip():
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name not in _NAMES:
            known = [ENVIRONMENT_PREFIX + name.upper() for name in _NAMES]
            _log.warning("%s is not a setting%s", variable, did_you_mean(variable, known))
            continue
        try:
            result[name] = Given(parse_text(name, text.strip()), variable)
        except ValueError as error:
            problems.append(f"{variable}: {error}")
    return result


def _from_pipeline(environ: Mapping[str, str]) -> dict[str, Given]:
    """Give the pipeline that the variables of the pipeline itself name."""
    name, url, version = (
        environ.get(f"PIPELINE_{part}", "").strip() for part in ("NAME", "URL", "VERSION")
    )
    if not (name and url):
        return {}
    try:
        urlsplit(url)
        is_url = re.match(r"(https?|ssh|git)://[^\s/]|git@[^\s/]+:", url) is not None
    except ValueError:
        is_url = False
    if not is_url:
        _log.warning("PIPELINE_URL is not recorded: it is no URL, such as https://host/pipeline")
        return {}
    pipeline = {"name": name, "url": url, **({"version": version} if version else {})}
    return {
        "pipelines": Given([pipeline], "PIPELINE_URL"),
        "pipeline_name": Given(name, "PIPELINE_NAME"),
    }


def parse_text(name: str, text: str) -> Any:
    """Read the value of a fact or option from text; lists are JSON or separated by semicolons.

    Raises
    ------
    ValueError
        If the text is not of that form.
    """
    if name in FACTS and text[0] in "[{":
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"not valid JSON: {error.msg} at column {error.colno}") from None
        return [value] if name in LIST_FACTS and isinstance(value, dict) else value
    if name in LIST_FACTS:
        return [part.strip() for part in text.split(";") if part.strip()]
    if _OPTIONS.get(name) is int:
        if text.isdecimal() and int(text) > 0:
            return int(text)
        raise ValueError(f"{text!r} is not {_WANTED[int]}")
    if _OPTIONS.get(name) is float:
        return _seconds(text)
    if _OPTIONS.get(name) is bool:
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise ValueError(f"{text!r} is neither true nor false")
    return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 < value <= _LONGEST_TIME:
        return value
    raise ValueError(f"{text!r} is not {_WANTED[float]}")


def _nearest_file(folders: list[Path], problems: list[str]) -> Path | None:
    for folder in folders:
        for parent in (folder, *folder.parents):
            for name in (FILE_NAME, "pyproject.toml"):
                path = parent / name
                if os.path.isfile(path) and _table(path, problems) is not None:
                    return path
    return None


def _table(path: Path, problems: list[str]) -> dict[str, Any] | None:
    """Give our table of a toml file; the whole of a file that is ours alone may be the table."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # A broken pyproject.toml without our table is its project's trouble, not this run's.
        if (path.name == FILE_NAME or TABLE in text) and f"{path}: {error}" not in problems:
            problems.append(f"{path}: {error}")
        return None
    except OSError as error:
        _log.warning("%s cannot be read: %s", path, error.strerror)
        return None
    table = document.get("tool", {}).get(TABLE) if isinstance(document.get("tool"), dict) else None
    if table is None and path.name == FILE_NAME:
        table = document
    return table if isinstance(table, dict) else None


def _from_file(path: Path, problems: list[str]) -> dict[str, Given]:
    if not os.path.isfile(path):
        return {}
    result: dict[str, Given] = {}
    for name, value in (_table(path, problems) or {}).items():
        if name not in _NAMES:
            problems.append(f"{path}: {name} is not a setting{did_you_mean(name, _NAMES)}")
        elif not _has_form(name, value):
            problems.append(f"{path}: {name} must be {_WANTED[_OPTIONS[name]]}, not {value!r}")
        elif name in ("data_root", "output_dir"):
            # A path in a file is meant from that file's folder, wherever the program is started.
            result[name] = Given(str(path.parent / value), str(path))
        else:
            result[name] = Given(value, str(path))
    return result


def _has_form(name: str, value: Any) -> bool:
    if name not in _OPTIONS:
        return True
    is_time = _OPTIONS[name] is float
    wanted = (int, float) if is_time else (_OPTIONS[name],)
    most = _LONGEST_TIME if is_time else math.inf
    return type(value) in wanted and (isinstance(value, bool | str) or 0 < value <= most)
