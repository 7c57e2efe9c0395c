"""Before anything is published: what would be done, and everything that stands against it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from asset_provenance.corefiles import DATA_DESCRIPTION, file_name
from asset_provenance.errors import PreflightError, ServiceError
from asset_provenance.patches import files_below
from asset_provenance.publication import Publication, why_unreachable
from asset_provenance.publishfiles import (
    Unasked,
    differing_files,
    differing_metadata,
    held_by_asset,
    held_by_computation,
    look_through,
    some_of,
    stands_against_asset,
    unasked_in,
)
from asset_provenance.publishsource import (
    Request,
    asked_source,
    known_bucket,
    settled_source,
)
from asset_provenance.services.codeocean import reach_code_ocean
from asset_provenance.services.lookup import find_database
from asset_provenance.settings import load_settings

if TYPE_CHECKING:
    from asset_provenance.services.codeocean import CodeOceanService
    from asset_provenance.services.registry import Record, Registry
    from asset_provenance.services.remote import AssetSource, RemoteAsset

__all__ = ["OPEN_BUCKET", "Plan", "as_json", "make_plan"]

OPEN_BUCKET = "aind-open-data"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done; everything that it needs has been seen to be there.

    Parameters
    ----------
    publication
        The asset.
    source
        What the data asset is made from.
    code_ocean, registry
        The services; no registry if it is not to be registered.
    not_registered
        Why it is not registered from here.
    results_bucket
        Where Code Ocean keeps what it captures.
    left_out, published_patches
        The patches that are taken out of the folder before, and those that go with it.
    existing, record
        The data asset and its record in the database, if they have been made before.
    """

    publication: Publication
    source: AssetSource
    code_ocean: CodeOceanService
    registry: Registry | None
    not_registered: str | None
    results_bucket: str | None
    left_out: tuple[str, ...]
    published_patches: tuple[str, ...]
    existing: RemoteAsset | None
    record: Record | None

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the data asset: ours, unless somebody has given it others."""
        return (self.existing.tags if self.existing else ()) or self.publication.tags

    @property
    def description(self) -> str:
        """The description of the data asset: ours, unless somebody has given it another."""
        return (self.existing.description if self.existing else "") or self.publication.summary

    @property
    def keeps_tags(self) -> bool:
        """Whether the data asset that is there has tags that are not ours."""
        return set(self.tags) != set(self.publication.tags)

    @property
    def keeps_description(self) -> bool:
        """Whether the data asset that is there has a description that is not ours."""
        return self.description != self.publication.summary

    def location(self, asset: RemoteAsset | None) -> str | None:
        """Give where the files of the data asset are, or will be; None if nobody knows."""
        if self.source.url is not None:
            return self.source.url
        if asset is not None and asset.is_external and asset.bucket:
            return f"s3://{asset.bucket}/{asset.prefix or ''}".rstrip("/")
        if self.results_bucket is None:
            return None
        return f"s3://{self.results_bucket}/{asset.id if asset else '<id of the data asset>'}"


def make_plan(publication: Publication, request: Request) -> Plan:
    """Look at the asset, at what is asked for and at what the services have, and change nothing.

    Raises
    ------
    PreflightError
        With everything that stands against it.
    ServiceError
        If a service cannot be asked.
    """
    folder = publication.folder
    settings = load_settings({}, script_folder=None)
    seconds = settings.service_timeout
    offline = settings.against_asking("publishing")
    unasked = unasked_in(files_below(folder))
    problems = [
        *settings.problems,
        *_against_publishing(publication, request),
        *_against_journals(folder, unasked),
        *offline,
    ]
    try:
        database = find_database(settings)
    except ValueError as error:
        problems.append(str(error))
    source = asked_source(folder, request, problems)
    service = reach_code_ocean(seconds, problems)
    bucket = known_bucket(request, service, problems)
    unknown = service and not bucket and request.results_bucket is None and request.register
    if service and source and not source.bucket and unknown:
        problems.append(
            f"nobody knows where {service.domain} keeps the results that it captures, which has to "
            "be registered: give --results-bucket BUCKET, or --no-register"
        )
    existing: RemoteAsset | None = None
    if service and source and not offline:
        try:
            source = settled_source(folder, source, service, problems)
            if source.computation and not source.in_session and not problems:
                unasked = _captured(folder, source, service, problems)
            existing = _existing(publication, source, service, problems)
            if existing is not None and existing.is_ready and not problems:
                unasked = _published(folder, existing, source, service, unasked, problems)
        except ServiceError:
            if not problems:
                raise
    leaves_out = bool(source and source.in_session and not existing and not request.with_patches)
    if unasked.patches and not request.with_patches and not leaves_out:
        problems.append(_patches_told(unasked.patches, source, existing))
    if problems or service is None or source is None:
        raise PreflightError(f"{folder} cannot be published:", problems)
    plan = Plan(
        publication=publication,
        source=source,
        code_ocean=service,
        registry=None,
        not_registered="as was asked (--no-register)",
        results_bucket=bucket,
        left_out=unasked.patches if leaves_out else (),
        published_patches=() if leaves_out else unasked.patches,
        existing=existing,
        record=None,
    )
    return _with_registry(plan, *database, seconds=seconds) if request.register else plan


def _with_registry(plan: Plan, host: str, version: str, *, seconds: float) -> Plan:
    """Look whether it can be registered from here, and whether it has been."""
    from asset_provenance.services.registry import Registry, known_record  # noqa: PLC0415 - slow

    registry = Registry(host, version, seconds=seconds)
    if registry.missing_rights:
        return replace(plan, not_registered=registry.missing_rights)
    record: Record | None = None
    if plan.existing is not None or plan.source.url is not None:
        asset_id = plan.existing.id if plan.existing else None
        name, location = plan.publication.name, plan.location(plan.existing)
        record = known_record(registry, name, location, asset_id)
    return replace(plan, registry=registry, not_registered=None, record=record)


def _against_publishing(publication: Publication, request: Request) -> Iterator[str]:
    """Tell what the asset itself has against it."""
    if publication.restrictions and not request.despite_restrictions:
        yield (
            f'it has restrictions: "{publication.restrictions}"; when those who set them agree, '
            "give --despite-restrictions"
        )
    told: dict[str, list[str]] = {}
    for code in publication.codes:
        reason = why_unreachable(code.url)
        if reason is not None:
            told.setdefault(f"{code.url or 'no URL'}: {reason}", []).append(code.used_by)
    for fault, users in told.items():
        more = f" and {len(users) - 3} more" if len(users) > 3 else ""
        yield (
            f"others cannot reach the code of {', '.join(users[:3])}{more} ({fault}); push it, and "
            "run again with code_url set to where others find it "
            '(ASSET_PROVENANCE_CODE_URL="https://github.com/your-lab/your-analysis")'
        )


def _against_journals(folder: Path, unasked: Unasked) -> Iterator[str]:
    for journal in unasked.journals:
        yield (
            f"{folder / journal} holds the record of a run that has no metadata or still goes on: "
            f"asset-provenance recover {shlex.quote(str((folder / journal).parent))}, or remove it"
        )


def _captured(
    folder: Path, source: AssetSource, service: CodeOceanService, problems: list[str]
) -> Unasked:
    """Compare the folder with the results that would be captured, and look through those."""
    place = f"the results of the computation {source.computation}"
    if source.path:
        place = f"{source.path} in {place}"
    held = held_by_computation(service, source)
    described = file_name(DATA_DESCRIPTION)
    if described not in held.sizes(""):
        problems.append(
            f"there is no {described} in {place}: give the computation that made {folder} "
            "(--computation), and the folder in its results (--path)"
        )
        return Unasked((), ())
    differing = differing_metadata(folder, held)
    listing = None if differing else look_through(held)
    if listing is not None and listing.is_whole:
        differing = differing_files(folder, listing)
    if listing is None or differing:
        problems.append(
            f"{place} are not what {folder} holds ({some_of(differing)} differ): "
            "what would be captured is not what was checked"
        )
        return Unasked((), ())
    unasked = unasked_in(listing.files)
    problems.extend(
        f"{journal} in {place} holds the record of a run that has no metadata or still goes on: it "
        "would be captured, and the results of an ended computation cannot be changed"
        for journal in unasked.journals
    )
    if listing.is_whole:
        return unasked
    # There are too many folders to ask for; the one here, which was checked, knows the rest.
    here = unasked_in(files_below(folder))
    return Unasked(tuple(sorted({*unasked.patches, *here.patches})), unasked.journals)


def _existing(
    publication: Publication, source: AssetSource, service: CodeOceanService, problems: list[str]
) -> RemoteAsset | None:
    found = [asset for asset in service.find(publication.name) if not asset.has_failed]
    ours = [asset for asset in found if asset.serves(source)]
    if ours:
        return ours[0]
    for asset in found[:1]:
        told = f"Code Ocean has a data asset {publication.name} already"
        page = service.page(asset.id)
        problems.append(
            f"{told}, which is archived ({page}): take it out of the archive, or rename it, and "
            "run this again"
            if asset.is_archived
            else f"{told}, made from something else ({page}): look at it, and remove or rename "
            "the one that is wrong"
        )
    return None


def _published(
    folder: Path,
    asset: RemoteAsset,
    source: AssetSource,
    service: CodeOceanService,
    unasked: Unasked,
    problems: list[str],
) -> Unasked:
    """Compare the folder with a data asset that is there, and look through that."""
    listing = None
    if source.in_session:  # where the folder may have changed since
        listing = look_through(held_by_asset(service, asset))
        if listing.is_whole:
            unasked = unasked_in(listing.files)
    problem = stands_against_asset(folder, asset, service, source, listing)
    if problem is not None:
        problems.append(problem)
    return unasked


def _patches_told(
    patches: tuple[str, ...], source: AssetSource | None, existing: RemoteAsset | None
) -> str:
    told = f"uncommitted changes of the code would be published ({', '.join(patches)})"
    if source is not None and source.in_session and existing is not None:
        return (
            f"{told}: the data asset {existing.id}, which is there already, holds them. Publish "
            "them too (--with-patches), or remove that data asset and run this again, which "
            "leaves them out"
        )
    where = "the results of an ended computation cannot be changed"
    if source is not None and source.url is not None:
        where = f"what lies in {source.url} is not changed from here"
    return (
        f"{told}, and {where}: publish them too (--with-patches), or commit the changes and run "
        "the analysis again, or run it again with ASSET_PROVENANCE_SAVE_PATCH=false"
    )


def as_json(plan: Plan) -> Mapping[str, object]:
    """Give a plan as JSON."""
    publication, source = plan.publication, plan.source
    return {
        "name": publication.name,
        "mount": publication.name,
        "tags": list(plan.tags),
        "description": plan.description,
        "code_ocean": plan.code_ocean.domain,
        "computation": source.computation,
        "in_session": source.in_session,
        "path": source.path,
        "s3": source.url,
        "existing": plan.existing.id if plan.existing else None,
        "location": plan.location(plan.existing) if plan.registry else None,
        "record": plan.record.id if plan.record else None,
        "register_in": plan.registry.host if plan.registry else None,
        "not_registered": plan.not_registered,
        "left_out": list(plan.left_out),
        "published_patches": list(plan.published_patches),
        "transfer_to": OPEN_BUCKET,
    }
