"""Before anything is published: what would be done, and everything that stands against it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asset_provenance.corefiles import (
    CORE_FILES,
    DATA_DESCRIPTION,
    JOURNAL_FOLDER,
    PROVENANCE_FOLDER,
    file_name,
)
from asset_provenance.errors import PreflightError, ServiceError
from asset_provenance.patches import find_patches, is_patch
from asset_provenance.publication import Publication, why_unreachable
from asset_provenance.services.codeocean import (
    DOMAIN_VARIABLE,
    TOKEN_VARIABLES,
    AssetSource,
    CodeOceanService,
    find_domain,
    find_token,
)
from asset_provenance.services.lookup import find_database
from asset_provenance.services.requesting import RefusedError
from asset_provenance.settings import load_settings

if TYPE_CHECKING:
    from asset_provenance.services.codeocean import RemoteAsset
    from asset_provenance.services.registry import Registry

__all__ = ["OPEN_BUCKET", "Plan", "Request", "as_json", "make_plan"]

OPEN_BUCKET = "aind-open-data"
_COMPUTATION_VARIABLE = "CO_COMPUTATION_ID"
_RESULT_BUCKETS = {
    "https://codeocean.allenneuraldynamics.org": "codeocean-s3datasetsbucket-1u41qdg42ur9"
}
"""Where a deployment keeps the results that it captures, each in a folder named by its id; the
API does not tell."""
_SERVICE_TIMEOUT = 10.0
_S3_URL = re.compile(r"s3://([a-z0-9][a-z0-9.\-]{1,61}[a-z0-9])/+([^?#\s]*[^?#\s/])/*")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, besides the folder.

    Parameters
    ----------
    computation, path
        Whose results, and the folder in them; None and empty: this computation's, all of them.
    s3
        ``s3://bucket/prefix``, instead of a computation.
    results_bucket
        Where Code Ocean keeps results, if that is not known by its domain.
    with_patches, despite_restrictions, register
        What is published although it is held back otherwise; and whether to register it.
    """

    computation: str | None = None
    path: str = ""
    s3: str | None = None
    results_bucket: str | None = None
    with_patches: bool = False
    despite_restrictions: bool = False
    register: bool = True


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
    existing
        The data asset, if it has been made before.
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
    """Look at the asset, at what is asked for and at what Code Ocean has, and change nothing.

    Raises
    ------
    PreflightError
        With everything that stands against it.
    ServiceError
        If a service cannot be asked.
    """
    settings = load_settings({}, script_folder=None)
    seconds = settings.seconds("service_timeout", _SERVICE_TIMEOUT)
    problems = [*settings.problems, *_against_publishing(publication, request)]
    if settings.flag("offline", default=False):
        given = settings.get("offline")
        where = f" ({given.source})" if given else ""
        problems.append(f"offline is set{where}, and publishing asks services: set it to false")
    try:
        database = find_database(settings)
    except ValueError as error:
        problems.append(str(error))
    source = _source(publication, request, problems)
    service = _code_ocean(seconds, problems)
    bucket = request.results_bucket or (_RESULT_BUCKETS.get(service.domain) if service else None)
    if source and not source.bucket and service and not bucket and request.register:
        problems.append(
            f"nobody knows where {service.domain} keeps the results that it captures, which has to "
            "be registered: give --results-bucket BUCKET, or --no-register"
        )
    patches = tuple(find_patches(publication.folder))
    existing: RemoteAsset | None = None
    if service and source and not settings.flag("offline", default=False):
        try:
            source = _settled(publication, source, service, problems)
            if source.computation and not source.in_session:
                patches = _captured_patches(publication, source, service, problems)
            existing = _existing(publication, source, service, problems)
        except ServiceError:
            if not problems:
                raise
    leaves_out = bool(source and source.in_session and not request.with_patches)
    if patches and not request.with_patches and not leaves_out:
        problems.append(_patches_told(patches, source))
    if problems or service is None or source is None:
        raise PreflightError(f"{publication.folder} cannot be published:", problems)
    registry: Registry | None = None
    not_registered: str | None = "as was asked (--no-register)"
    if request.register:
        from asset_provenance.services.registry import Registry  # noqa: PLC0415 - slow

        registry = Registry(*database, seconds=seconds)
        not_registered = registry.missing_rights
    return Plan(
        publication=publication,
        source=source,
        code_ocean=service,
        registry=None if not_registered else registry,
        not_registered=not_registered,
        results_bucket=bucket,
        left_out=patches if leaves_out else (),
        published_patches=() if leaves_out else patches,
        existing=existing,
    )


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
    if any(
        path.is_dir() and not path.is_symlink()
        for path in _entries(publication.folder / JOURNAL_FOLDER)
    ):
        yield (
            f"{publication.folder / JOURNAL_FOLDER} holds the record of a run that has no metadata "
            f"or still goes on: asset-provenance recover {publication.folder}, or remove it"
        )


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _source(publication: Publication, request: Request, problems: list[str]) -> AssetSource | None:
    if request.s3 is not None:
        found = _S3_URL.fullmatch(request.s3.strip())
        if request.computation or request.path:
            problems.append("--s3 is instead of --computation and --path: give one or the other")
        if not found or ".." in found[2].split("/"):
            problems.append(f"--s3 {request.s3}: it must be as s3://bucket/folder")
            return None
        return AssetSource(bucket=found[1], prefix=found[2])
    computation = request.computation or os.environ.get(_COMPUTATION_VARIABLE, "").strip()
    if not computation:
        problems.append(
            f"no computation is known whose results {publication.folder} are: give --computation "
            f"ID (in a capsule, {_COMPUTATION_VARIABLE} has it), or --s3 s3://bucket/folder"
        )
        return None
    path = request.path.strip("/")
    if ".." in path.split("/"):
        problems.append(f"--path {request.path}: it must be a folder in the results")
    return AssetSource(computation=computation, path=path)


