"""What Code Ocean holds: computations, and the data assets that are made of them or lie in S3."""

from __future__ import annotations

import copy
import hashlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from asset_provenance.testing.server import Refusal, Service
from asset_provenance.testing.storage import below, read_files, read_folder

if TYPE_CHECKING:
    from asset_provenance.testing.storage import Buckets, Content, Files

__all__ = ["Asset", "Computation", "Holdings", "Shown", "refused"]

_MACHINE = re.compile(r"^/*(?:root/capsule/)?")
_LOCATION = re.compile(r"s3://(?P<bucket>[^/]+)/?(?P<prefix>.*)")

Shown = dict[str, Any]
"""Something as the API shows it."""
_Held = TypeVar("_Held")


@dataclass
class Asset:
    """A data asset, and what nobody is shown of it."""

    shown: Shown
    files: Files
    looks: float
    """How often it is looked at before it is no draft any more."""
    failure: str | None = None
    archived: bool = False
    permissions: Shown = field(default_factory=dict)

    @property
    def is_external(self) -> bool:
        """Whether its files stay where they are."""
        return bool(self.shown.get("source_bucket", {}).get("external"))

    def look(self) -> None:
        """Go on with what is being made."""
        if self.shown["state"] != "draft":
            return
        if self.looks >= 1:
            self.looks -= 1
            return
        if self.failure is not None:
            self.shown |= {"state": "failed", "failure_reason": self.failure}
            return
        size = sum(map(len, self.files.values()))
        self.shown |= {"state": "ready", "files": len(self.files), "size": size}


@dataclass
class Computation:
    """A computation and its files."""

    shown: Shown
    made_from: Shown
    """What its results are told to be made from."""
    files: Callable[[], Files]


