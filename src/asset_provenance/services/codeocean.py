"""Code Ocean, asked through its own SDK: computations, and the data assets made of them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from asset_provenance.errors import ServiceError
from asset_provenance.services.requesting import Asker, UnansweredError, bound

if TYPE_CHECKING:
    import requests
    from codeocean.data_asset import DataAsset
    from codeocean.models.folder import FileURLs, Folder

    from asset_provenance.services.access import Token

__all__ = ["AssetSource", "CodeOceanService", "RemoteAsset", "RemoteComputation"]

_Answer = TypeVar("_Answer")

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 10.0
"""Seconds between two looks at a data asset that is being made."""


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


@dataclass(frozen=True, slots=True)
class RemoteAsset:
    """A data asset in Code Ocean.

    Parameters
    ----------
    id, name, state, mount, description, tags, files, size, failure_reason, custom_metadata
        As Code Ocean has them.
    computation
        The computation that it was made from, where that is told.
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
    computation: str | None
    origin: str | None
    bucket: str | None
    prefix: str | None
    is_external: bool
    is_archived: bool = False

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


class CodeOceanService:
    """Code Ocean at one place.

    Parameters
    ----------
    domain
        ``https://host``.
    token
        That gives access to it.
    seconds
        For a single request.

    Raises
    ------
    ServiceError
        If the SDK is not installed.
    """

    def __init__(self, domain: str, token: Token, *, seconds: float) -> None:
        try:
            from codeocean import (  # noqa: PLC0415
                CodeOcean,  # slow, and not always installed
            )
        except ImportError:
            raise ServiceError(
                'the SDK of Code Ocean is missing: pip install "asset-provenance[publish]"'
            ) from None
        import requests  # noqa: PLC0415 - as above

        self.domain = domain
        client = CodeOcean(domain=domain, token=token.value)
        bound(client.session, seconds)
        # Files lie elsewhere: whoever has the signed URL needs no token, and is sent none.
        self._files = requests.Session()
        self._files.auth = _signed_already
        bound(self._files, seconds)
        self._assets, self._computations = client.data_assets, client.computations
        hints = {
            401: f"the token in {token.variable} is not valid there: make a new one in the "
            "account's settings",
            403: f"the token in {token.variable} does not give the right to: it needs the scopes "
            "to read and write data assets, and to read computations",
        }
        self._asker = Asker(f"Code Ocean ({domain})", (token.value,), hints)

    def _ask(self, what: str, call: Callable[[], _Answer], *, once: bool = False) -> _Answer:
        def quietly() -> _Answer:
            with warnings.catch_warnings():  # the SDK's words on an answer that it cannot read
                warnings.simplefilter("ignore", RuntimeWarning)
                return call()

        return self._asker.ask(what, quietly, once=once)

    def page(self, asset_id: str) -> str:
        """Give the page of a data asset."""
        return f"{self.domain}/data-assets/{asset_id}"

    def computation(self, computation_id: str) -> RemoteComputation:
        """Give a computation."""
        found = self._ask(
            f"for the computation {computation_id}",
            lambda: self._computations.get_computation(_in_path(computation_id)),
        )
        return RemoteComputation(
            id=found.id,
            state=str(found.state),
            end_status=None if found.end_status is None else str(found.end_status),
            is_session=bool(found.cloud_workstation),
            has_results=found.has_results is not False,
        )

    def results(self, computation_id: str, path: str) -> dict[str, int | None]:
        """Give the sizes of what lies in a folder of results, by name; None for folders."""
        identity = _in_path(computation_id)
        return self._ask(
            f"for the results of the computation {computation_id}",
            lambda: _sizes(self._computations.list_computation_results(identity, path)),
        )

    def result_file(self, computation_id: str, path: str) -> bytes:
        """Give the content of a file of results."""
        identity = _in_path(computation_id)
        return self._content(
            f"for {path} of the computation {computation_id}",
            lambda: self._computations.get_result_file_urls(identity, path),
        )

    def files(self, asset_id: str, path: str) -> dict[str, int | None]:
        """Give the sizes of what lies in a folder of a data asset, as :meth:`results` does."""
        identity = _in_path(asset_id)
        return self._ask(
            f"for the files of the data asset {asset_id}",
            lambda: _sizes(self._assets.list_data_asset_files(identity, path)),
        )

    def file(self, asset_id: str, path: str) -> bytes:
        """Give the content of a file of a data asset."""
        identity = _in_path(asset_id)
        return self._content(
            f"for {path} of the data asset {asset_id}",
            lambda: self._assets.get_data_asset_file_urls(identity, path),
        )

    def _content(self, what: str, ask_for_urls: Callable[[], FileURLs]) -> bytes:
        url = self._ask(what, lambda: _encrypted(ask_for_urls().download_url))

        def download() -> bytes:
            answer = self._files.get(url)
            answer.raise_for_status()
            return answer.content

        return self._ask(what, download)

    def find(self, name: str) -> list[RemoteAsset]:
        """Find the data assets of exactly this name, the oldest first, then archived ones."""
        found: dict[str, bool] = {}
        for archived in (False, True):
            for asset_id in self._named(name, archived=archived):
                found.setdefault(asset_id, archived)
        # A search may know less of an asset than it knows itself.
        return [
            replace(self.asset(asset_id), is_archived=archived)
            for asset_id, archived in found.items()
        ]

    def _named(self, name: str, *, archived: bool) -> list[str]:
        from codeocean.data_asset import DataAssetSearchParams  # noqa: PLC0415 - as above

        quoted = name.replace('"', "")
        params = DataAssetSearchParams(
            query=f'name:"{quoted}"', limit=100, archived=archived or None
        )

        def search() -> list[str]:
            every = self._assets.search_data_assets_iterator(params)
            ours = [one for one in every if one.name == name]
            return [_remote(one).id for one in sorted(ours, key=lambda one: int(one.created))]

        kind = "archived data assets" if archived else "data assets"
        return self._ask(f"for {kind} named {name}", search)

    def asset(self, asset_id: str) -> RemoteAsset:
        """Give a data asset."""
        return self._ask(
            f"for the data asset {asset_id}",
            lambda: _remote(self._assets.get_data_asset(_in_path(asset_id))),
        )

    def create(
        self, name: str, source: AssetSource, *, tags: Sequence[str], description: str
    ) -> RemoteAsset:
        """Create a data asset; never asked for twice where the first may have been heard.

        Raises
        ------
        UnansweredError
            If nobody knows whether it was created.
        """
        from codeocean import data_asset as models  # noqa: PLC0415 - as above

        params = models.DataAssetParams(
            name=name,
            tags=list(tags),
            mount=name,
            description=description or None,
            source=_source(source),
        )
        what = f"to create the data asset {name}"
        return self._ask(what, lambda: _remote(self._assets.create_data_asset(params)), once=True)

    def describe(self, asset: RemoteAsset, *, tags: Sequence[str], description: str) -> RemoteAsset:
        """Give a data asset tags and a description; what it has besides stays."""
        from codeocean import data_asset as models  # noqa: PLC0415 - as above

        params = models.DataAssetUpdateParams(
            name=asset.name,
            mount=asset.mount,
            tags=list(tags),
            description=description or None,
            custom_metadata=dict(asset.custom_metadata) if asset.custom_metadata else None,
        )
        return self._ask(
            f"to set the tags of the data asset {asset.id}",
            lambda: _remote(self._assets.update_metadata(_in_path(asset.id), params)),
        )

    def wait(
        self, asset: RemoteAsset, *, seconds: float, progress: Callable[[str, float], None]
    ) -> RemoteAsset:
        """Wait until a data asset is ready; what goes wrong between two looks may pass.

        Parameters
        ----------
        asset
            As it was created.
        seconds
            After which to give up.
        progress
            Told the state, and for how long it has been waited, in seconds.

        Raises
        ------
        ServiceError
            If it failed, or takes longer.
        """
        begin, pause, trouble = time.monotonic(), _FIRST_PAUSE, ""
        while not asset.is_ready and not asset.has_failed:
            waited = time.monotonic() - begin
            if waited >= seconds:
                raise ServiceError(
                    f"the data asset {asset.id} is not ready after {seconds:g} s: its state is "
                    f"{asset.state}{trouble}. Code Ocean goes on with it"
                )
            progress(asset.state, waited)
            time.sleep(min(pause, seconds - waited))
            pause = min(_LONGEST_PAUSE, pause * 1.5)
            try:
                asset, trouble = self.asset(asset.id), ""
            except UnansweredError as error:
                trouble = f" as far as is known ({error})"
        if asset.has_failed:
            reason = self._asker.clean(asset.failure_reason or "it gives no reason")
            raise ServiceError(
                f"Code Ocean could not make the data asset {asset.id} "
                f"({self.page(asset.id)}): {reason}. Mend that and remove this one, since each "
                "further run makes another"
            )
        return asset


