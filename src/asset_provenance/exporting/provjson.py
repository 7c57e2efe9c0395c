"""An asset as a PROV document, in PROV-JSON: https://www.w3.org/submissions/prov-json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from asset_provenance.errors import UsageError
from asset_provenance.exporting.sharing import (
    is_url,
    name_of,
    names_in,
    people_in,
    plain_value,
)
from asset_provenance.records import InputRef, ProcessStatus
from asset_provenance.views import AssetView, CodeView, ProcessView, as_text

if TYPE_CHECKING:
    from prov.identifier import QualifiedName
    from prov.model import ProvDocument

__all__ = ["document_of"]

_BASE = "urn:asset-provenance:"
"""Of what is named here. An asset has the same name in every document, so that these can be joined;
a process is that of its asset."""
_KINDS = ("asset", "process", "output", "person", "organization", "code", "parameter", "result")
_SCHEMA = "https://github.com/AllenNeuralDynamics/aind-data-schema#"
_FACTS = (
    "subject_id",
    "project_name",
    "license",
    "group",
    "restrictions",
    "data_summary",
    "data_level",
    "creation_time",
)


def document_of(view: AssetView) -> dict[str, Any]:
    """Give the PROV-JSON of an asset.

    Parameters
    ----------
    view
        The asset, as others may see it.

    Raises
    ------
    UsageError
        If the library for it is missing.
    """
    try:
        from prov.model import ProvDocument  # noqa: PLC0415 - slow, and not always installed
    except ImportError:
        raise UsageError(
            'PROV documents are made with prov: pip install "asset-provenance[export]"'
        ) from None
    document = ProvDocument()
    writing = _Writing(document, view)
    writing.describe_asset()
    for process in view.processes:
        writing.add_process(process)
    content: dict[str, Any] = json.loads(document.serialize(format="json") or "")
    return _sorted(content)  # type: ignore[no-any-return]


class _Writing:
    def __init__(self, document: ProvDocument, view: AssetView) -> None:
        from prov import constants  # noqa: PLC0415 - as above

        self._document, self._view = document, view
        self._label, self._type = constants.PROV_LABEL, constants.PROV_TYPE
        self._place = constants.PROV["location"]
        self._prov = constants.PROV
        self._own = document.add_namespace("ap", f"{_BASE}term:")
        self._aind = document.add_namespace("aind", _SCHEMA)
        self._terms = document.add_namespace("dcterms", "http://purl.org/dc/terms/")
        self._spaces = {kind: document.add_namespace(kind, f"{_BASE}{kind}:") for kind in _KINDS}
        self._known: set[QualifiedName] = set()
        self._asset_name = self._name("asset", view.name)
        self._people = people_in(view.description.get("investigators"))

    # The asset

    def describe_asset(self) -> None:
        """Tell of the asset, what it was derived from, and whose it is."""
        view, told = self._view, self._view.description
        facts: list[tuple[Any, Any]] = [(self._label, view.name)]
        facts += [(self._aind[fact], as_text(told.get(fact))) for fact in _FACTS]
        facts.append((self._aind["notes"], "\n".join(view.notes) or None))
        for fact in ("tags", "modalities"):
            facts += [(self._aind[fact], name) for name in names_in(told.get(fact))]
        facts.append((self._type, self._prov["Collection"]))
        self._entity(self._asset_name, facts)
        for name in view.source_data:
            source = self._asset(InputRef(name=name))
            if source != self._asset_name:
                self._document.wasDerivedFrom(self._asset_name, source)
        for name, registered in people_in(told.get("institution")).items():
            agent = self._agent("organization", name, self._registered("Organization", registered))
            self._document.wasAttributedTo(self._asset_name, agent)
        for name in self._people:
            self._document.wasAttributedTo(self._asset_name, self._person(name))

    def _asset(self, ref: InputRef) -> QualifiedName:
        """Give an asset, or a group of them."""
        name = ref.identity or "+".join(one.identity for one in ref.assets) or "?"
        identifier = self._name("asset", name)
        if identifier in self._known:
            return identifier
        facts: list[tuple[Any, Any]] = [(self._label, name)]
        if ref.url is not None:
            facts.append((self._place, self._uri(ref.url)))
        if ref.assets:
            facts.append((self._type, self._prov["Collection"]))
            facts.append((self._terms["description"], ref.description))
        self._entity(identifier, facts)
        for member in dict.fromkeys(map(self._asset, ref.assets)):
            if member != identifier:
                self._document.hadMember(identifier, member)
        return identifier

    # A process

    def add_process(self, process: ProcessView) -> None:
        """Tell what one process used and made, who and which code did it, what it follows."""
        identifier = self._process(process.name)
        status = process.told_status
        facts: list[tuple[Any, Any]] = [
            (self._label, process.name),
            (self._aind["process_type"], process.process_type),
            (self._aind["stage"], process.stage),
            (self._aind["pipeline_name"], process.pipeline_name),
            (self._aind["notes"], "\n".join(process.notes) or None),
            (self._own["status"], None if status is None else str(status)),
            (self._own["inherited"], process.is_inherited),
            (self._own["uncommitted_changes"], process.code.is_dirty),
            *self._values("parameter", process.parameters),
        ]
        if process.parent is not None:
            facts.append((self._terms["isPartOf"], self._process(process.parent)))
        self._document.activity(identifier, process.start, process.end, _known(facts))
        for used in dict.fromkeys(map(self._asset, process.inputs)):
            self._document.used(identifier, used)
        for name in process.depends_on:
            self._document.wasInformedBy(identifier, self._process(name))
        for person in dict.fromkeys(map(self._person, process.experimenters)):
            self._document.wasAssociatedWith(identifier, person)
        if process.code != CodeView():
            self._document.wasAssociatedWith(identifier, self._code(process.code))
        for pipeline in self._view.pipelines:
            if pipeline.name is not None and pipeline.name == process.pipeline_name:
                self._document.wasAssociatedWith(identifier, self._code(pipeline))
        self._add_output(process, identifier)
        if process.status is ProcessStatus.COMPLETED:
            self._document.wasInfluencedBy(self._asset_name, identifier)

    def _add_output(self, process: ProcessView, activity: QualifiedName) -> None:
        path = process.output_path
        if path is None and not process.results:
            return
        output = self._name("output", self._view.name, process.name)
        facts: list[tuple[Any, Any]] = [
            (self._label, path or f"results of {process.name}"),
            (self._place, self._uri(path) if path and is_url(path) else path),
            *self._values("result", process.results),
        ]
        self._entity(output, facts)
        self._document.wasGeneratedBy(output, activity)
        # Those of an input's processes are in that input.
        if process.is_inherited is False and path is not None:
            self._document.hadMember(self._asset_name, output)

    def _code(self, code: CodeView) -> QualifiedName:
        told = {
            "name": code.name,
            "version": code.version,
            "commit_hash": code.commit_hash,
            "run_script": code.run_script,
            "language": code.language,
            "language_version": code.language_version,
            "container": code.container,
            "core_dependency": code.core_dependency,
        }
        facts = [(self._aind[key], plain_value(value)) for key, value in told.items() if value]
        if code.url is not None:
            facts.append((self._aind["url"], self._uri(code.url)))
        # The same commit can have run in another container, or version of its language.
        whole = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
        names = (code.url, code.commit_hash or code.version, code.run_script, whole)
        return self._agent(
            "code",
            name_of(code) or "code",
            [*facts, (self._type, self._prov["SoftwareAgent"])],
            *(name for name in names if name is not None),
        )

    def _person(self, name: str) -> QualifiedName:
        return self._agent("person", name, self._registered("Person", self._people.get(name)))

    def _registered(self, kind: str, registered: str | None) -> list[tuple[Any, Any]]:
        url = None if registered is None else self._uri(registered)
        return [(self._type, self._prov[kind]), (self._terms["identifier"], url)]

    def _agent(
        self, kind: str, label: str, facts: list[tuple[Any, Any]], *identity: str
    ) -> QualifiedName:
        identifier = self._name(kind, *(identity or (label,)))
        if identifier not in self._known:
            self._known.add(identifier)
            self._document.agent(identifier, _known([(self._label, label), *facts]))
        return identifier

    def _entity(self, identifier: QualifiedName, facts: list[tuple[Any, Any]]) -> None:
        self._known.add(identifier)
        self._document.entity(identifier, _known(facts))

    def _values(self, kind: str, values: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
        for name, value in values.items():
            yield self._name(kind, name), plain_value(value)

    def _process(self, name: str) -> QualifiedName:
        return self._name("process", self._view.name, name)

    def _name(self, kind: str, *names: str) -> QualifiedName:
        return self._spaces[kind]["/".join(quote(name, safe="") for name in names)]

    @staticmethod
    def _uri(text: str) -> Any:
        from prov.identifier import Identifier  # noqa: PLC0415 - as above

        return Identifier(text)


def _known(facts: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    return [(key, value) for key, value in facts if value is not None]


def _sorted(value: Any) -> Any:
    """Give JSON whose lists, which are sets, have the same order each time."""
    if isinstance(value, dict):
        return {key: _sorted(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted(map(_sorted, value), key=lambda item: json.dumps(item, sort_keys=True))
    return value
