"""The metadata database's API gateway: queries, signed writes, registration of assets."""

from __future__ import annotations

import copy
import json
import re
import uuid
import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from asset_provenance.corefiles import CORE_FILES, DATA_DESCRIPTION, LEGACY_FILES, file_name
from asset_provenance.testing.server import Answer, Refusal, Request, Service

if TYPE_CHECKING:
    from asset_provenance.testing.codeocean import CodeOceanService
    from asset_provenance.testing.storage import Buckets, Content, Files

__all__ = ["DocDbService"]

VERSIONS = ("v1", "v2")
_COLLECTION = "metadata_index/data_assets"
_MAX_PAYLOAD = 10_000_000
_LONGEST_URL = 8192
_SIGNATURE = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/\s]+/\d{8}/[^/\s]+/execute-api/aws4_request, *"
    r"SignedHeaders=[\w;-]+, *Signature=[0-9a-f]{64}"
)
_LOCATION = re.compile(r"s3://[^/\s]+(/\S+)?")
_TOO_LARGE = "Request Too Long: the answer is larger than the gateway passes on"
_RESULT_FIELDS = ("name", "co_asset_id", "co_computation_id")
_LINKS = {"v1": "external_links", "v2": "other_identifiers"}
_TIMES = {"v1": ("created", "last_modified"), "v2": ("_created", "_last_modified")}

Record = dict[str, Any]


