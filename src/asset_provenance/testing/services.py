"""Both services behind one HTTPS server, and the environment that leads clients to them."""

from __future__ import annotations

import os
import secrets
import shutil
import ssl
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from asset_provenance.errors import UsageError
from asset_provenance.testing.codeocean import CodeOceanService
from asset_provenance.testing.docdb import DocDbService
from asset_provenance.testing.server import HOST, HttpsServer, Service
from asset_provenance.testing.storage import Buckets

__all__ = ["LoopbackServices"]

_CODE_OCEAN = ("/api/", "/files/")


class LoopbackServices:
    """AIND's metadata database and Code Ocean, on this machine, as long as the block is open.

    Parameters
    ----------
    records
        Records of the database, of its version v2.
    port
        Where to listen; by default any port that is free.

    Attributes
    ----------
    docdb : DocDbService
        The metadata database.
    codeocean : CodeOceanService
        Code Ocean.
    environ : dict of str to str
        Environment variables that lead the clients here: ours, ``codeocean``, ``requests`` and
        ``boto3``. Credentials among them are invented.
    port : int
        Where it listens.

    Raises
    ------
    UsageError
        If the extra ``testing`` is not installed.

    Examples
    --------
    >>> with LoopbackServices() as services:  # doctest: +SKIP
    ...     os.environ.update(services.environ)
    """

    def __init__(self, records: Iterable[Mapping[str, Any]] = (), *, port: int = 0) -> None:
        _ask_for_extra()
        buckets = Buckets()
        self.token = f"cop_{secrets.token_hex(20)}"
        self.codeocean = CodeOceanService(buckets, token=self.token)
        self.docdb = DocDbService(buckets, self.codeocean)
        self.docdb.add_records(records)
        self.environ: dict[str, str] = {}
        self.port = port
        self._server: HttpsServer | None = None
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        import certifi  # noqa: PLC0415 - comes with requests; slow
        import trustme  # noqa: PLC0415 - of the extra, and slow

        authority = trustme.CA()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(HOST, "127.0.0.1").configure_cert(tls)
        try:
            self._server = HttpsServer(tls, self._service, self.port)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "it must be from 0 to 65535"
            raise UsageError(f"port {self.port} cannot be used: {reason}") from None
        self.port = self._server.port
        self.codeocean.url = f"https://{HOST}:{self.port}"
        self._folder = Path(tempfile.mkdtemp(prefix="asset-provenance-loopback-"))
        bundle = self._folder / "certificates.pem"
        # With those of everybody else: other programs of the same environment go on to work.
        bundle.write_bytes(authority.cert_pem.bytes() + b"\n" + Path(certifi.where()).read_bytes())
        self.environ = self._environment(bundle)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _service(self, path: str) -> Service:
        return self.codeocean if path.startswith(_CODE_OCEAN) else self.docdb

    def _environment(self, bundle: Path) -> dict[str, str]:
        direct = ",".join(filter(None, (os.environ.get("NO_PROXY"), HOST, "127.0.0.1")))
        return {
            "ASSET_PROVENANCE_DOCDB_HOST": f"{HOST}:{self.port}",
            "ASSET_PROVENANCE_OFFLINE": "false",
            "REQUESTS_CA_BUNDLE": str(bundle),
            "NO_PROXY": direct,
            "no_proxy": direct,
            "CODEOCEAN_DOMAIN": f"https://{HOST}:{self.port}",
            "CODEOCEAN_TOKEN": self.token,
            "AWS_ACCESS_KEY_ID": f"AKIA{secrets.token_hex(8).upper()}",
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
            "AWS_DEFAULT_REGION": "us-west-2",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def _ask_for_extra() -> None:
    """Refuse where the libraries of the extra are missing."""
    from importlib.util import find_spec  # noqa: PLC0415 - rarely needed

    missing = [name for name in ("mongomock", "trustme") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the loopback services need {' and '.join(missing)}: "
            'pip install "asset-provenance[testing]"'
        )