def _in_path(identity: str) -> str:
    """Let an identity be one part of a URL's path, whatever it holds."""
    from urllib.parse import quote  # noqa: PLC0415 - as above

    return quote(identity, safe="")


def _signed_already(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add nothing; without this, requests would look for a password in the user's ``.netrc``."""
    return request


def _encrypted(url: Any) -> str:
    if not isinstance(url, str) or not url.startswith("https://"):
        raise TypeError("not the URL of a file")
    return url


def _sizes(folder: Folder) -> dict[str, int | None]:
    sizes = {one.name: one.size if one.type == "file" else None for one in folder.items}
    if not all(isinstance(name, str) for name in sizes):
        raise TypeError("not the names of files")
    return sizes


def _source(source: AssetSource) -> Any:
    from codeocean import data_asset as models  # noqa: PLC0415 - as above

    if source.bucket is not None:
        s3 = models.AWSS3Source(
            bucket=source.bucket, prefix=source.prefix or None, keep_on_external_storage=True
        )
        return models.Source(aws=s3)
    identity = source.computation or ""
    if source.in_session:
        session = models.CloudWorkstationSource(id=identity, path=source.path)
        return models.Source(cloud_workstation=session)
    results = models.ComputationSource(id=identity, path=source.path or None)
    return models.Source(computation=results)


def _remote(asset: DataAsset) -> RemoteAsset:
    bucket, made_from = asset.source_bucket, asset.provenance
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
        computation=made_from.computation if made_from else None,
        origin=str(bucket.origin) if bucket and bucket.origin else None,
        bucket=bucket.bucket if bucket else None,
        prefix=bucket.prefix if bucket else None,
        is_external=bool(bucket and bucket.external),
    )
