"""``asset-provenance enrich``: what Code Ocean knows of the run that made a captured result."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asset_provenance.amending import Amendment
from asset_provenance.capture.capsule import Place, ran_in
from asset_provenance.completing import Change, Completion, Contradiction, complete, read_facts
from asset_provenance.corefiles import DATA_DESCRIPTION, MANIFEST, file_name, parse_json, read_bytes
from asset_provenance.errors import PreflightError, StorageError
from asset_provenance.metadata.manifest import read_manifest
from asset_provenance.services.codeocean import CodeOceanService, reach_code_ocean
from asset_provenance.services.requesting import RefusedError, if_seen
from asset_provenance.settings import load_settings

if TYPE_CHECKING:
    from asset_provenance.services.remote import RemoteAsset, RemoteProvenance

__all__ = ["AttachedAsset", "Enrichment", "enrich"]

_DESCRIPTION = file_name(DATA_DESCRIPTION)
_MOST_LISTED = 10
_MOST_ATTACHED = 200
"""Data assets of a run whose names are asked for, one request each."""


@dataclass(frozen=True, slots=True)
class AttachedAsset:
    """A data asset that was attached to the run; its name is None where it cannot be seen."""

    id: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Enrichment:
    """What would be completed; nothing is written before :meth:`write`.

    Parameters
    ----------
    amendment
        Of the processing, with all changes.
    asset, page
        The data asset, and where it is seen.
    provenance
        What Code Ocean tells of the run.
    completion
        What would change, and what contradicts.
    unnamed
        The data assets that were attached to the run, and that no process names.
    remarks
        What a person should know besides, one sentence each.
    """

    amendment: Amendment
    asset: RemoteAsset
    page: str
    provenance: RemoteProvenance
    completion: Completion
    unnamed: tuple[AttachedAsset, ...]
    remarks: tuple[str, ...]

    @property
    def changes(self) -> list[Change]:
        """What is completed."""
        return self.completion.changes

    @property
    def contradictions(self) -> list[Contradiction]:
        """What stays although Code Ocean tells something else."""
        return self.completion.contradictions

    def write(self) -> None:
        """Write what is completed.

        Raises
        ------
        StorageError
            If it cannot be written; then the processing stays as it is.
        """
        if self.changes:
            self.amendment.write()


def enrich(folder: Path, asset_id: str | None = None) -> Enrichment:
    """Find out what Code Ocean can add to the processing of a written set.

    Parameters
    ----------
    folder
        Of the set.
    asset_id
        The data asset that it was captured as; None: the one that has its name.

    Returns
    -------
    Enrichment
        What would be written.

    Raises
    ------
    UsageError, StorageError
        If the set cannot be read.
    PreflightError
        With everything that stands against asking, or if the data asset tells nothing that holds.
    ServiceError
        If Code Ocean does not answer.
    """
    amendment = Amendment(folder)
    name = _name(folder)
    settings = load_settings({}, script_folder=None)
    problems = [*settings.problems, *settings.against_asking("completing a record")]
    manifest = read_manifest(folder)
    inherited = manifest.get("inherited_processes")
    if not isinstance(inherited, list):
        problems.append(
            f"there is no {MANIFEST} in it, which tells the processes of this asset from those of "
            "its inputs: only what this package has written can be completed"
        )
    service = reach_code_ocean(settings.service_timeout, problems)
    if problems or service is None:
        raise _refusal(folder, problems)
    asset = _asset(folder, name, asset_id, service)
    provenance = asset.provenance
    if provenance is None:
        raise _refusal(
            folder,
            [
                f"the data asset {asset.id} ({service.page(asset.id)}) has no provenance: Code "
                "Ocean keeps one for results that it has captured only"
            ],
        )
    return _enriched(amendment, asset, provenance, list(inherited or ()), service)


def _enriched(
    amendment: Amendment,
    asset: RemoteAsset,
    provenance: RemoteProvenance,
    inherited: Sequence[str],
    service: CodeOceanService,
) -> Enrichment:
    own = ran_in(str(amendment.processing.get("notes") or ""))
    capsule_id = provenance.capsule
    if capsule_id is None and own and own.computation_id == provenance.computation:
        capsule_id = own.capsule_id
    capsule = service.capsule(capsule_id) if capsule_id else None
    run = provenance.computation
    computation = if_seen(lambda: service.computation(run)) if run else None
    if (
        (capsule is not None and capsule.is_pipeline)
        or (computation is not None and computation.is_pipeline)
        or (own is not None and own.place == Place.PIPELINE)
    ):
        raise _refusal(
            amendment.folder,
            [
                f"the data asset {asset.id} ({service.page(asset.id)}) is the result of a "
                "pipeline: what Code Ocean tells is the pipeline's own commit and image, not those "
                "of the capsules that the processes ran in. Their commits are found with: "
                f"asset-provenance resolve {shlex.quote(str(amendment.folder))} --repo CLONE"
            ],
        )
    facts = read_facts(
        provenance,
        domain=service.domain,
        capsule_id=capsule_id,
        capsule=capsule,
        is_capsule=capsule is not None or computation is not None,
    )
    completion = complete(amendment, facts, inherited, asset.id)
    remarks = list(facts.unusable)
    if not facts.is_capsule:
        remarks.append(
            f"nobody can say whether {capsule_id or 'what ran'} is a capsule or a pipeline: with "
            "this token neither is seen, nor its computation; code that is known by its folder "
            "only stays as it is"
        )
    if provenance.commit is None:
        remarks.append("Code Ocean tells no commit")
    if completion.elsewhere:
        remarks.append(
            "without a commit still, since it is not the capsule's own code: that of "
            + _listed(completion.elsewhere)
        )
    if completion.alike:
        remarks.append(
            f"Code Ocean tells commit {facts.commit}, and another was found by the id of the "
            f"folder of code, which both may hold; left as it is: {_listed(completion.alike)}"
        )
    attached = provenance.data_assets[:_MOST_ATTACHED]
    if len(attached) < len(provenance.data_assets):
        more = len(provenance.data_assets) - len(attached)
        remarks.append(f"{more} more data assets were attached, which were not looked at")
    return Enrichment(
        amendment=amendment,
        asset=asset,
        page=service.page(asset.id),
        provenance=provenance,
        completion=completion,
        unnamed=tuple(_unnamed(amendment, attached, service)),
        remarks=tuple(remarks),
    )


def _asset(folder: Path, name: str, asset_id: str | None, service: CodeOceanService) -> RemoteAsset:
    """Give the data asset that was asked for, or the one that has the name of the set."""
    if asset_id is None:
        asset = _named(folder, name, service)
    else:
        try:
            asset = service.asset(asset_id)
        except RefusedError as error:
            if error.status != 404:
                raise
            raise _refusal(
                folder,
                [
                    f"{service.domain} has no data asset {asset_id}, or none that the token gives "
                    "access to: mend --asset"
                ],
            ) from None
    if not asset.is_ready:
        reason = f": {asset.failure_reason}" if asset.failure_reason else ""
        raise _refusal(
            folder,
            [
                f"the data asset {asset.id} ({service.page(asset.id)}) is not ready: its state is "
                f"{asset.state}{reason}"
            ],
        )
    if asset.name != name:
        _check_content(folder, name, asset, service)
    return asset


def _named(folder: Path, name: str, service: CodeOceanService) -> RemoteAsset:
    found = [asset for asset in service.find(name) if not asset.has_failed]
    found = [asset for asset in found if not asset.is_archived] or found
    if len(found) == 1:
        return found[0]
    if not found:
        problem = (
            f"{service.domain} has no data asset {name}, or none that the token gives access to: "
            "capture the results first (asset-provenance publish), or if they have another name "
            "there, give --asset ID"
        )
    else:
        several = _listed([f"{asset.id} ({service.page(asset.id)})" for asset in found])
        problem = f"there are {len(found)} data assets {name}: give one with --asset ID: {several}"
    raise _refusal(folder, [problem])


def _check_content(folder: Path, name: str, asset: RemoteAsset, service: CodeOceanService) -> None:
    """See that a data asset of another name holds the same result."""
    told = f"the data asset {asset.id} ({service.page(asset.id)}) is named {asset.name}, and"
    content = if_seen(lambda: service.file(asset.id, _DESCRIPTION))
    if content is None:
        problem = f"{told} does not show that it holds {name}: there is no {_DESCRIPTION} in it"
        raise _refusal(folder, [problem])
    try:
        held = parse_json(content, Path(_DESCRIPTION)).get("name")
    except ValueError:
        held = None
    if held != name:
        problem = f"{told} holds the result {held or 'of nobody knows what'}, not {name}"
        raise _refusal(folder, [f"{problem}: mend --asset"])


def _unnamed(
    amendment: Amendment, attached: tuple[str, ...], service: CodeOceanService
) -> Iterator[AttachedAsset]:
    """Give the data assets that were attached, and that nothing in the set names."""
    known: set[str] = set(_texts(_read(amendment.folder).get("source_data")))
    for _, code in amendment.codes():
        known.update(_texts(code.get("input_data")))
    known.update(text.rstrip("/").rpartition("/")[2] for text in list(known))
    for identity in dict.fromkeys(attached):
        asset = if_seen(partial(service.asset, identity))
        if asset is None:
            if identity not in known:
                yield AttachedAsset(identity, None)
        elif known.isdisjoint((asset.id, asset.name, asset.mount)):
            yield AttachedAsset(asset.id, asset.name)


def _texts(value: Any) -> Iterator[str]:
    """Give all texts at any depth."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _name(folder: Path) -> str:
    name = _read(folder).get("name")
    if not isinstance(name, str) or not name:
        raise StorageError(f"{folder / _DESCRIPTION} has no name")
    return name


def _read(folder: Path) -> Mapping[str, Any]:
    path = folder / _DESCRIPTION
    try:
        return parse_json(read_bytes(path), path)
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {error}") from None


def _listed(several: list[str]) -> str:
    more = len(several) - _MOST_LISTED
    return ", ".join(several[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _refusal(folder: Path, problems: list[str]) -> PreflightError:
    return PreflightError(f"{folder} cannot be completed:", problems)
