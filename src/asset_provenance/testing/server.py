"""The HTTPS server of the loopback services: connections, certificates, faults.

It knows nothing of what is asked; a service answers. Everything that can go wrong between a client
and a service is here, so that a test can have it without a line in the services.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["Answer", "Fault", "HttpsServer", "Refusal", "Request", "Service"]

HOST = "localhost"
_ADDRESS = "127.0.0.1"
_POLL = 0.05
_PATIENCE = 10.0
"""Seconds that a thread has to end when the server closes; it needs a few milliseconds."""
_LONGEST_LINE = 65536
_LARGEST_BODY = 64 * 1024 * 1024


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with a request.

    Parameters
    ----------
    status
        Answer this status; nothing is done.
    body
        These bytes instead of the answer. Without ``status`` what was asked for is done, and the
        status is its own.
    headers
        Besides those of the answer.
    delay
        Seconds before the answer. What was asked for is done at once.
    drip
        Seconds between single bytes of the answer, from its first byte on.
    drop
        ``"before"``: close the connection without doing or answering anything. ``"after"``: do
        what was asked for, then close without an answer.
    content_type
        Of ``body``.
    """

    status: int | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float | None = None
    drop: Literal["before", "after"] | None = None
    content_type: str = "application/json"

    def __post_init__(self) -> None:
        if self.drop not in {None, "before", "after"}:
            raise ValueError(f'drop is {self.drop!r}; it can be "before", "after" or None')


@dataclass(frozen=True)
class Request:
    """A request as a service has seen it.

    Attributes
    ----------
    method, path
        As sent; the path without its query.
    query
        Parameters after the path.
    body
        The JSON that was sent, or None if there was none or it was not JSON.
    headers
        By their names as sent.
    content
        The bytes of the body.
    """

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]
    content: bytes = b""
    target: str = ""

    def header(self, name: str) -> str:
        """Give a header by its name in any case, or an empty text."""
        found = (value for key, value in self.headers.items() if key.lower() == name.lower())
        return next(found, "")


@dataclass(frozen=True)
class Answer:
    """What a service answers: JSON, or bytes as they are."""

    status: int = HTTPStatus.OK
    value: Any = None
    content: bytes | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """Give the body."""
        if self.content is not None:
            return self.content
        if self.status == HTTPStatus.NO_CONTENT:
            return b""
        return json.dumps(self.value, default=str).encode()


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """Ends the handling of a request with a status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, {"message": message})


@dataclass
class _Planned:
    fault: Fault
    times: int | None
    method: str | None
    path: str


class Service:
    """One of the services of a server: what it has seen, and the faults that it will have.

    Attributes
    ----------
    requests
        Everything that was asked so far, refused and dropped requests among it.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._lock = threading.RLock()
        self._planned: list[_Planned] = []

    def fail(
        self, fault: Fault, times: int | None = 1, *, method: str | None = None, path: str = ""
    ) -> None:
        """Let requests meet a fault.

        Parameters
        ----------
        fault
            What goes wrong.
        times
            How many of the next requests meet it; None: all that follow. Faults that were asked
            for earlier come first.
        method, path
            Only requests of this method, and whose path ends so, meet it.
        """
        with self._lock:
            self._planned.append(_Planned(fault, times, method, path))

    def heal(self) -> None:
        """Forget all faults still to come."""
        with self._lock:
            self._planned.clear()

    def receive(self, request: Request) -> Fault:
        """Take note of a request; give the fault that it meets, perhaps an empty one."""
        with self._lock:
            self.requests.append(request)
            for planned in self._planned:
                if planned.method not in {None, request.method}:
                    continue
                if not request.path.endswith(planned.path):
                    continue
                if planned.times is not None:
                    planned.times -= 1
                    if planned.times <= 0:
                        self._planned.remove(planned)
                return planned.fault
        return Fault()

    def answer(self, request: Request) -> Answer:
        """Do what is asked for, one request at a time."""
        try:
            with self._lock:
                return self.handle(request)
        except Refusal as refusal:
            return refusal.answer
        except Exception as error:  # noqa: BLE001 - a client of a server always gets an answer
            text = f"the loopback service failed: {type(error).__name__}: {error}"
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"message": text})

    def handle(self, request: Request) -> Answer:
        """Answer a request, or raise a :class:`Refusal`."""
        raise NotImplementedError


