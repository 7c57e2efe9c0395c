"""What is published from where: the place that was asked for, and the state that it is in."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asset_provenance.services.remote import AssetSource
from asset_provenance.services.requesting import RefusedError

if TYPE_CHECKING:
    from asset_provenance.services.codeocean import CodeOceanService

__all__ = [
    "Request",
    "asked_source",
    "known_bucket",
    "settled_source",
]

_COMPUTATION_VARIABLE = "CO_COMPUTATION_ID"
_RESULT_BUCKETS = {
    "https://codeocean.allenneuraldynamics.org": "codeocean-s3datasetsbucket-1u41qdg42ur9"
}
"""Where a deployment keeps the results that it captures, each in a folder named by its id; the
API does not tell."""
_BUCKET = r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]"
_BUCKET_GIVEN = re.compile(rf"(?:s3://)?({_BUCKET})/*")
_S3_URL = re.compile(rf"s3://({_BUCKET})/+([^?#\s]*[^?#\s/])/*")


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


def asked_source(folder: Path, request: Request, problems: list[str]) -> AssetSource | None:
    """Give the place that was asked for; what is wrong with it goes to the problems."""
    if request.s3 is not None:
        found = _S3_URL.fullmatch(request.s3.strip())
        if request.computation or request.path:
            problems.append("--s3 is instead of --computation and --path: give one or the other")
        if not found or {"", ".", ".."} & set(found[2].split("/")):
            problems.append(f"--s3 {request.s3}: it must be as s3://bucket/folder")
            return None
        return AssetSource(bucket=found[1], prefix=found[2])
    computation = request.computation or os.environ.get(_COMPUTATION_VARIABLE, "").strip()
    if not computation:
        problems.append(
            f"no computation is known whose results {folder} are: give --computation "
            f"ID (in a capsule, {_COMPUTATION_VARIABLE} has it), or --s3 s3://bucket/folder"
        )
        return None
    path = request.path.strip("/")
    if ".." in path.split("/"):
        problems.append(f"--path {request.path}: it must be a folder in the results")
    return AssetSource(computation=computation, path=path)


def known_bucket(
    request: Request, service: CodeOceanService | None, problems: list[str]
) -> str | None:
    """Give the bucket where Code Ocean keeps results: as it was asked for, or as is known."""
    given = request.results_bucket
    if given is None:
        return _RESULT_BUCKETS.get(service.domain) if service else None
    found = _BUCKET_GIVEN.fullmatch(given.strip())
    if found is None:
        problems.append(
            f"--results-bucket {given}: it must be the name of a bucket, without a folder, as in "
            "--results-bucket codeocean-s3datasetsbucket-1u41qdg42ur9"
        )
        return None
    return found[1]


def settled_source(
    folder: Path, source: AssetSource, service: CodeOceanService, problems: list[str]
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
            problems.append(f"--path: in a session, {folder} itself is captured; leave it out")
        return AssetSource(source.computation, str(folder.resolve()), in_session=True)
    if computation.state not in ("completed", "failed"):
        problems.append(
            f"the computation {source.computation} is {computation.state}: its results can be "
            "captured when it has ended; run this again then"
        )
    elif computation.state == "failed" or computation.end_status in ("failed", "stopped"):
        problems.append(
            f"the computation {source.computation} has {computation.end_status or 'failed'}, so "
            "that its results may be incomplete: run it again, and publish those of a computation "
            "that succeeded"
        )
    elif not computation.has_results:
        problems.append(f"the computation {source.computation} has no results")
    return source