class Holdings(Service):
    """Computations and data assets of one user, whatever asks for them.

    Attributes
    ----------
    polls_until_ready : float
        How often a data asset is seen as a draft before it is ready; ``math.inf``: always. It
        counts for data assets that are created from then on, as does ``failure_reason``.
    failure_reason : str or None
        Why data assets become ``failed`` instead of ready.
    """

    def __init__(self, buckets: Buckets) -> None:
        super().__init__()
        self.polls_until_ready: float = 1
        self.failure_reason: str | None = None
        self._buckets = buckets
        self._owner = str(uuid.uuid4())
        self._assets: dict[str, Asset] = {}
        self._computations: dict[str, Computation] = {}
        self._capsules: dict[str, Shown] = {}
        self._pipelines: dict[str, Shown] = {}

    @property
    def assets(self) -> list[Shown]:
        """Copies of the data assets, in the order in which they were created."""
        with self._lock:
            return [copy.deepcopy(asset.shown) for asset in self._assets.values()]

    # What is there before anybody asks

    def add_computation(
        self,
        id: str | None = None,  # noqa: A002 - the API's own name
        *,
        files: Content | None = None,
        folder: str | os.PathLike[str] | None = None,
        state: str = "completed",
        cloud_workstation: bool = False,
        capsule: str | None = None,
        commit: str | None = None,
        run_script: str | None = None,
        docker_image: str | None = None,
        data_assets: Iterable[Mapping[str, str]] = (),
        **fields: Any,
    ) -> str:
        """Add a computation, with what lies in its results.

        Parameters
        ----------
        id
            By default a new one.
        files
            By their paths in the results: bytes, text, or a value that becomes JSON. Of a cloud
            workstation, by their paths on it, such as ``"/results/units/spikes.csv"``.
        folder
            A folder with the files instead. Of a cloud workstation, the folder is where it is,
            and is read when something is made of it.
        state
            ``"initializing"``, ``"running"``, ``"finalizing"``, ``"completed"``, ``"failed"``.
        cloud_workstation
            Whether it is a session, which people work in.
        capsule, commit, run_script, docker_image
            What ran; the capsule may be a pipeline that was added.
        data_assets
            What was attached: ``{"id": ..., "mount": ...}``.
        **fields
            More of the fields that the API has for a computation.

        Returns
        -------
        str
            Its id.
        """
        identity = id or str(uuid.uuid4())
        if folder is None:
            held = read_files(files or {})
            own: Callable[[], Files] = lambda: held  # noqa: E731 - one of two
        elif cloud_workstation:
            own = lambda: _where_it_is(Path(folder))  # noqa: E731
        else:
            held = read_folder(Path(folder))
            own = lambda: held  # noqa: E731
        attached = [dict(one) for one in data_assets]
        made_from = {
            "commit": commit,
            "run_script": run_script,
            "docker_image": docker_image,
            "capsule": capsule,
            "data_assets": [one["id"] for one in attached] or None,
            "computation": identity,
        }
        shown = {
            "id": identity,
            "created": int(time.time()),
            "name": f"Run {len(self._computations) + 1}",
            "owner": self._owner,
            "run_time": 60,
            "state": state,
            "cloud_workstation": cloud_workstation,
            "data_assets": attached,
        }
        if state in {"completed", "failed"}:
            succeeded = state == "completed"
            shown |= {
                "end_status": "succeeded" if succeeded else "failed",
                "exit_code": 0 if succeeded else 1,
                "has_results": bool(own()),
            }
        with self._lock:
            self._computations[identity] = Computation(
                shown | fields, {name: one for name, one in made_from.items() if one}, own
            )
            if capsule is not None and capsule not in self._capsules | self._pipelines:
                self.add_capsule(capsule)
        return identity

    def add_capsule(self, id: str, **fields: Any) -> None:  # noqa: A002 - the API's own name
        """Add a capsule; those that computations ran are added with them.

        Parameters
        ----------
        id
            Of the capsule.
        **fields
            More of the fields that the API has for it.
        """
        with self._lock:
            self._capsules[id] = self._new_capsule(id) | fields

    def add_pipeline(self, id: str, **fields: Any) -> None:  # noqa: A002 - the API's own name
        """Add a pipeline, as :meth:`add_capsule` adds a capsule."""
        with self._lock:
            self._pipelines[id] = self._new_capsule(id) | fields

    def add_result(self, computation_id: str, name: str, **fields: Any) -> str:
        """Add a data asset that was made of the results of a computation, and is ready.

        Parameters
        ----------
        computation_id
            Of a computation that was added.
        name
            Of the data asset.
        **fields
            Other values for the fields that the API has for it.

        Returns
        -------
        str
            Its id.
        """
        with self._lock:
            form = {"name": name, "mount": name, "tags": []}
            asset = self._make(form, *self._from_results({"id": computation_id}))
            asset.looks, asset.failure = 0, None
            asset.look()
            asset.shown |= fields
            return str(asset.shown["id"])

    def _new_capsule(self, id: str) -> Shown:  # noqa: A002 - as above
        return {
            "id": id,
            "created": int(time.time()),
            "name": f"Capsule {id}",
            "status": "non_release",
            "owner": self._owner,
            "slug": f"{int.from_bytes(hashlib.sha256(id.encode()).digest()[:3]) % 10**7:07d}",
        }

    # What the metadata database asks, when it registers an asset

    def result(self, asset_id: Any, computation_id: Any) -> Files:
        """Give the files of a data asset that a computation made."""
        with self._lock:
            asset = self._assets.get(asset_id) if isinstance(asset_id, str) else None
            if asset is None:
                raise refused(f"there is no data asset {asset_id} in Code Ocean")
            if asset.shown.get("provenance", {}).get("computation") != computation_id:
                raise refused(f"the data asset {asset_id} is not of computation {computation_id}")
            if asset.shown["state"] != "ready":
                raise refused(f"the data asset {asset_id} is not ready: {asset.shown['state']}")
            return asset.files

    def asset_at(self, location: str, name: str) -> str:
        """Give the id of the external data asset at a location, which is made if need be."""
        found = _LOCATION.fullmatch(location)
        bucket, prefix = (found["bucket"], found["prefix"]) if found else (location, "")
        with self._lock:
            for asset in self._assets.values():
                held = asset.shown.get("source_bucket", {})
                if asset.is_external and (held["bucket"], held["prefix"]) == (bucket, prefix):
                    return str(asset.shown["id"])
            source = {"bucket": bucket, "prefix": prefix, "keep_on_external_storage": True}
            asset = self._make({"name": name, "mount": name, "tags": []}, *self._from_aws(source))
            asset.looks, asset.failure = 0, None
            asset.look()
            return str(asset.shown["id"])

    def forget(self, asset_id: str) -> None:
        """Remove a data asset, if it is there."""
        with self._lock:
            self._assets.pop(asset_id, None)

    def _found(self, several: Mapping[str, _Held], identity: str, what: str) -> _Held:
        if identity not in several:
            raise Refusal(HTTPStatus.NOT_FOUND, f"there is no {what} {identity}")
        return several[identity]

    # Making data assets

    def _make(self, form: Shown, told: Shown, files: Files, failure: str | None) -> Asset:
        now = int(time.time())
        shown: Shown = {
            "id": str(uuid.uuid4()),
            "created": now,
            "name": form["name"],
            "mount": form["mount"],
            "last_used": now,
            "owner": self._owner,
            "state": "draft",
            "tags": form["tags"],
            **{name: form[name] for name in ("description", "custom_metadata") if name in form},
            **told,
        }
        asset = Asset(shown, files, self.polls_until_ready, self.failure_reason or failure)
        self._assets[shown["id"]] = asset
        return asset

    def _from_aws(self, source: Shown) -> tuple[Shown, Files, str | None]:
        bucket, prefix = source["bucket"], source.get("prefix", "").strip("/")
        location = f"s3://{bucket}/{prefix}".rstrip("/")
        files = self._buckets.get(location)
        external = source.get("keep_on_external_storage", False)
        held = {"origin": "aws", "bucket": bucket, "prefix": prefix, "external": external}
        failure = None if files else f"there are no files at {location}"
        return {"type": "dataset", "source_bucket": held}, files, failure

    def _from_results(self, source: Shown) -> tuple[Shown, Files, str | None]:
        computation = self._found(self._computations, source["id"], "computation")
        if computation.shown["state"] != "completed":
            told = f"computation {source['id']} is not completed: {computation.shown['state']}"
            raise refused(told)
        return self._captured(computation, computation.files(), source.get("path", ""))

    def _from_session(self, source: Shown) -> tuple[Shown, Files, str | None]:
        computation = self._found(self._computations, source["id"], "computation")
        if not computation.shown["cloud_workstation"]:
            raise refused(f"computation {source['id']} is no cloud workstation")
        if computation.shown["state"] != "running":
            raise refused(f"the cloud workstation {source['id']} is not running")
        files = {_MACHINE.sub("", path): data for path, data in computation.files().items()}
        path = _MACHINE.sub("", source["path"])
        told, captured, failure = self._captured(computation, files, path)
        if "run_script" in source:
            told["provenance"]["run_script"] = source["run_script"]
        else:
            told["type"] = "dataset"
        return told, captured, failure

    def _captured(
        self, computation: Computation, files: Files, path: str
    ) -> tuple[Shown, Files, str | None]:
        captured = below(files, path)
        if not captured:
            where = f"the folder {path}" if path.strip("/") else "results"
            raise refused(f"computation {computation.shown['id']} has no {where}")
        told: Shown = {
            "type": "result",
            "provenance": copy.deepcopy(computation.made_from),
            "source_bucket": {"origin": "local"},
        }
        if computation.shown.get("parameters"):
            told["app_parameters"] = [
                {"name": one.get("name"), "value": one.get("value")}
                for one in computation.shown["parameters"]
            ]
        return told, captured, None


def refused(message: str) -> Refusal:
    """Give the refusal of a request that asks for what is not possible."""
    return Refusal(HTTPStatus.BAD_REQUEST, message)


def _where_it_is(folder: Path) -> Files:
    place = folder.resolve().as_posix()
    return {f"{place}/{path}": data for path, data in read_folder(folder).items()}
