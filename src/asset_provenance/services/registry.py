"""The metadata database, told of a new data asset through its own client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asset_provenance.errors import ServiceError
from asset_provenance.services.requesting import Asker, bound

__all__ = ["Record", "Registry", "known_record"]

_REGION = "us-west-2"
"""Where the database is; requests are signed for it where the user's settings name no region."""
_LINK = "Code Ocean"
_LINKS = ("other_identifiers", "external_links")
"""Where v2 and v1 of the schema have the identifiers of an asset elsewhere."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a data asset.

    Parameters
    ----------
    id, name, location
        Of the record, of the asset that it is about, and where the files of that are.
    asset_ids
        The data assets in Code Ocean that it names.
    """

    id: str
    name: str
    location: str
    asset_ids: tuple[str, ...]


class Registry:
    """The database at one place.

    Parameters
    ----------
    host, version
        Of its API.
    seconds
        For a single request.
    """

    def __init__(self, host: str, version: str, *, seconds: float) -> None:
        import boto3.session  # noqa: PLC0415 - slow
        import requests  # noqa: PLC0415 - slow
        from aind_data_access_api.document_db import MetadataDbClient  # noqa: PLC0415 - slow
        from botocore.exceptions import (  # noqa: PLC0415
            BotoCoreError,
            CredentialRetrievalError,
        )

        self.host = host
        session = requests.Session()
        bound(session, seconds)
        self._boto: Any = None
        self._fault = ""
        secrets: tuple[str, ...] = ()
        try:
            self._boto = boto3.session.Session()
            if self._boto.region_name is None:
                self._boto = boto3.session.Session(region_name=_REGION)
            found = self._boto.get_credentials()
            frozen = None if found is None else found.get_frozen_credentials()
            if frozen is None or not frozen.access_key or not frozen.secret_key:
                self._fault = "there are none"
            else:
                secrets = tuple(filter(None, (frozen.secret_key, frozen.token, frozen.access_key)))
        except CredentialRetrievalError as error:  # its text is what a program has printed
            self._fault = f"{error.kwargs.get('provider')} gave none"
        except BotoCoreError as error:
            self._fault = " ".join(str(error).split())
        self._client = MetadataDbClient(
            host=host, version=version, session=session, boto=self._boto
        )
        hints = {
            401: "the AWS credentials are not valid there",
            403: "the AWS credentials do not give the right to register data assets",
        }
        self._asker = Asker(f"the metadata database ({host})", secrets, hints)

    @property
    def missing_rights(self) -> str | None:
        """Why nothing can be registered from here, or None: only signed requests are taken."""
        return f"no AWS credentials ({self._asker.clean(self._fault)})" if self._fault else None

    def records(self, name: str, location: str | None = None) -> list[Record]:
        """Find the records of exactly this name, and any at a location."""
        fields = dict.fromkeys(("_id", "name", "location", *_LINKS), 1)
        places = [] if location is None else [location.rstrip("/"), f"{location.rstrip('/')}/"]
        match = {"$or": [{"name": name}, {"location": {"$in": places}}]}
        pipeline = [{"$match": match}, {"$project": fields}]
        found = self._asker.ask(
            f"for records of {name}",
            lambda: _checked(self._client.aggregate_docdb_records(pipeline=pipeline)),
        )
        return [
            _record(one)
            for one in found
            if one.get("name") == name or one.get("location") in places
        ]

    def register_result(
        self, location: str, *, name: str, asset_id: str, computation_id: str
    ) -> None:
        """Register what a computation made.

        Raises
        ------
        UnansweredError
            If nobody knows whether it was registered.
        """
        self._asker.ask(
            f"to register {name}",
            lambda: self._client.register_co_result(
                s3_location=location,
                name=name,
                co_asset_id=asset_id,
                co_computation_id=computation_id,
            ),
            once=True,
        )

    def register_external(self, location: str) -> None:
        """Register what lies in S3.

        Raises
        ------
        UnansweredError
            If nobody knows whether it was registered.
        """
        self._asker.ask(
            f"to register {location}", lambda: self._client.register_asset(location), once=True
        )


def known_record(
    registry: Registry, name: str, location: str | None, asset_id: str | None
) -> Record | None:
    """Find the record of an asset: by its place, or by the data asset that it names.

    Raises
    ------
    ServiceError
        If the record at that place is of another asset.
    """
    found = registry.records(name, location)
    for record in found:
        if record.location == location and record.name != name:
            raise ServiceError(
                f"the metadata database has the record {record.id} of {record.name} at {location}, "
                f"where {name} should be: look at what lies there, and have the record removed if "
                "it is wrong"
            )
    by_place = [record for record in found if record.location == location]
    by_id = [record for record in found if asset_id is not None and asset_id in record.asset_ids]
    return next(iter([*by_place, *by_id]), None)


def _checked(answer: Any) -> list[dict[str, Any]]:
    if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
        raise TypeError("not a list of records")
    return answer


def _record(found: dict[str, Any]) -> Record:
    ids: list[Any] = []
    for links in map(found.get, _LINKS):
        linked = links.get(_LINK) if isinstance(links, dict) else None
        ids += linked if isinstance(linked, list) else [linked]
    return Record(
        str(found.get("_id")),
        str(found.get("name")),
        str(found.get("location")).rstrip("/"),
        tuple(one for one in ids if isinstance(one, str)),
    )