class DocDbService(Service):
    """Records of data assets, in two versions that know nothing of each other.

    Attributes
    ----------
    max_payload : int
        Bytes of an answer that the gateway passes on.
    """

    def __init__(self, buckets: Buckets, codeocean: CodeOceanService) -> None:
        # Its driver uses what newer Pythons deprecate, which must not end a test of the user's.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import mongomock  # noqa: PLC0415 - of the extra, and slow

        super().__init__()
        self.max_payload = _MAX_PAYLOAD
        self._buckets = buckets
        self._codeocean = codeocean
        self._collections: dict[str, Any] = {
            version: mongomock.MongoClient().metadata_index.data_assets for version in VERSIONS
        }
        self._operations = {
            ("GET", ""): self._get,
            ("GET", "/find"): self._find,
            ("GET", "/count_documents"): self._count,
            ("POST", "/aggregate"): self._aggregate,
        }
        self._writes = {
            ("POST", "/insert_one"): self._insert_one,
            ("POST", "/update_one"): self._update_one,
            ("POST", "/bulk_write"): self._bulk_write,
            ("DELETE", "/delete_one"): self._delete_one,
            ("DELETE", "/delete_many"): self._delete_many,
        }

    @property
    def records(self) -> list[Record]:
        """Copies of the records of version v2, in the order in which they came."""
        return self.records_of("v2")

    def records_of(self, version: str) -> list[Record]:
        """Give copies of the records of a version of the API."""
        with self._lock:
            return list(self._collections[version].find())

    def add_records(self, records: Iterable[Mapping[str, Any]], version: str = "v2") -> None:
        """Put records into the database; one without an ``_id`` is given one."""
        with self._lock:
            for record in records:
                self._insert(version, dict(record))

    def put_files(self, location: str, files: Content) -> None:
        """Put files where an asset to register lies, such as ``"s3://bucket/prefix"``.

        Parameters
        ----------
        location
            Of the asset.
        files
            By their paths there: bytes, text, or a value that becomes JSON.
        """
        self._buckets.put(location, files)

    def handle(self, request: Request) -> Answer:
        """Answer a request."""
        if len(request.target) > _LONGEST_URL:
            raise Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, "the URL is longer than 8 KB")
        version, _, path = request.path.strip("/").partition("/")
        if version not in VERSIONS:
            raise Refusal(HTTPStatus.NOT_FOUND, "Not Found")
        if path.startswith("assets/"):
            return self._assets(version, path.removeprefix("assets/"), request)
        if path != _COLLECTION and not path.startswith(f"{_COLLECTION}/"):
            raise Refusal(HTTPStatus.NOT_FOUND, "Not Found")
        key = (request.method, path.removeprefix(_COLLECTION))
        collection = self._collections[version]
        if key in self._writes:
            _ask_signature(request)
            return _mongo(lambda: self._writes[key](version, _json(request)))
        if key not in self._operations:
            known = {path for _, path in (*self._operations, *self._writes)}
            if key[1] in known:
                raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Method Not Allowed")
            raise Refusal(HTTPStatus.NOT_FOUND, "Not Found")
        return _mongo(lambda: self._operations[key](collection, request))

    # Reading

    def _get(self, collection: Any, request: Request) -> Answer:
        return self._passed_on(_query(collection, request))

    def _find(self, collection: Any, request: Request) -> Answer:
        """Give as many of the records as the gateway passes on."""
        passed, size = [], 2
        found = _query(collection, request)
        for record in found:
            size += len(json.dumps(record, default=str)) + 2
            if size > self.max_payload:
                break
            passed.append(record)
        # An empty list would say that there are none.
        return Answer(value=passed) if passed else self._passed_on(found)

    def _count(self, collection: Any, request: Request) -> Answer:
        query = _parameter(request, "filter") or {}
        return Answer(
            value={
                "total_record_count": collection.count_documents({}),
                "filtered_record_count": collection.count_documents(query),
            }
        )

    def _aggregate(self, collection: Any, request: Request) -> Answer:
        pipeline = _json(request)
        if not isinstance(pipeline, list) or not all(isinstance(stage, dict) for stage in pipeline):
            raise Refusal(HTTPStatus.BAD_REQUEST, "the pipeline must be a list of stages")
        if _writes(pipeline):
            raise Refusal(HTTPStatus.FORBIDDEN, "only pipelines that read are allowed")
        return self._passed_on(list(collection.aggregate(pipeline)))

    def _passed_on(self, records: list[Record]) -> Answer:
        answer = Answer(value=records)
        if len(answer.encoded()) > self.max_payload:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
        return answer

    # Writing

    def _insert(self, version: str, record: Record) -> str:
        record = copy.deepcopy(record)
        record.setdefault("_id", str(uuid.uuid4()))
        self._collections[version].insert_one(record)
        return str(record["_id"])

    def _insert_one(self, version: str, body: Any) -> Answer:
        if not isinstance(body, dict):
            raise Refusal(HTTPStatus.BAD_REQUEST, "a record must be a JSON object")
        return Answer(value={"acknowledged": True, "inserted_id": self._insert(version, body)})

    def _update_one(self, version: str, body: Any) -> Answer:
        query, update = _fields(body, "filter", "update")
        upsert = str(body.get("upsert", "False")) == "True"
        result = self._collections[version].update_one(query, update, upsert=upsert)
        return Answer(
            value={
                "acknowledged": True,
                "matched_count": result.matched_count,
                "modified_count": result.modified_count,
                "upserted_id": result.upserted_id,
            }
        )

    def _bulk_write(self, version: str, body: Any) -> Answer:
        if not isinstance(body, list):
            raise Refusal(HTTPStatus.BAD_REQUEST, "the operations must be a list")
        for operation in body:
            if not isinstance(operation, dict) or list(operation) != ["UpdateOne"]:
                raise Refusal(HTTPStatus.BAD_REQUEST, "the operation UpdateOne is known, no other")
            _fields(operation["UpdateOne"], "filter", "update")
        for operation in body:
            self._update_one(version, operation["UpdateOne"])
        return Answer(value={"acknowledged": True, "operations": len(body)})

    def _delete_one(self, version: str, body: Any) -> Answer:
        (query,) = _fields(body, "filter")
        return Answer(
            value={"deleted_count": self._collections[version].delete_one(query).deleted_count}
        )

    def _delete_many(self, version: str, body: Any) -> Answer:
        (query,) = _fields(body, "filter")
        return Answer(
            value={"deleted_count": self._collections[version].delete_many(query).deleted_count}
        )

    # Registration

    def _assets(self, version: str, action: str, request: Request) -> Answer:
        methods = {"register": "POST", "deregister": "DELETE"}
        if action not in methods:
            raise Refusal(HTTPStatus.NOT_FOUND, "Not Found")
        if request.method != methods[action]:
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Method Not Allowed")
        _ask_signature(request)
        body = _json(request)
        location = body.get("s3_location") if isinstance(body, dict) else None
        if not isinstance(location, str) or not _LOCATION.fullmatch(location):
            raise Refusal(HTTPStatus.BAD_REQUEST, "s3_location must be a URL as s3://bucket/prefix")
        if action == "register":
            return self._register(version, location.rstrip("/"), body)
        return self._deregister(version, location.rstrip("/"))

    def _register(self, version: str, location: str, body: Mapping[str, Any]) -> Answer:
        given = [name for name in _RESULT_FIELDS if name in body]
        unknown = sorted(body.keys() - {"s3_location", *_RESULT_FIELDS})
        if unknown or (given and len(given) < len(_RESULT_FIELDS)):
            told = f"s3_location alone, or with {', '.join(_RESULT_FIELDS)}"
            raise Refusal(HTTPStatus.BAD_REQUEST, f"the body must hold {told}")
        if given:
            files = self._codeocean.result(body["co_asset_id"], body["co_computation_id"])
            asset_id = body["co_asset_id"]
        else:
            files = self._buckets.get(location)
            asset_id = None
        core_files = _core_files(files, location)
        name = body.get("name") or core_files[DATA_DESCRIPTION].get("name")
        name = name or location.rpartition("/")[2]
        if asset_id is None:
            asset_id = self._codeocean.asset_at(location, name)
        return self._store(
            version, location, _record(version, name, location, asset_id, core_files)
        )

    def _store(self, version: str, location: str, record: Record) -> Answer:
        collection = self._collections[version]
        created, modified = _TIMES[version]
        before = collection.find_one({"location": location})
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record |= {created: now, modified: now}
        if before is None:
            record_id, done = self._insert(version, record), "Inserted new"
        else:
            record_id, done = before["_id"], "Updated existing"
            record[created] = before.get(created, now)
            collection.update_one({"_id": record_id}, {"$set": record})
        return Answer(
            value={
                "statusCode": 200,
                "message": f"{done} DocDB record for {location}.",
                "docdb_record_id": record_id,
                "co_asset_id": record[_LINKS[version]]["Code Ocean"][0],
            }
        )

    def _deregister(self, version: str, location: str) -> Answer:
        found = self._collections[version].find_one_and_delete({"location": location})
        if found is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"there is no DocDB record for {location}")
        for asset_id in (found.get(_LINKS[version]) or {}).get("Code Ocean", []):
            self._codeocean.forget(asset_id)
        message = f"Deleted DocDB record for {location}."
        return Answer(
            value={"statusCode": 200, "message": message, "docdb_record_id": found["_id"]}
        )


