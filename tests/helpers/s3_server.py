"""As much of S3 as its clients need to read, write and list: on loopback, by its real protocol."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

__all__ = ["S3Server", "serve_s3"]


class S3Server(ThreadingHTTPServer):
    """Buckets in memory.

    Attributes
    ----------
    objects
        By their bucket and key, with a slash between them.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serve_s3() -> Iterator[S3Server]:
    """Serve S3 while the block is open."""
    server = S3Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Print nothing."""

    def do_GET(self) -> None:
        """Give an object or a part of it, or list a bucket."""
        key, query = self._asked()
        if "list-type" in query:
            self._list(key.partition("/")[0], query)
            return
        if "/" not in key:
            held = any(place.startswith(f"{key}/") for place in self.server.objects)
            self._send(200 if held else 404, b"")
            return
        data = self.server.objects.get(key)
        if data is None:
            self._refuse(404, "NoSuchKey")
            return
        span = self.headers.get("Range", "")
        if not span:
            self._send(200, data, ETag=_etag(data))
            return
        first, _, last = span.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(data) - int(last))
        end = min(int(last) + 1, len(data)) if first and last else len(data)
        if start >= len(data):
            self._refuse(416, "InvalidRange")
            return
        area = f"bytes {start}-{end - 1}/{len(data)}"
        self._send(206, data[start:end], **{"Content-Range": area, "ETag": _etag(data)})

    do_HEAD = do_GET  # noqa: N815 - the base's name

    def do_PUT(self) -> None:
        """Take an object, a part of one, or a copy."""
        key, query = self._asked()
        data = self._body()
        if "uploadId" in query:
            self.server.parts[query["uploadId"]][int(query["partNumber"])] = data
            self._send(200, b"", ETag=_etag(data))
            return
        source = self.headers.get("x-amz-copy-source")
        if source is not None:
            data = self.server.objects[unquote(source).lstrip("/")]
        self.server.objects[key] = data
        done = f"<CopyObjectResult><ETag>{_etag(data)}</ETag></CopyObjectResult>"
        self._send(200, done.encode() if source else b"", ETag=_etag(data))

    def do_POST(self) -> None:
        """Begin or complete an upload in parts."""
        key, query = self._asked()
        self._body()
        bucket, _, name = key.partition("/")
        place = f"<Bucket>{bucket}</Bucket><Key>{escape(name)}</Key>"
        if "uploads" in query:
            number = str(len(self.server.parts))
            self.server.parts[number] = {}
            text = f"{place}<UploadId>{number}</UploadId>"
            self._send(200, _xml("InitiateMultipartUploadResult", text))
            return
        parts = self.server.parts.pop(query["uploadId"])
        data = b"".join(parts[number] for number in sorted(parts))
        self.server.objects[key] = data
        self._send(200, _xml("CompleteMultipartUploadResult", f"{place}<ETag>{_etag(data)}</ETag>"))

    def do_DELETE(self) -> None:
        """Remove an object."""
        key, _ = self._asked()
        self.server.objects.pop(key, None)
        self._send(204, b"")

    def _asked(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        return unquote(parts.path).lstrip("/"), {name: given[0] for name, given in query.items()}

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = _unchunked(self.rfile)
            while self.rfile.readline().strip():
                pass
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        is_chunked_again = "aws-chunked" in self.headers.get("Content-Encoding", "")
        return _unchunked(io.BytesIO(body)) if is_chunked_again else body

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        folders, text = set(), ""
        for place, data in sorted(self.server.objects.items()):
            held, _, key = place.partition("/")
            if held != bucket or not key.startswith(prefix):
                continue
            rest = key.removeprefix(prefix)
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                continue
            text += (
                f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
                f"<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f"<ETag>{_etag(data)}</ETag><StorageClass>STANDARD</StorageClass></Contents>"
            )
        for folder in sorted(folders):
            text += f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
        count = text.count("<Contents>") + len(folders)
        head = f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{count}</KeyCount>"
        self._send(200, _xml("ListBucketResult", f"{head}<IsTruncated>false</IsTruncated>{text}"))

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, _xml("Error", f"<Code>{code}</Code><Message>{code}</Message>"))

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _unchunked(stream: io.BufferedIOBase) -> bytes:
    found = b""
    while length := int(stream.readline().partition(b";")[0] or b"0", 16):
        found += stream.read(length)
        stream.readline()
    return found


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _xml(name: str, text: str) -> bytes:
    return f'<?xml version="1.0"?><{name}>{text}</{name}>'.encode()
