"""An asset as a Process Run Crate, a profile of RO-Crate: https://w3id.org/ro/wfrun/process."""

from __future__ import annotations

import dataclasses
import json
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from mimetypes import MimeTypes
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from asset_provenance.endings import status_in_notes
from asset_provenance.errors import UsageError
from asset_provenance.exporting.sharing import (
    name_of,
    names_in,
    own_path,
    people_in,
    plain_value,
)
from asset_provenance.records import InputRef, ProcessStatus, valid_text
from asset_provenance.redaction import redact_text
from asset_provenance.views import AssetView, CodeView, ProcessView, as_text, as_texts

if TYPE_CHECKING:
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

__all__ = ["crate_of", "lacks_of"]

_RO_CRATE = "1.1"  # which the profile extends
_PROFILE_VERSION = "0.5"
_PROFILE = f"https://w3id.org/ro/wfrun/process/{_PROFILE_VERSION}"
_RUN_TERMS = "https://w3id.org/ro/terms/workflow-run"
_SCHEMA = "http://schema.org"
_INFORMED = {"wasInformedBy": "http://www.w3.org/ns/prov#wasInformedBy"}
"""The one term that neither RO-Crate nor its profile has: which process another follows."""
_OWN_FILES = "ro-crate-"
_LICENSES = {
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "MIT": "https://spdx.org/licenses/MIT",
}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TREE = re.compile(r"tree:([0-9a-f]{40})")


def crate_of(view: AssetView, *, has_data: bool) -> dict[str, Any]:
    """Give the metadata of a crate, in JSON-LD.

    Parameters
    ----------
    view
        The asset, as others may see it.
    has_data
        Whether the crate's folder is the asset's. Only then does it refer to files.

    Raises
    ------
    UsageError
        If the library for it is missing.
    """
    try:
        from rocrate.rocrate import ROCrate  # noqa: PLC0415 - slow, and not always installed
    except ImportError:
        raise UsageError(
            'RO-Crates are made with rocrate: pip install "asset-provenance[export]"'
        ) from None
    crate = ROCrate(version=_RO_CRATE)
    crate.metadata.extra_contexts.append(f"{_RUN_TERMS}/context")
    crate.metadata.extra_terms.update(_INFORMED)
    writing = _Writing(crate, view, has_data)
    writing.describe_asset()
    for process in view.processes:
        writing.add_process(process)
    writing.finish()
    generated: dict[str, Any] = crate.metadata.generate()
    return generated


def lacks_of(view: AssetView) -> Iterator[str]:
    """Tell what every crate must have, and nothing tells of this asset."""
    for fact, value in (
        ("license", as_text(view.description.get("license"))),
        ("creation_time", view.creation_time),
    ):
        if value is None:
            yield f"an RO-Crate needs the {fact}: give it in data_description.json"


