"""What Code Ocean holds, as far as it matters here: computations, data assets, capsules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codeocean.capsule import Capsule
    from codeocean.computation import Computation
    from codeocean.data_asset import DataAsset

__all__ = [
    "AssetSource",
    "RemoteAsset",
    "RemoteCapsule",
    "RemoteComputation",
    "RemoteProvenance",
    "read_asset",
    "read_capsule",
    "read_computation",
]


@dataclass(frozen=True, slots=True)
class AssetSource:
    """What a data asset is made from.

    Parameters
    ----------
    computation
        Whose results; or the session of a cloud workstation, if ``in_session``.
    path
        Of the results, or in the session; empty for all results.
    in_session
        Whether the computation is a session that still goes on.
    bucket, prefix
        A folder in S3, where the files stay.
    """

    computation: str | None = None
    path: str = ""
    in_session: bool = False
    bucket: str | None = None
    prefix: str = ""

    @property
    def url(self) -> str | None:
        """The URL of the folder in S3."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/") if self.bucket else None


@dataclass(frozen=True, slots=True)
class RemoteComputation:
    """A computation, as far as it matters here."""

    id: str
    state: str
    end_status: str | None
    is_session: bool
    has_results: bool
    is_pipeline: bool


@dataclass(frozen=True, slots=True)
class RemoteCapsule:
    """A capsule or a pipeline: the other name of its page, and the repository it is linked to."""

    slug: str | None
    repository: str | None
    is_pipeline: bool


@dataclass(frozen=True, slots=True)
class RemoteProvenance:
    """What Code Ocean keeps of the run that made a data asset; each is None where it is not told.

    Parameters
    ----------
    commit
        Of the repository of the capsule, or of the pipeline.
    run_script
        Relative to that repository.
    docker_image
        As a registry names it, or only by an id.
    capsule, computation
        Their ids.
    data_assets
        The ids of those that were attached.
    """

    commit: str | None = None
    run_script: str | None = None
    docker_image: str | None = None
    capsule: str | None = None
    computation: str | None = None
    data_assets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoteAsset:
    """A data asset in Code Ocean.

    Parameters
    ----------
    id, name, state, mount, description, tags, files, size, failure_reason, custom_metadata
        As Code Ocean has them.
    provenance
        Of the run that made it, where that is told.
    origin, bucket, prefix, is_external
        The folder in S3 that it was made from, where that is told, and whether its files are there.
    is_archived
        Whether it was put away.
    """

    id: str
    name: str
    state: str
    mount: str
    description: str
    tags: tuple[str, ...]
    files: int | None
    size: int | None
    failure_reason: str | None
    custom_metadata: Mapping[str, Any] | None
    provenance: RemoteProvenance | None
    origin: str | None
    bucket: str | None
    prefix: str | None
    is_external: bool
    is_archived: bool = False

    @property
    def computation(self) -> str | None:
        """The computation that it was made from, where that is told."""
        return self.provenance.computation if self.provenance else None

    @property
    def is_ready(self) -> bool:
        """Whether it can be used."""
        return self.state == "ready"

    @property
    def has_failed(self) -> bool:
        """Whether it will never be ready."""
        return self.state == "failed"

    def serves(self, source: AssetSource) -> bool:
        """Say whether it can be used as what is made from a source."""
        return not (self.has_failed or self.is_archived) and self.may_be_from(source)

    def may_be_from(self, source: AssetSource) -> bool:
        """Say whether nothing that is told of it speaks against it being made from a source."""
        if self.computation is not None:  # whose files may have been moved to a bucket since
            return source.bucket is None and self.computation == source.computation
        if source.bucket is None:
            return self.bucket is None and self.origin in (None, "local")
        ours = (source.bucket, source.prefix.strip("/"))
        is_there = (self.bucket, (self.prefix or "").strip("/")) == ours and self.is_external
        return is_there or (self.bucket is None and self.origin is None)


def read_asset(asset: DataAsset) -> RemoteAsset:
    """Read what the SDK gives; TypeError where that is no data asset."""
    bucket = asset.source_bucket
    if not isinstance(asset.id, str) or not isinstance(asset.name, str):
        raise TypeError("not a data asset")
    return RemoteAsset(
        id=asset.id,
        name=asset.name,
        state=str(asset.state),
        mount=asset.mount,
        description=asset.description or "",
        tags=tuple(asset.tags or ()),
        files=asset.files,
        size=asset.size,
        failure_reason=asset.failure_reason,
        custom_metadata=asset.custom_metadata,
        provenance=_provenance(asset),
        origin=str(bucket.origin) if bucket and bucket.origin else None,
        bucket=bucket.bucket if bucket else None,
        prefix=bucket.prefix if bucket else None,
        is_external=bool(bucket and bucket.external),
    )


def _provenance(asset: DataAsset) -> RemoteProvenance | None:
    told = asset.provenance
    if told is None:
        return None
    return RemoteProvenance(
        commit=_text(told.commit),
        run_script=_text(told.run_script),
        docker_image=_text(told.docker_image),
        capsule=_text(told.capsule),
        computation=_text(told.computation),
        data_assets=tuple(filter(None, map(_text, told.data_assets or ()))),
    )


def read_computation(computation: Computation) -> RemoteComputation:
    """Read what the SDK gives."""
    ended = computation.end_status
    return RemoteComputation(
        id=computation.id,
        state=str(computation.state),
        end_status=None if ended is None else str(ended),
        is_session=bool(computation.cloud_workstation),
        has_results=computation.has_results is not False,
        is_pipeline=bool(computation.processes),
    )


def read_capsule(capsule: Capsule, *, is_pipeline: bool) -> RemoteCapsule:
    """Read what the SDK gives, which has one form for both."""
    slug, repository = _text(capsule.slug), _text(capsule.cloned_from_url)
    return RemoteCapsule(slug, repository, is_pipeline)


def _text(value: str | None) -> str | None:
    return (value or "").strip() or None
