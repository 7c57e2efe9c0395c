"""Code Ocean's API, as its SDK asks it."""

from __future__ import annotations

import base64
import binascii
import copy
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from asset_provenance.testing import forms
from asset_provenance.testing.holdings import Holdings, refused
from asset_provenance.testing.searching import matches, page_of, sorted_as
from asset_provenance.testing.server import Answer, Refusal, Request
from asset_provenance.testing.storage import listing

if TYPE_CHECKING:
    from asset_provenance.testing.storage import Buckets, Files

__all__ = ["CodeOceanService"]

_API = "/api/v1/"

_Operation = Callable[..., Answer]


class CodeOceanService(Holdings):
    """Code Ocean, with one user.

    Attributes
    ----------
    token : str
        The access token that it takes.
    url : str
        Where it is.
    """

    def __init__(self, buckets: Buckets, *, token: str) -> None:
        super().__init__(buckets)
        self.token = token
        self.url = ""
        self._key = secrets.token_bytes(32)
        self._operations: dict[tuple[str, str], _Operation] = {
            ("POST", "data_assets"): self._create,
            ("POST", "data_assets/search"): self._search,
            ("GET", "data_assets/*"): self._get,
            ("PUT", "data_assets/*"): self._update,
            ("DELETE", "data_assets/*"): self._delete,
            ("GET", "data_assets/*/permissions"): self._permissions,
            ("POST", "data_assets/*/permissions"): self._share,
            ("PATCH", "data_assets/*/archive"): self._archive,
            ("POST", "data_assets/*/files"): self._asset_files,
            ("GET", "data_assets/*/files/urls"): self._asset_urls,
            ("GET", "computations/*"): self._computation,
            ("POST", "computations/*/results"): self._results,
            ("GET", "computations/*/results/urls"): self._result_urls,
            ("GET", "capsules/*"): self._capsule,
            ("GET", "capsules/*/computations"): self._computations_of,
            ("GET", "pipelines/*"): self._pipeline,
        }

    def handle(self, request: Request) -> Answer:
        """Answer a request."""
        if request.path.startswith("/files/"):
            return self._download(request)
        self._ask_token(request)
        parts = request.path.removeprefix(_API).strip("/").split("/")
        if not request.path.startswith(_API):
            raise Refusal(HTTPStatus.NOT_FOUND, "not found")
        shape, identities = "/".join(parts), parts[:0]
        if len(parts) > 1 and (request.method, shape) not in self._operations:
            shape, identities = "/".join([parts[0], "*", *parts[2:]]), parts[1:2]
        operation = self._operations.get((request.method, shape))
        if operation is None:
            if any(shape == known for _, known in self._operations):
                raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed")
            raise Refusal(HTTPStatus.NOT_FOUND, "not found")
        if request.method in {"POST", "PUT"}:
            _ask_json(request)
        return operation(request, *identities)

    def _ask_token(self, request: Request) -> None:
        """Refuse whoever does not give the token as the name of a user; never repeat it."""
        kind, _, encoded = request.header("Authorization").partition(" ")
        try:
            user = base64.b64decode(encoded, validate=True).partition(b":")[0]
        except (ValueError, binascii.Error):
            user = b""
        if kind.lower() != "basic" or not hmac.compare_digest(user, self.token.encode()):
            raise Refusal(HTTPStatus.UNAUTHORIZED, "the access token is not valid")

    # Data assets

    def _create(self, request: Request) -> Answer:
        form = forms.filled(forms.CREATE, request.body)
        _check_names(form)
        if form.get("data_asset_ids") or "target" in form or "results_info" in form:
            raise refused(
                "data_asset_ids, target and results_info are not imitated by this service"
            )
        sources = form.get("source", {})
        if len(sources) != 1:
            raise refused("source must hold exactly one of aws, computation, cloud_workstation")
        ((kind, source),) = sources.items()
        if kind == "gcp":
            raise refused("source.gcp is not imitated by this service")
        made = {
            "aws": self._from_aws,
            "computation": self._from_results,
            "cloud_workstation": self._from_session,
        }[kind](source)
        return Answer(value=copy.deepcopy(self._make(form, *made).shown))

    def _search(self, request: Request) -> Answer:
        wanted = forms.filled(forms.SEARCH, request.body)
        archived = wanted.get("archived", False)
        found = [
            asset.shown
            for asset in self._assets.values()
            if asset.archived == archived and matches(asset.shown, wanted)
        ]
        return Answer(value=copy.deepcopy(page_of(sorted_as(found, wanted), wanted)))

    def _get(self, _: Request, asset_id: str) -> Answer:
        asset = self._found(self._assets, asset_id, "data asset")
        asset.look()
        return Answer(value=copy.deepcopy(asset.shown))

    def _update(self, request: Request, asset_id: str) -> Answer:
        asset = self._found(self._assets, asset_id, "data asset")
        form = forms.filled(forms.UPDATE, request.body)
        _check_names(form)
        asset.shown |= form
        return Answer(value=copy.deepcopy(asset.shown))

    def _delete(self, _: Request, asset_id: str) -> Answer:
        self._found(self._assets, asset_id, "data asset")
        del self._assets[asset_id]
        return Answer(HTTPStatus.NO_CONTENT)

    def _permissions(self, _: Request, asset_id: str) -> Answer:
        return Answer(value=self._found(self._assets, asset_id, "data asset").permissions)

    def _share(self, request: Request, asset_id: str) -> Answer:
        asset = self._found(self._assets, asset_id, "data asset")
        asset.permissions = forms.filled(forms.PERMISSIONS, request.body)
        return Answer(HTTPStatus.NO_CONTENT)

    def _archive(self, request: Request, asset_id: str) -> Answer:
        asset = self._found(self._assets, asset_id, "data asset")
        wanted = request.query.get("archive", "").lower()
        if wanted not in {"true", "false"}:
            raise refused("archive must be true or false")
        asset.archived = wanted == "true"
        return Answer(HTTPStatus.NO_CONTENT)

    # Files

    def _asset_files(self, request: Request, asset_id: str) -> Answer:
        return _listed(self._files_of(asset_id), request)

    def _asset_urls(self, request: Request, asset_id: str) -> Answer:
        return self._urls("data_assets", asset_id, self._files_of(asset_id), request)

    def _files_of(self, asset_id: str) -> Files:
        asset = self._found(self._assets, asset_id, "data asset")
        if asset.is_external:
            raise refused(f"the files of the data asset {asset_id} are not in Code Ocean")
        if asset.shown["state"] != "ready":
            raise refused(f"the data asset {asset_id} is not ready")
        return asset.files

    def _results(self, request: Request, computation_id: str) -> Answer:
        return _listed(self._results_of(computation_id), request)

    def _result_urls(self, request: Request, computation_id: str) -> Answer:
        files = self._results_of(computation_id)
        return self._urls("computations", computation_id, files, request)

    def _results_of(self, computation_id: str) -> Files:
        computation = self._found(self._computations, computation_id, "computation")
        if computation.shown["state"] != "completed":
            raise refused(f"computation {computation_id} is not completed")
        return computation.files()

    def _urls(self, kind: str, identity: str, files: Files, request: Request) -> Answer:
        path = request.query.get("path", "").strip("/")
        if path not in files:
            raise Refusal(HTTPStatus.NOT_FOUND, f"there is no file {path}")
        place = f"/files/{kind}/{identity}/{path}"
        url = f"{self.url}{quote(place)}?signature={self._signature(place)}"
        return Answer(value={"download_url": url, "view_url": url})

    def _download(self, request: Request) -> Answer:
        """Give a file to whoever has its signed URL."""
        signature = request.query.get("signature", "")
        if not hmac.compare_digest(signature.encode(), self._signature(request.path).encode()):
            raise Refusal(HTTPStatus.FORBIDDEN, "the signature is not valid")
        _, _, kind, identity, path = request.path.split("/", 4)
        files = self._files_of if kind == "data_assets" else self._results_of
        return Answer(content=files(identity)[path], content_type="application/octet-stream")

    def _signature(self, place: str) -> str:
        return hmac.new(self._key, place.encode(), hashlib.sha256).hexdigest()

    # Computations and capsules

    def _computation(self, _: Request, computation_id: str) -> Answer:
        return Answer(value=self._found(self._computations, computation_id, "computation").shown)

    def _capsule(self, _: Request, capsule_id: str) -> Answer:
        return Answer(value=self._found(self._capsules, capsule_id, "capsule"))

    def _pipeline(self, _: Request, pipeline_id: str) -> Answer:
        return Answer(value=self._found(self._pipelines, pipeline_id, "pipeline"))

    def _computations_of(self, _: Request, capsule_id: str) -> Answer:
        self._found(self._capsules, capsule_id, "capsule")
        several = self._computations.values()
        return Answer(
            value=[one.shown for one in several if one.made_from.get("capsule") == capsule_id]
        )


def _ask_json(request: Request) -> None:
    kind = request.header("Content-Type").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json")


def _check_names(form: Mapping[str, Any]) -> None:
    """Refuse a name that is empty, and a mount that is no name of a single folder."""
    if "name" in form and not form["name"].strip():
        raise refused("name is empty")
    mount = form.get("mount", "data")
    if not mount.strip() or "/" in mount or mount in {".", ".."}:
        raise refused("mount must be the name of a folder")


def _listed(files: Files, request: Request) -> Answer:
    path = forms.filled(forms.FOLDER, request.body).get("path", "")
    items = listing(files, path)
    if not items and path.strip("/"):
        raise Refusal(HTTPStatus.NOT_FOUND, f"there is no folder {path}")
    return Answer(value={"items": items})