class _Writing:
    """The entities of a crate; each has the identifier of its kind and name, and is there once."""

    def __init__(self, crate: ROCrate, view: AssetView, has_data: bool) -> None:
        from rocrate.model.contextentity import ContextEntity  # noqa: PLC0415 - as above

        self._entity_class = ContextEntity
        self._crate, self._view, self._has_data = crate, view, has_data
        self._entities: dict[str, Entity] = {}
        self._codes: dict[str, Entity] = {}
        self._mentions: list[Entity] = []
        self._types = MimeTypes(filenames=())  # the machine's own list is not everybody's
        self._urls = _urls(view)
        self._people = people_in(view.description.get("investigators"))

    # The asset

    def describe_asset(self) -> None:
        """Tell what the root of the crate is, and list what lies in it."""
        view, root = self._view, self._crate.root_dataset
        told = view.description
        del root["datePublished"]  # the library takes the time of its call
        tags = [*as_texts(told.get("tags")), *names_in(told.get("modalities"))]
        created = view.creation_time
        facts = {
            "name": view.name,
            "identifier": view.name,
            "description": "\n".join((_about(view), *view.notes)),
            "datePublished": None if created is None else _time(created),
            "conformsTo": self._add(
                _PROFILE, "CreativeWork", name="Process Run Crate", version=_PROFILE_VERSION
            ),
            "license": self._license(as_text(told.get("license"))),
            "author": _one(map(self._person, self._people)),
            "sourceOrganization": self._organization(told.get("institution")),
            "funder": self._organization(_funders(told.get("funding_source"))),
            "keywords": _one(dict.fromkeys(tags)),
            "isBasedOn": _one(self._asset(InputRef(name=name)) for name in view.source_data),
        }
        for key, value in facts.items():
            if value is not None:
                root[key] = value
        if self._has_data:
            for path in _parts(view):
                self._data(path)

    def finish(self) -> None:
        """Let the root name all processes, and the pipelines that they belong to."""
        self._mentions += map(self._source, self._view.pipelines)
        mentions = _one(self._mentions)
        if mentions is not None:
            self._crate.root_dataset["mentions"] = mentions

    def _license(self, name: str | None) -> Entity | None:
        if name is None:
            return None
        return self._add(_LICENSES.get(name, "#license"), "CreativeWork", name=name)

    def _person(self, name: str) -> Entity:
        return self._agent("Person", name, self._people.get(name))

    def _organization(self, told: Any) -> Entity | None:
        return _one(self._agent("Organization", *one) for one in people_in(told).items())

    def _agent(self, kind: str, name: str, registered: str | None) -> Entity:
        identifier = registered or _local(kind.lower(), name)
        return self._add(identifier, kind, name=name, url=registered)

    # A process

    def add_process(self, process: ProcessView) -> None:
        """Tell of one process, and of all that it used and made."""
        inputs = [*map(self._asset, process.inputs), *self._values("parameter", process)]
        results = [*self._outputs(process), *self._values("result", process)]
        told = process.told_status
        failed = told is not None and told is not ProcessStatus.COMPLETED
        status = None if told is None else "Failed" if failed else "Completed"
        action = self._add(
            _local("process", process.name),
            # Without results it has created nothing that is known.
            "CreateAction" if results else "ActivateAction",
            name=process.name,
            description=_summary(process),
            startTime=None if process.start is None else _time(process.start),
            endTime=None if process.end is None else _time(process.end),
            instrument=self._source(process.code, process.process_type or process.name),
            agent=_one(map(self._person, process.experimenters)),
            object=_one(inputs),
            result=_one(results),
            actionStatus=None if status is None else f"{_SCHEMA}/{status}ActionStatus",
            error="\n".join(filter(_tells_failure, process.notes)) or None if failed else None,
            containerImage=self._container(process.code.container),
            wasInformedBy=_one({"@id": _local("process", name)} for name in process.depends_on),
        )
        self._mentions.append(action)

    def _asset(self, ref: InputRef) -> Entity:
        """Give an asset, or a group of them, that lies elsewhere: no part of this crate."""
        members = [self._asset(one) for one in ref.assets]
        name = ref.identity or "+".join(one.identity for one in ref.assets)
        return self._add(
            _local("group" if ref.assets else "asset", name),
            "Dataset",
            name=name or "?",
            identifier=ref.name,
            url=ref.url or self._urls.get(ref.identity),
            description=ref.description,
            hasPart=_one(members),
        )

    def _values(self, kind: str, process: ProcessView) -> Iterator[Entity]:
        values = process.parameters if kind == "parameter" else process.results
        for name, value in values.items():
            yield self._add(
                _local(kind, process.name, name),
                "PropertyValue",
                name=name,
                value=plain_value(value),
            )

    def _outputs(self, process: ProcessView) -> Iterator[Entity]:
        path = own_path(process.output_path)
        if process.is_inherited is True:
            path = None  # it is in the input
        data = self._data(path) if path is not None and self._has_data else None
        if data is not None:
            yield data
        elif process.output_path is not None:
            kind, facts = (path and self._look(path)) or ("Dataset", {})
            facts.pop("contentSize", None)  # of what is not in the crate
            name = process.output_path
            yield self._add(_local("output", process.name), kind, name=name, **facts)

    def _data(self, path: str) -> Entity | None:
        """Give a file or folder that is part of the crate; None where there is none."""
        found = None if path.startswith(_OWN_FILES) else self._look(path)
        if found is None:
            return None
        key = f"./{path}"  # no identifier begins like this
        if key not in self._entities:
            kind, facts = found
            add = self._crate.add_file if kind == "File" else self._crate.add_dataset
            self._entities[key] = add(dest_path=path, properties={"name": path, **facts})
        return self._entities[key]

    def _look(self, path: str) -> tuple[str, dict[str, str]] | None:
        """Say what a path of the asset leads to, and what is known of a file."""
        try:
            state = (self._view.folder / path).stat()
        except (OSError, ValueError):
            return None
        if stat.S_ISDIR(state.st_mode):
            return "Dataset", {}
        kind = self._types.guess_type(path)[0]
        facts = {"contentSize": str(state.st_size)} | ({"encodingFormat": kind} if kind else {})
        return ("File", facts) if stat.S_ISREG(state.st_mode) else None

    def _source(self, code: CodeView, otherwise: str = "pipeline") -> Entity:
        """Give code that ran; where nothing tells which, a program of another name."""
        code = dataclasses.replace(
            code, is_dirty=None, beyond_commit=()
        )  # which is said of the process
        named = name_of(code) or otherwise
        key = json.dumps([named, dataclasses.asdict(code)], sort_keys=True, default=str)
        if key in self._codes:
            return self._codes[key]
        version = code.commit_hash or code.version
        identity = "/".join(filter(None, (version, code.run_script)))
        identifier = _local("code", named, identity)
        if code.url is not None and code.url.startswith("http"):
            identifier = "#".join(
                filter(None, (code.url.partition("#")[0], quote(identity, safe="/")))
            )
        dependency = code.core_dependency or {}
        entity = self._add(
            self._free(identifier),
            "SoftwareSourceCode" if code != CodeView() else "SoftwareApplication",
            name=named,
            url=code.url,
            version=version,
            identifier=_swhid(code),
            programmingLanguage=self._software(
                "ComputerLanguage", code.language, code.language_version
            ),
            softwareRequirements=self._software(
                "SoftwareApplication",
                as_text(dependency.get("name")),
                as_text(dependency.get("version")),
            ),
        )
        self._codes[key] = entity
        return entity

    def _software(self, kind: str, name: str | None, version: str | None) -> Entity | None:
        if name is None:
            return None
        return self._add(_local(kind, name, version or ""), kind, name=name, version=version)

    def _container(self, told: Mapping[str, Any] | None) -> Entity | None:
        uri = as_text((told or {}).get("uri"))
        if told is None or uri is None:
            return None
        plain = uri.partition("://")[2] or uri
        registry, slash, name = plain.partition("/")
        if not slash or "." not in registry:
            registry, name = "", plain
        tag, kind = as_text(told.get("tag")), str(told.get("container_type")).lower()
        image = {"docker": "DockerImage", "singularity": "SIFImage", "apptainer": "SIFImage"}.get(
            kind
        )
        return self._add(
            _local("container", uri, tag or ""),
            "ContainerImage",
            additionalType=None if image is None else {"@id": f"{_RUN_TERMS}#{image}"},
            registry=registry or None,
            name=name,
            tag=tag,
        )

    def _free(self, identifier: str) -> str:
        """Give an identifier that nothing has: the same code can have run in two ways."""
        count, free = 0, identifier
        while free in self._entities:
            count += 1
            free = f"{identifier}_{count}"
        return free

    def _add(self, identifier: str, kind: str, /, **facts: Any) -> Entity:
        if identifier not in self._entities:
            known = {key: value for key, value in facts.items() if value is not None}
            entity = self._entity_class(self._crate, identifier, {"@type": kind, **known})
            self._entities[identifier] = self._crate.add(entity)
        return self._entities[identifier]


