"""All that is known of an asset before it runs, and what follows from it."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asset_provenance.capture.code import CodeIdentifier
from asset_provenance.capture.gitahead import AskedAhead
from asset_provenance.capture.inputs import InputResolver
from asset_provenance.metadata import description, inheritance
from asset_provenance.metadata.inputs import InputAsset, is_described, load_input
from asset_provenance.metadata.intake import is_of_stages
from asset_provenance.records import CodeRecord, InputRef, JsonValue, to_json
from asset_provenance.services.lookup import Catalog
from asset_provenance.settings import SERVICE_OPTIONS, Settings

__all__ = [
    "Judgement",
    "Plan",
    "describe",
    "judge",
    "reserve_name",
    "single_assets",
]

_log = logging.getLogger("asset_provenance")

_NOT_STARTED = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class Plan:
    """All that is known of an asset before it runs.

    Parameters
    ----------
    process_name, base_name
        Labels in the derived name.
    process_type
        Given when the block is to be a process whatever else is tracked.
    data_root, output_dir
        Absolute folders.
    settings, given
        What was given, raw and as the schema's objects.
    inputs
        The primary inputs, or None for those that the run is seen to use.
    groups
        The primary inputs as they were declared: groups stay together.
    references
        Reference inputs.
    inherit
        ``"auto"``, ``"docdb"``, ``"files"`` or ``"none"``.
    fragment
        For a stage of a pipeline, what makes the name of its file unique.
    stages
        Folders that earlier stages left their results in, by name: inputs, but no assets.
    catalog
        What the metadata database knows of the inputs; None where it is not asked.
    main_code
        The program's main script.
    surroundings
        Where the program runs, in sentences.
    core_dependency
        The schema's ``Software`` that the code of every process depends on, as JSON.
    problems, advice
        Everything that must be mended before the run can start, and what holds for all of it.
    """

    process_name: str
    base_name: str | None
    process_type: str | None
    data_root: Path
    output_dir: Path
    settings: Settings
    resolver: InputResolver
    given: description.Facts = field(default_factory=description.Facts)
    inputs: list[InputAsset] | None = None
    groups: list[InputRef] = field(default_factory=list)
    references: list[InputRef] = field(default_factory=list)
    inherit: str = "auto"
    fragment: str | None = None
    stages: dict[str, Path] = field(default_factory=dict)
    catalog: Catalog | None = None
    creation_time: datetime = _NOT_STARTED
    main_code: CodeRecord | None = None
    surroundings: tuple[str, ...] = ()
    core_dependency: Mapping[str, JsonValue] | None = None
    problems: list[str] = field(default_factory=list)
    advice: str = ""

    @property
    def offline(self) -> bool:
        """Whether nothing on the network may be asked."""
        return self.settings.flag("offline", default=False)

    @property
    def reference_names(self) -> set[str]:
        """What tells the reference inputs from others, the members of groups among them."""
        single = single_assets(self, [(ref, None) for ref in self.references])
        return {ref.identity for ref, _ in single}

    def find_stages(self, singles: Iterable[tuple[InputRef, Path | None]]) -> dict[str, Path]:
        """Find the folders that earlier stages left their results in, by name.

        They are no assets. What the metadata database knows is one, whatever lies in its folder.
        """
        left = [(ref, folder) for ref, folder in singles if folder and is_of_stages(folder)]
        if self.catalog is None:
            return {ref.identity: folder for ref, folder in left}
        self.catalog.ask(ref for ref, _ in left)
        return {ref.identity: place for ref, place in left if self.catalog.record(ref) is None}

    def load_input(self, ref: InputRef, folder: Path | None) -> tuple[InputAsset, list[str]]:
        """Read the metadata of an input, once the metadata database has answered.

        Of metadata of schema v1 nothing is upgraded that is not inherited.
        """
        record = None if self.catalog is None else self.catalog.record(ref)
        asset, problems = load_input(
            ref,
            folder,
            record=record,
            from_folder=self.inherit != "docdb",
            offline=self.offline,
            upgrades=self.inherit != "none",
            service_timeout=self.settings.service_timeout,
        )
        if self.inherit == "docdb" and self.catalog is not None and record is None and ref.name:
            reason = self.catalog.failure(ref) or "it has no record of that name"
            problems.append(
                f"input {ref.name} cannot be had from the metadata database {self.catalog.host}: "
                f'{reason}; try again, or give inherit="auto" to use the files in its folder'
            )
        return asset, problems

    def is_unknown(self, ref: InputRef) -> bool:
        """Say whether only the metadata database counts, and has no record of an asset."""
        if self.inherit != "docdb" or self.catalog is None:
            return False
        return self.catalog.record(ref) is None and self.catalog.failure(ref) is None

    def load_early(self, ref: InputRef, folder: Path | None) -> tuple[InputAsset, list[str]]:
        """Read the metadata of an input; wait for the database only if its folder will not do."""
        if self.catalog is not None and self.inherit == "auto":
            asset, problems = load_input(ref, folder, upgrades=False)
            if not problems and is_described(asset):
                return replace(asset, is_final=False), []
        return self.load_input(ref, folder)

    def load_final(self, early: Iterable[InputAsset]) -> list[InputAsset]:
        """Give inputs as the metadata database knows them, once it has answered."""
        final = []
        for asset in early:
            known = asset
            if not asset.is_final:
                loaded, problems = self.load_input(asset.ref, asset.folder)
                for problem in problems:
                    _log.warning("%s; the files in its folder are used", problem)
                known = asset if problems else loaded
            final.append(known)
        return final

    def close(self) -> None:
        """Ask nobody any more."""
        if self.catalog is not None:
            self.catalog.close()

    def name(self, inputs: Sequence[InputAsset]) -> str:
        """Give the name that the asset has with these inputs; of a stage, that of its file."""
        if self.fragment is not None:
            return f"{self.process_name}_{self.creation_time:%Y-%m-%d_%H-%M-%S}_{self.fragment}"
        return description.asset_name(self.process_name, self.creation_time, inputs, self.base_name)

    def identifier(
        self,
        settle_tree: Callable[[CodeRecord], CodeRecord],
        ahead: AskedAhead,
        main: str | None = None,
    ) -> CodeIdentifier:
        """Give the finder of code for this run; see there for the parameters."""
        return CodeIdentifier(
            settle_tree=settle_tree,
            ahead=ahead,
            main=main,
            without=(str(self.data_root), str(self.output_dir)),
            code_url=self.settings.text("code_url"),
            code_version=self.settings.text("code_version"),
            # Of equal code each parallel stage would leave a patch of the same name.
            save_patch=self.fragment is None and self.settings.flag("save_patch", default=True),
        )

    def to_json(self) -> dict[str, JsonValue]:
        """Give what the journal must hold to finish the asset without the program."""
        return {
            "base_name": self.base_name,
            "process_type": self.process_type,
            "inherit": self.inherit,
            "fragment": self.fragment,
            "surroundings": list(self.surroundings),
            "core_dependency": None if self.core_dependency is None else dict(self.core_dependency),
            "main_code": None if self.main_code is None else to_json(self.main_code),
            "services": {
                name: given.value
                for name in SERVICE_OPTIONS
                if (given := self.settings.get(name)) is not None
            },
            "folders": {
                asset.name: str(asset.folder)
                for asset in self.inputs or ()
                if asset.folder is not None
            },
            "facts": {name: _plain(value) for name, value in self.given.values.items()},
        }


def reserve_name(plan: Plan, inputs: Sequence[InputAsset]) -> None:
    """Take the asset's name: with the next second, if an asset of this program has it."""
    if "creation_time" not in plan.given.values:
        plan.creation_time = description.reserve(
            lambda time: description.asset_name(plan.process_name, time, inputs, plan.base_name),
            plan.creation_time,
        )


