"""Before a run: find out whether everything is known that the metadata will need."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asset_provenance.capture.distributions import installed_version
from asset_provenance.capture.inputs import ResolvedInput
from asset_provenance.corefiles import FRAGMENT_ENDING, JOURNAL_FOLDER
from asset_provenance.errors import UsageError
from asset_provenance.metadata import description, inheritance, writer
from asset_provenance.metadata.inputs import InputAsset, load_input
from asset_provenance.metadata.intake import (
    find_left,
    inputs_of_stages,
)
from asset_provenance.metadata.manifest import find_obstacles
from asset_provenance.plan import Plan, describe, judge, reserve_name, single_assets
from asset_provenance.records import InputRef
from asset_provenance.services.lookup import Catalog, find_database
from asset_provenance.settings import user_file
from asset_provenance.suggestions import did_you_mean

__all__ = ["check_folder", "find_core_dependency", "prepare", "warn_of_changed_case"]

_HANDED_ON = (
    "Mend first what could not be found or read: it may hand on the facts that are missing."
)

_log = logging.getLogger("asset_provenance")


def check_folder(plan: Plan, *, overwrite: bool) -> None:
    """Finish what an earlier run was killed in writing, and find what stands in the way."""
    writer.roll_forward(plan.output_dir)
    earlier = [path.parent for path in plan.output_dir.glob(f"{JOURNAL_FOLDER}/*/*.jsonl")]
    if earlier:
        _log.warning(
            "%d earlier run(s) in %s ended without metadata; see them with: "
            "asset-provenance recover %s",
            len(set(earlier)),
            plan.output_dir,
            shlex.quote(str(plan.output_dir)),
        )
    if plan.fragment is not None:  # its name is its own, whatever else lies there
        runs = len(list(plan.output_dir.glob(f"{plan.process_name}_*{FRAGMENT_ENDING}")))
        if runs:
            _log.warning(
                "%s holds %d fragment(s) of %s already: remove those of runs that do not count, "
                "or they will be merged as well",
                plan.output_dir,
                runs,
                plan.process_name,
            )
        return
    obstacles = [] if overwrite else find_obstacles(plan.output_dir, plan.process_name)
    if obstacles:
        plan.problems.append(
            f"{plan.output_dir} already holds {', '.join(obstacles)}, which this package did not "
            f"write for {plan.process_name!r} (or which were edited since): move them away, give "
            "another output_dir, or DerivedAsset(..., overwrite=True)"
        )


def warn_of_changed_case(plan: Plan, added: Iterable[ResolvedInput]) -> None:
    """Warn when an input that is added late changes what the asset inherits."""
    if plan.inputs is None or plan.fragment is not None:
        return
    if plan.catalog is not None:
        plan.catalog.renew_limit()
    pairs = [(item.ref, item.folder) for item in added if item.ref is not None]
    loaded, _ = _load(plan, single_assets(plan, pairs))
    new = [asset for asset, _ in loaded]
    if not new:
        return
    for what, shared in (
        ("acquisition", inheritance.shared_raw_root),
        ("subject", inheritance.shared_subject),
    ):
        if shared(plan.inputs) is not None and shared([*plan.inputs, *new]) is None:
            _log.warning(
                "with input %s the inputs no longer share one %s: what depends on it will not be "
                "inherited%s",
                ", ".join(asset.name for asset in new),
                what,
                "" if plan.base_name else ", and the asset cannot be named without a base_name",
            )


def _where_to_give() -> str:
    own = user_file()
    if own.is_relative_to(Path.home()):
        own = Path("~") / own.relative_to(Path.home())
    return (
        "Facts can also stand under [tool.asset-provenance] in pyproject.toml or\n"
        f"asset-provenance.toml, or for all your runs in {own}."
    )


def prepare(
    plan: Plan, *, inputs: Iterable[object] | None, reference_inputs: Iterable[object]
) -> None:
    """Resolve the inputs, read their metadata, and find everything that is missing or malformed.

    Parameters
    ----------
    plan
        Completed in place; what is wrong is added to its ``problems``.
    inputs, reference_inputs
        As the user gave them.
    """
    plan.problems.extend(plan.settings.problems)
    plan.given = description.given_facts(plan.settings)
    plan.problems.extend(plan.given.problems)
    plan.references = [ref for ref, _ in _resolved(plan, reference_inputs)]
    created = plan.given.values.get("creation_time") or datetime.now(UTC)
    plan.creation_time = created.astimezone(UTC).replace(microsecond=0)
    _open_catalog(plan)
    if inputs is None:
        plan.problems.extend(description.malformed_base_name(plan.base_name))
        missing = description.missing_facts(plan.given, only=("experimenters",))
        plan.problems.extend(missing)
        plan.advice = _where_to_give() if missing else ""
        return
    told = len(plan.problems)
    plan.inputs, not_found = _read_inputs(plan, inputs)
    is_unread = len(plan.problems) > told or bool(plan.settings.problems)
    references = plan.reference_names
    plan.problems.extend(
        f"input {asset.name} is given both as an input and as a reference input"
        for asset in plan.inputs
        if asset.ref.identity in references
    )
    plan.problems.extend(
        f"the output folder {plan.output_dir} lies inside input {asset.name}; results belong "
        "outside of what they were made from"
        for asset in plan.inputs
        if asset.folder is not None and plan.output_dir.is_relative_to(asset.folder)
    )
    if plan.fragment is not None:
        missing = description.missing_facts(plan.given, only=("experimenters",))
        plan.problems.extend(missing)
        plan.advice = _where_to_give() if missing else ""
        _tell_not_found(plan, not_found)
        return
    judgement = judge(plan, plan.inputs)
    if judgement.problems and not all(asset.is_final for asset in plan.inputs):
        plan.inputs = plan.load_final(plan.inputs)
        judgement = judge(plan, plan.inputs)
    facts, missing = judgement.facts, judgement.missing
    plan.problems.extend([*judgement.contradictions, *missing])
    if missing:
        plan.advice = _where_to_give()
    if missing and (is_unread or not_found):
        plan.advice = f"{_HANDED_ON}\n{plan.advice}"
    else:  # what to name it after is known only when all inputs are
        plan.problems.extend(judgement.naming)
    _tell_not_found(plan, not_found)
    if plan.problems:
        return
    reserve_name(plan, plan.inputs)
    try:
        describe(plan, facts, plan.inputs)
    except ValueError as error:
        plan.problems.append(f"the data description would not be valid: {error}")


def find_core_dependency(plan: Plan) -> None:
    """Look up the version of the package that the user names as the one that matters most.

    Here and now: what is installed where the metadata of a run are recovered says nothing of it.
    """
    given = plan.settings.get("core_dependency")
    if given is None:
        return
    # The schema's Software says itself of which version it is: of a program that pip knows not.
    version = getattr(given.value, "version", None)
    name = getattr(given.value, "name", given.value)
    if not isinstance(name, str) or not name.strip():
        plan.problems.append(
            f"core_dependency (from {given.source}) must be the name of an installed package, or "
            "Software of the schema with a name and a version"
        )
        return
    name = name.strip()
    if isinstance(version, str) and version.strip():
        plan.core_dependency = {"name": name, "version": version.strip()}
        return
    try:
        found = installed_version(name)
    except LookupError as error:
        plan.problems.append(f"core_dependency (from {given.source}): {error}")
    else:
        plan.core_dependency = {"name": found[0], "version": found[1]}


def _read_inputs(plan: Plan, inputs: Iterable[object]) -> tuple[list[InputAsset], list[str]]:
    """Read what is known of the declared inputs; say which were not found."""
    resolved = _resolved(plan, inputs)
    plan.groups = [ref for ref, _ in resolved]
    loaded, plan.stages = _load(plan, single_assets(plan, resolved))
    found = [asset for asset, _ in loaded]
    for folder in (*plan.stages.values(), *(asset.folder for asset in found)):
        if folder is not None:
            plan.resolver.know(folder)
    not_found = []
    for asset, problems in loaded:
        plan.problems.extend(problems)
        if asset.folder is None and not asset.files and not problems:
            not_found.append(_not_found(plan, asset.ref))
    if plan.stages and not found and plan.fragment is None:
        found, not_found = _inputs_of_stages(plan)
    return found, not_found


def _load(
    plan: Plan, singles: Sequence[tuple[InputRef, Path | None]]
) -> tuple[list[tuple[InputAsset, list[str]]], dict[str, Path]]:
    """Read what is known of assets, and what is wrong with it; tell apart what stages left."""
    if plan.catalog is not None:
        plan.catalog.ask(ref for ref, _ in singles)
    stages = plan.find_stages(singles)
    loaded = [plan.load_early(*single) for single in singles if single[0].identity not in stages]
    return loaded, stages


def _inputs_of_stages(plan: Plan) -> tuple[list[InputAsset], list[str]]:
    """Give the assets that earlier stages say they read, where nothing but stages is declared.

    As of all that is only seen to be used, what has no subject counts as a reference.
    """
    told = inputs_of_stages(path for folder in plan.stages.values() for path in find_left(folder))
    known = {"", *plan.stages, *plan.reference_names}
    read = single_assets(plan, [(ref, None) for ref in told])
    singles = [single for single in read if single[0].identity not in known]
    assets = [asset for asset, _ in _load(plan, singles)[0]]
    if not all(asset.subject_id for asset in assets):
        assets = plan.load_final(assets)
    found = [asset for asset in assets if asset.subject_id is not None]
    for asset in found:
        if asset.folder is not None:
            plan.resolver.know(asset.folder)
    names = ", ".join(plan.stages)
    if found:
        _log.info("inputs, as the stages %s tell: %s", names, ", ".join(x.name for x in found))
        return found, []
    example = repr(singles[0][0].name) if singles else '"<asset name>"'
    return [], [
        f"{names}: what stages left is no asset, and hands on no facts; give the asset that they "
        f"began with, too: inputs=[..., {example}]"
    ]


def _tell_not_found(plan: Plan, not_found: Iterable[str]) -> None:
    """Tell of inputs that are not there: with what is missing, or as a warning."""
    if plan.problems:
        plan.problems[:0] = not_found
        return
    for text in not_found:
        _log.warning("%s", text)


def _not_found(plan: Plan, ref: InputRef) -> str:
    hint = did_you_mean(ref.identity, plan.resolver.known_names())
    said = f"input {ref.identity} was not found below {plan.data_root}"
    if plan.catalog is not None:
        database = f"the metadata database {plan.catalog.host}"
        failure = plan.catalog.failure(ref)
        if plan.catalog.record(ref) is not None:
            said += f", and its record in {database} holds no core files"
        elif failure is not None:
            said += f", and {database} could not be asked ({failure})"
        else:
            said += f", nor in {database}"
    return f"{said}: it hands on nothing{hint}"


def _open_catalog(plan: Plan) -> None:
    """Make ready to ask the metadata database, unless nobody is to be asked."""
    if plan.inherit not in ("auto", "docdb"):
        return
    if plan.offline:
        if plan.inherit == "docdb":
            plan.problems.append(
                'inherit="docdb" asks the metadata database, but `offline` is set: unset it, or '
                'give inherit="files"'
            )
        return
    try:
        host, version = find_database(plan.settings)
    except ValueError as error:
        plan.problems.append(str(error))
        return
    plan.catalog = Catalog(host, version, plan.settings.service_timeout)


def _resolved(plan: Plan, values: Iterable[object]) -> list[tuple[InputRef, Path | None]]:
    found: dict[str, tuple[InputRef, Path | None]] = {}
    for value in values:
        try:
            resolved = plan.resolver.resolve(value)
        except UsageError as error:
            plan.problems.append(str(error))
            continue
        ref, folder = resolved.ref, resolved.folder
        if ref is None:
            plan.problems.append(
                f"input {value} lies in the output folder {plan.output_dir}; inputs come from "
                "elsewhere"
            )
            continue
        first, place = found.setdefault(ref.identity, (ref, folder))
        found[ref.identity] = first, place or folder
        if folder != place and folder and place and _files(ref, folder) != _files(ref, place):
            _log.warning(
                "%s and %s both say that they are %s, but their metadata differ; the first is used",
                place,
                folder,
                ref.identity,
            )
    return list(found.values())


def _files(ref: InputRef, folder: Path) -> dict[str, Mapping[str, Any]]:
    asset, _ = load_input(ref, folder, upgrades=False)
    return {name: file.data for name, file in asset.files.items()}