def _local(kind: str, *names: str) -> str:
    return "#" + "/".join((kind, *(quote(name, safe="") for name in names)))


def _one(values: Iterable[Any]) -> Any:
    """Give what stands for several values: none, one, or a list, as RO-Crate wants it."""
    # By identity, which each entity has one of.
    several = list({id(value): value for value in values if value is not None}.values())
    return several if len(several) > 1 else several[0] if several else None


def _time(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")


def _funders(told: Any) -> list[Any]:
    items = told if isinstance(told, list) else ()
    return [one.get("funder") for one in items if isinstance(one, dict)]


def _parts(view: AssetView) -> Iterator[str]:
    """Give the files and folders at the top, which say enough of all below, and the packages."""
    for name in sorted(path.name for path in view.folder.iterdir()):
        # One that cannot be named as it is cannot be referred to either.
        if not name.startswith(".") and redact_text(valid_text(name)) == name:
            yield name
    for path in view.packages:
        yield f"{path.parent.name}/{path.name}"


def _about(view: AssetView) -> str:
    told = view.description
    summary = as_text(told.get("data_summary"))
    if summary is not None:
        return summary
    project = as_text(told.get("project_name"))
    level = view.data_level
    words = [
        f"{level.capitalize()} data" if level else "Data",
        None if project is None else f"of the project {project}",
    ]
    return " ".join(filter(None, words))


def _summary(process: ProcessView) -> str:
    facts = [
        process.process_type,
        None if process.stage is None else f"stage {process.stage}",
        None if process.pipeline_name is None else f"pipeline {process.pipeline_name}",
        None if process.parent is None else f"inside {process.parent}",
        "inherited from an input" if process.is_inherited else None,
        "code with uncommitted changes" if process.code.is_dirty else None,
    ]
    return "\n".join([", ".join(filter(None, facts)) or process.name, *process.notes])


def _tells_failure(line: str) -> bool:
    return status_in_notes(line) is not ProcessStatus.COMPLETED


def _swhid(code: CodeView) -> str | None:
    """Give the identifier that any copy of the same commit or folder has (ISO/IEC 18670)."""
    if code.commit_hash is not None and _COMMIT.fullmatch(code.commit_hash):
        return f"swh:1:rev:{code.commit_hash}"
    tree = _TREE.fullmatch(code.version or "")
    return f"swh:1:dir:{tree[1]}" if tree else None


def _urls(view: AssetView) -> dict[str, str]:
    """Give where assets lie, as far as any process tells."""
    refs = [ref for process in view.processes for ref in process.inputs]
    refs += [member for ref in refs for member in ref.assets]
    return {ref.identity: ref.url for ref in reversed(refs) if ref.url is not None}