def _ask_signature(request: Request) -> None:
    if not _SIGNATURE.fullmatch(request.header("Authorization")):
        raise Refusal(HTTPStatus.FORBIDDEN, "Missing Authentication Token")


def _json(request: Request) -> Any:
    if request.body is None:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body is not JSON")
    return request.body


def _parameter(request: Request, name: str) -> Any:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} must be a JSON object")
    return value


def _query(collection: Any, request: Request) -> list[Record]:
    numbers = {name: request.query.get(name) or "0" for name in ("limit", "skip")}
    for name, text in numbers.items():
        if not text.isdecimal():
            raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} must be a whole number")
    found = collection.find(_parameter(request, "filter") or {}, _parameter(request, "projection"))
    sort = _parameter(request, "sort")
    if sort:
        found = found.sort(list(sort.items()))
    return list(found.skip(int(numbers["skip"])).limit(int(numbers["limit"])))


def _fields(body: Any, *names: str) -> list[dict[str, Any]]:
    values: list[dict[str, Any]] = []
    for name in names:
        value = body.get(name) if isinstance(body, dict) else None
        if not isinstance(value, dict):
            raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} must be a JSON object")
        values.append(value)
    return values


def _mongo(operation: Any) -> Answer:
    """Carry out an operation; what the database refuses is the client's fault."""
    from mongomock import OperationFailure  # noqa: PLC0415 - as above

    try:
        answer: Answer = operation()
    except (OperationFailure, NotImplementedError, ValueError, TypeError) as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None
    return answer


def _writes(value: Any) -> bool:
    """Whether a pipeline, or one inside it, writes."""
    if isinstance(value, dict):
        return bool(value.keys() & {"$out", "$merge"}) or any(map(_writes, value.values()))
    return isinstance(value, list) and any(map(_writes, value))


def _core_files(files: Files, location: str) -> dict[str, Any]:
    """Read the core files of an asset."""
    found: dict[str, Any] = {}
    for core_file in (*CORE_FILES, *LEGACY_FILES):
        content = files.get(file_name(core_file))
        if content is None:
            continue
        try:
            found[core_file] = json.loads(content)
        except (ValueError, RecursionError):
            text = f"{file_name(core_file)} at {location} is not JSON"
            raise Refusal(HTTPStatus.BAD_REQUEST, text) from None
    if not isinstance(found.get(DATA_DESCRIPTION), dict):
        text = f"there is no {file_name(DATA_DESCRIPTION)} at {location}"
        raise Refusal(HTTPStatus.BAD_REQUEST, text)
    return found


def _record(
    version: str, name: str, location: str, asset_id: str, core_files: Mapping[str, Any]
) -> Record:
    names = CORE_FILES if version == "v2" else (*CORE_FILES, *LEGACY_FILES)
    return {
        "object_type": "Metadata",
        "schema_version": core_files[DATA_DESCRIPTION].get("schema_version"),
        "name": name,
        "location": location,
        _LINKS[version]: {"Code Ocean": [asset_id]},
        **{core_file: core_files.get(core_file) for core_file in names},
    }