class HttpsServer(TCPServer):
    """An HTTPS server on loopback, with a thread for each connection.

    Parameters
    ----------
    tls
        With the server's certificate.
    route
        Gives the service that a path belongs to.
    port
        0 for any that is free.
    """

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, tls: ssl.SSLContext, route: Callable[[str], Service], port: int = 0) -> None:
        super().__init__((_ADDRESS, port), _Handler)
        self.closing = threading.Event()
        self.route = route
        self._tls = tls
        self._guard = threading.Lock()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._acceptor = threading.Thread(
            target=self.serve_forever, args=(_POLL,), name="loopback", daemon=True
        )
        self._acceptor.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def close(self) -> None:
        """End all connections and all threads."""
        self.closing.set()
        self.shutdown()
        self._acceptor.join(_PATIENCE)
        with self._guard:
            connections = dict(self._connections)
        for connection in connections.values():
            # Not the SSL socket's own: that one takes the TLS state away from the thread that
            # reads, and this one wakes it.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in connections:
            thread.join(_PATIENCE)
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; its handshake is for its own thread to wait for."""
        connection, address = super().get_request()
        return (
            self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False),
            address,
        )

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread."""
        thread = threading.Thread(
            target=self._converse, args=(request, client_address), name="loopback", daemon=True
        )
        with self._guard:
            self._connections[thread] = request
        thread.start()

    def _converse(self, request: ssl.SSLSocket, client_address: Any) -> None:
        try:
            with suppress(OSError, ValueError):  # the client, or we, left
                request.do_handshake()
                self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)
            with self._guard:
                del self._connections[threading.current_thread()]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HttpsServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Print nothing."""

    def send_error(
        self,
        code: int,
        message: str | None = None,
        explain: str | None = None,  # noqa: ARG002 - the base's
    ) -> None:
        """Refuse what is no HTTP, or too much of it."""
        if code == HTTPStatus.REQUEST_URI_TOO_LONG:
            # A connection that closes on unread bytes is reset, and the answer lost.
            while not self.rfile.readline(_LONGEST_LINE).endswith(b"\n"):
                pass
            while self.rfile.readline(_LONGEST_LINE).strip():
                pass
        self.close_connection = True
        self._send(Answer(code, {"message": message or HTTPStatus(code).phrase}), Fault())

    def _serve(self) -> None:
        content = self._content()
        if content is None:
            return
        request = _request(self, content)
        service = self.server.route(request.path)
        fault = service.receive(request)
        answer = None
        if fault.drop != "before":
            answer = _refused(fault) if fault.status else service.answer(request)
        self._wait(fault.delay)
        if answer is None or fault.drop is not None:
            self.close_connection = True
            return
        self._send(answer, fault)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base's names

    def _content(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or self.headers.get("Transfer-Encoding"):
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return None
        if int(length) > _LARGEST_BODY:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        return self.rfile.read(int(length))

    def _send(self, answer: Answer, fault: Fault) -> None:
        body, content_type = answer.encoded(), answer.content_type
        if fault.body is not None:
            body, content_type = fault.body, fault.content_type
        headers = {"Content-Type": content_type, **answer.headers, **fault.headers}
        if answer.status != HTTPStatus.NO_CONTENT:
            headers["Content-Length"] = str(len(body))
        if self.close_connection:
            headers["Connection"] = "close"
        lines = [
            f"{self.protocol_version} {int(answer.status)} {_phrase(answer.status)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        message = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        if fault.drip is None:
            self.wfile.write(message)
            return
        for byte in message:
            self.wfile.write(bytes([byte]))
            self._wait(fault.drip)

    def _wait(self, seconds: float) -> None:
        if seconds and self.server.closing.wait(seconds):
            raise ConnectionAbortedError("the server closes")


def _request(handler: _Handler, content: bytes) -> Request:
    parts = urlsplit(handler.path)
    body = None
    with suppress(ValueError, RecursionError):
        body = json.loads(content) if content else None
    return Request(
        method=handler.command,
        path=unquote(parts.path),
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        body=body,
        headers=dict(handler.headers.items()),
        content=content,
        target=handler.path,
    )


def _refused(fault: Fault) -> Answer:
    status = fault.status or HTTPStatus.INTERNAL_SERVER_ERROR
    return Answer(status, {"message": _phrase(status)})


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