def _code_ocean(seconds: float, problems: list[str]) -> CodeOceanService | None:
    token = find_token()
    if token is None:
        problems.append(
            "no token for Code Ocean is known: attach it to the capsule as a secret, or set one "
            f"of {', '.join(TOKEN_VARIABLES)}, or any variable with a value that begins with cop_"
        )
    try:
        domain = find_domain()
    except ValueError as error:
        problems.append(f"{DOMAIN_VARIABLE}: {error}")
        return None
    if domain is None:
        problems.append(
            f"nobody knows where Code Ocean is: set {DOMAIN_VARIABLE}, as in "
            f'{DOMAIN_VARIABLE}="https://codeocean.allenneuraldynamics.org"'
        )
    if domain is None or token is None:
        return None
    try:
        return CodeOceanService(domain, token, seconds=seconds)
    except ServiceError as error:  # its SDK is missing
        problems.append(str(error))
        return None


def _settled(
    publication: Publication, source: AssetSource, service: CodeOceanService, problems: list[str]
) -> AssetSource:
    """Find out whether a computation has ended, or is the session that this runs in."""
    if source.computation is None:
        return source
    try:
        computation = service.computation(source.computation)
    except RefusedError as error:
        if error.status != 404:
            raise
        problems.append(
            f"{service.domain} has no computation {source.computation}, or none that the token "
            "gives access to: mend --computation"
        )
        return source
    if computation.is_session and computation.state == "running":
        if os.environ.get(_COMPUTATION_VARIABLE) != source.computation:
            problems.append(
                f"the computation {source.computation} is a session that goes on elsewhere: run "
                "this in the session, where the folder is"
            )
        elif source.path:
            problems.append(
                f"--path: in a session, {publication.folder} itself is captured; leave it out"
            )
        return AssetSource(source.computation, str(publication.folder.resolve()), in_session=True)
    if computation.state not in ("completed", "failed"):
        problems.append(
            f"the computation {source.computation} is {computation.state}: its results can be "
            "captured when it has ended; run this again then"
        )
    elif not computation.has_results:
        problems.append(f"the computation {source.computation} has no results")
    return source


def _captured_patches(
    publication: Publication, source: AssetSource, service: CodeOceanService, problems: list[str]
) -> tuple[str, ...]:
    """Compare the folder with what would be captured, and give the patches in that."""
    if problems:
        return ()
    place = f"the results of the computation {source.computation}"
    if source.path:
        place = f"{source.path} in {place}"
    try:
        there = service.results(source.computation or "", source.path)
    except RefusedError as error:
        if error.status not in (400, 404):
            raise
        there = {}
    described = file_name(DATA_DESCRIPTION)
    if described not in there:
        problems.append(
            f"there is no {described} in {place}: give the computation that made "
            f"{publication.folder} (--computation), and the folder in its results (--path)"
        )
        return ()
    differing = [
        file
        for file in map(file_name, CORE_FILES)
        if (publication.folder / file).is_file()
        and (publication.folder / file).stat().st_size != there.get(file)
    ]
    if differing:
        problems.append(
            f"{place} are not what {publication.folder} holds ({', '.join(differing)} differ): "
            "what would be captured is not what was checked"
        )
    if PROVENANCE_FOLDER not in there:
        return ()
    path = f"{source.path}/{PROVENANCE_FOLDER}".lstrip("/")
    inside = service.results(source.computation or "", path)
    return tuple(f"{PROVENANCE_FOLDER}/{name}" for name in sorted(inside) if is_patch(name))


def _existing(
    publication: Publication, source: AssetSource, service: CodeOceanService, problems: list[str]
) -> RemoteAsset | None:
    found = [asset for asset in service.find(publication.name) if not asset.has_failed]
    ours = next((asset for asset in found if asset.may_be_from(source)), None)
    if found and ours is None:
        problems.append(
            f"Code Ocean has a data asset {publication.name} already, made from something else "
            f"({service.page(found[0].id)}): look at it, and remove or rename the one that is wrong"
        )
    return ours


def _patches_told(patches: tuple[str, ...], source: AssetSource | None) -> str:
    where = "the results of an ended computation cannot be changed"
    if source is not None and source.url is not None:
        where = f"what lies in {source.url} is not changed from here"
    return (
        f"uncommitted changes of the code would be published ({', '.join(patches)}), and "
        f"{where}: publish them too (--with-patches), or commit the changes and run the analysis "
        "again, or run it again with ASSET_PROVENANCE_SAVE_PATCH=false"
    )


def as_json(plan: Plan) -> Mapping[str, object]:
    """Give a plan as JSON."""
    publication, source = plan.publication, plan.source
    return {
        "name": publication.name,
        "mount": publication.name,
        "tags": list(publication.tags),
        "description": publication.summary,
        "code_ocean": plan.code_ocean.domain,
        "computation": source.computation,
        "in_session": source.in_session,
        "path": source.path,
        "s3": source.url,
        "existing": plan.existing.id if plan.existing else None,
        "location": plan.location(plan.existing) if plan.registry else None,
        "register_in": plan.registry.host if plan.registry else None,
        "not_registered": plan.not_registered,
        "left_out": list(plan.left_out),
        "published_patches": list(plan.published_patches),
        "transfer_to": OPEN_BUCKET,
    }
