"""Objects in S3 that s3fs reads and writes, and through it fsspec, pandas, zarr and others.

Everything s3fs asks of S3 goes through one method, which runs in a thread of fsspec's but in the
context of the caller; files that are being written call its twin for programs that do not wait.
Only what is really fetched is read: a list or a question is none. Local files are opened by
fsspec in Python and seen there.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import wrapt

from asset_provenance.capture.files import Access, saw
from asset_provenance.capture.libraries.wrapping import Tell, telling
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
    files = module.S3FileSystem
    patches.wrap(files, "_call_s3", lambda held: wrapt.FunctionWrapper(held, _requesting))
    # Made of the method when the class was, so that it calls what that was then.
    patches.wrap(files, "call_s3", lambda held: telling(held, _requested))


def _requested(_instance: Any, args: Any, kwargs: Any) -> Tell:
    return lambda _answer: _tell(args, kwargs)


def _requesting(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    return _asked(wrapped(*args, **kwargs), args, kwargs)


async def _asked(asking: Any, args: Any, kwargs: Any) -> Any:
    answer = await asking
    with contextlib.suppress(Exception):  # the answer is the user's, whatever we cannot see
        _tell(args, kwargs)
    return answer


def _tell(args: Any, kwargs: Any) -> None:
    operation, *groups = args
    given = dict(kwargs)
    for group in groups:
        given = {**group, **given}
    source = given.get("CopySource")
    if isinstance(source, dict):
        source = f"{source['Bucket']}/{source['Key']}"
    if source is not None:
        saw(f"s3://{source.lstrip('/').partition('?versionId=')[0]}", Access.READ)
    if operation in _ACCESS:
        saw(f"s3://{given['Bucket']}/{given['Key']}", _ACCESS[operation])
