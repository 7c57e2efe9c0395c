"""Code Ocean, asked through its own SDK: computations, and the data assets made of them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from asset_provenance.errors import ServiceError
from asset_provenance.services.access import (
    DOMAIN_VARIABLE,
    TOKEN_VARIABLES,
    find_domain,
    find_token,
)
from asset_provenance.services.remote import (
    AssetSource,
    RemoteAsset,
    RemoteCapsule,
    RemoteComputation,
    read_asset,
    read_capsule,
    read_computation,
)
from asset_provenance.services.requesting import Asker, UnansweredError, bound, if_seen

if TYPE_CHECKING:
    import requests
    from codeocean.models.folder import FileURLs, Folder

    from asset_provenance.services.access import Token

__all__ = ["CodeOceanService", "reach_code_ocean"]

_Answer = TypeVar("_Answer")

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 10.0
"""Seconds between two looks at a data asset that is being made."""


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
        self._capsules, self._pipelines = client.capsules, client.pipelines
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
        identity = _in_path(computation_id)
        return self._ask(
            f"for the computation {computation_id}",
            lambda: read_computation(self._computations.get_computation(identity)),
        )

    def capsule(self, capsule_id: str) -> RemoteCapsule | None:
        """Give a capsule or a pipeline; None if there is neither that the token gives access to."""
        identity = _in_path(capsule_id)
        return if_seen(
            lambda: self._ask(
                f"for the capsule {capsule_id}",
                lambda: read_capsule(self._capsules.get_capsule(identity), is_pipeline=False),
            )
        ) or if_seen(
            lambda: self._ask(
                f"for the pipeline {capsule_id}",
                lambda: read_capsule(self._pipelines.get_pipeline(identity), is_pipeline=True),
            )
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
            return [read_asset(one).id for one in sorted(ours, key=lambda one: int(one.created))]

        kind = "archived data assets" if archived else "data assets"
        return self._ask(f"for {kind} named {name}", search)

    def asset(self, asset_id: str) -> RemoteAsset:
        """Give a data asset."""
        return self._ask(
            f"for the data asset {asset_id}",
            lambda: read_asset(self._assets.get_data_asset(_in_path(asset_id))),
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
        return self._ask(
            what, lambda: read_asset(self._assets.create_data_asset(params)), once=True
        )

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
            lambda: read_asset(self._assets.update_metadata(_in_path(asset.id), params)),
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


def reach_code_ocean(seconds: float, problems: list[str]) -> CodeOceanService | None:
    """Give Code Ocean with the user's token, if both are known; nothing is asked of it."""
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