def single_assets(
    plan: Plan, resolved: Iterable[tuple[InputRef, Path | None]]
) -> list[tuple[InputRef, Path | None]]:
    """Give every single asset once, the members of groups among them, with its folder."""
    result: dict[str, tuple[InputRef, Path | None]] = {}
    for ref, folder in resolved:
        if ref.assets:
            inner = single_assets(plan, [(member, None) for member in ref.assets])
        else:
            inner = [(ref, folder or plan.resolver.locate(ref))]
        for single in inner:
            result.setdefault(single[0].identity, single)
    return list(result.values())


def _all_facts(plan: Plan, inputs: Sequence[InputAsset]) -> description.Facts:
    """Give the facts of the asset with these inputs: given, inherited and default ones."""
    handing_on = [] if plan.inherit == "none" else inputs
    return description.inherit_facts(plan.given, handing_on)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of an asset with certain inputs.

    Parameters
    ----------
    facts
        Given, inherited and default ones.
    contradictions, missing
        One text for each fact that cannot be used, and for each that nothing supplies.
    naming
        What is wrong with the base name.
    """

    facts: description.Facts
    contradictions: list[str]
    missing: list[str]
    naming: list[str]

    @property
    def problems(self) -> list[str]:
        """All that must be mended."""
        return [*self.contradictions, *self.missing, *self.naming]


def judge(plan: Plan, inputs: Sequence[InputAsset]) -> Judgement:
    """Find out whether the facts are complete and the asset can be named with these inputs."""
    facts = _all_facts(plan, inputs)
    return Judgement(
        facts,
        facts.problems[len(plan.given.problems) :],
        description.missing_facts(facts),
        description.check_base_name(plan.base_name, inputs),
    )


def describe(plan: Plan, facts: description.Facts, inputs: Sequence[InputAsset]) -> Any:
    """Build the asset's description.

    Raises
    ------
    ValueError
        If the schema refuses the facts.
    """
    return description.build_description(
        facts,
        name=plan.name(inputs),
        creation_time=plan.creation_time,
        inputs=inputs,
        subject_id=None if plan.inherit == "none" else inheritance.shared_subject(inputs),
    )


def _plain(value: Any) -> JsonValue:
    """Give a fact as JSON, whatever object of the schema it is."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")  # type: ignore[no-any-return]
    return str(value)
