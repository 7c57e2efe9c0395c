"""Objects in S3 that s3fs reads and writes, and through it fsspec, pandas, zarr and others.

Everything s3fs asks of S3 goes through one method, which runs in a thread of fsspec's but in the
context of the caller. Only what is really fetched is read: a list or a question is none. Local
files are opened by fsspec in Python and seen there.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import wrapt

from asset_provenance.capture.files import Access, saw
from asset_provenance.patching import Patches

__all__ = ["watch"]

_ACCESS = {
    "get_object": Access.READ,
    "put_object": Access.REPLACE,
    "complete_multipart_upload": Access.REPLACE,
    "copy_object": Access.REPLACE,
    "delete_object": Access.REMOVE,
}


def watch(patches: Patches) -> None:
    """See the objects that s3fs reads and writes, until the patches are undone."""
    patches.when_imported("s3fs.core", partial(_watch_requests, patches))


def _watch_requests(patches: Patches, module: Any) -> None:
    patches.wrap(
        module.S3FileSystem, "_call_s3", lambda held: wrapt.FunctionWrapper(held, _requesting)
    )


async def _asked(asking: Any, operation: Any, given: dict[str, Any]) -> Any:
    answer = await asking
    with contextlib.suppress(Exception):  # the answer is the user's, whatever we cannot see
        _tell(operation, given)
    return answer


def _requesting(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    asking = wrapped(*args, **kwargs)
    operation = args[0] if args else kwargs.get("method")
    if operation not in _ACCESS and operation != "upload_part_copy":
        return asking
    given: dict[str, Any] = {}
    for each in args[1:]:
        given.update(each)
    return _asked(asking, operation, given | kwargs)


def _tell(operation: str, given: dict[str, Any]) -> None:
    source = given.get("CopySource")
    if isinstance(source, dict):
        source = f"{source['Bucket']}/{source['Key']}"
    if source is not None:
        saw(f"s3://{source.lstrip('/').partition('?versionId=')[0]}", Access.READ)
    if operation in _ACCESS:
        saw(f"s3://{given['Bucket']}/{given['Key']}", _ACCESS[operation])
