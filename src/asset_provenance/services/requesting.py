"""How a service is asked: within time and size, again where that is safe, and told in words."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from asset_provenance.errors import ServiceError
from asset_provenance.redaction import REDACTED, redact_text

if TYPE_CHECKING:
    import requests
    import tenacity

__all__ = [
    "Asker",
    "RefusedError",
    "UnansweredError",
    "bound",
    "if_seen",
    "may_pass",
    "pause",
    "read_answer",
    "status_of",
    "why_no_answer",
]

_TRIES = 4
_LONGEST_PAUSE = 30.0
_LARGEST_ANSWER = 64 * 1024 * 1024
_CHUNK = 1024 * 1024
_LONGEST_REASON = 300
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500

_log = logging.getLogger("asset_provenance")
_Answer = TypeVar("_Answer")


class RefusedError(ServiceError):
    """The service has refused; asking again would change nothing.

    Parameters
    ----------
    message
        What it refused, and why.
    status
        Its HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class UnansweredError(ServiceError):
    """No answer came that tells whether what was asked for has been done."""


def bound(session: requests.Session, seconds: float) -> None:
    """Let no request of a session wait for ever; by themselves, the clients set no limit.

    Parameters
    ----------
    session
        That of a client.
    seconds
        From the request to the end of its answer.
    """
    send = session.send

    def bounded_send(request: requests.PreparedRequest, **options: Any) -> requests.Response:
        # The hook reads the answer, before the client's own looks at it.
        limits = {**options, "timeout": seconds, "stream": True}
        return _within(seconds, lambda: send(request, **limits))

    def read(response: requests.Response, **_: Any) -> None:
        chunks = response.iter_content(_CHUNK)
        response._content = read_answer(chunks, time.monotonic() + seconds)

    session.send = bounded_send  # type: ignore[method-assign]
    session.hooks["response"] = [read, *session.hooks["response"]]


def _within(seconds: float, call: Callable[[], _Answer]) -> _Answer:
    """Wait for a call no longer than that: by itself, an answer that drips resets every clock."""
    import requests  # noqa: PLC0415 - slow

    answers: list[_Answer] = []
    failures: list[Exception] = []

    def work() -> None:
        try:
            answers.append(call())
        except Exception as error:  # noqa: BLE001 - goes to whoever waits
            failures.append(error)

    thread = threading.Thread(target=work, name="asset-provenance request", daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not answers:
        raise requests.Timeout("the answer did not come to its end")
    return answers[0]


def read_answer(chunks: Iterable[bytes], deadline: float) -> bytes:
    """Read an answer to its end, until a moment of the monotonic clock, and within a size."""
    import requests  # noqa: PLC0415 - slow

    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > _LARGEST_ANSWER:
            raise requests.RequestException(
                f"its answer has more than {_LARGEST_ANSWER // _CHUNK} MB"
            )
        if time.monotonic() > deadline:
            raise requests.Timeout("the answer did not come to its end")
    return bytes(content)


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks one service.

    Parameters
    ----------
    service
        What people call it.
    secrets
        What must not be told, whatever the service says.
    hints
        What to do about a refusal, by HTTP status.
    """

    service: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    hints: Mapping[int, str] = field(default_factory=dict)

    def ask(self, what: str, call: Callable[[], _Answer], *, once: bool = False) -> _Answer:
        """Ask, and again after a while where that may help.

        Parameters
        ----------
        what
            In words, for errors: "to give the data asset".
        call
            Of the service's own client.
        once
            Whether asking twice could do something twice: then it is asked again only after
            an answer, or a failure, that tells that nothing was done.

        Raises
        ------
        RefusedError
            If it was refused.
        UnansweredError
            If no usable answer came.
        """
        import tenacity  # noqa: PLC0415 - slow

        def may_help(error: BaseException) -> bool:
            if once:
                return status_of(error) == _TOO_MANY_REQUESTS or _was_not_sent(error)
            return may_pass(error)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(may_help),
            wait=pause,
            stop=tenacity.stop_after_attempt(_TRIES),
            before_sleep=lambda _: _log.info("%s is asked again %s", self.service, what),
            reraise=True,
        )
        try:
            return retrying(call)
        except Exception as error:  # noqa: BLE001 - the clients raise what they please
            raise self._told(what, error) from None  # theirs holds the request, token and all

    def _told(self, what: str, error: Exception) -> ServiceError:
        status = status_of(error)
        asked = f"{self.service} was asked {what}"
        if status is None:
            return UnansweredError(f"{asked}: {self.clean(why_no_answer(error))}")
        said = self.clean(_said(error))
        told = f"{asked} and answered {status}{f': {said}' if said else ''}"
        if status >= _SERVER_ERROR:
            return UnansweredError(told)
        hint = self.hints.get(status)
        return RefusedError(f"{told}; {hint}" if hint else told, status)

    def clean(self, text: str) -> str:
        """Make what a service says fit to be shown: in one line, bounded, without secrets."""
        text = text[: 10 * _LONGEST_REASON]
        for secret in self.secrets:
            text = text.replace(secret, REDACTED)
        return redact_text(" ".join(text.split()))[:_LONGEST_REASON]


def if_seen(ask: Callable[[], _Answer]) -> _Answer | None:
    """Give an answer; None where there is no such thing, or none that may be seen."""
    try:
        return ask()
    except RefusedError as error:
        if error.status not in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
            raise
        return None


def status_of(error: BaseException) -> int | None:
    """Give the HTTP status of a refusal, or None for any other failure."""
    own = getattr(error, "status_code", None)  # the Code Ocean SDK's
    if own is None:
        own = getattr(getattr(error, "response", None), "status_code", None)
    # What could not be read although it came with success tells of no failure, nor of success.
    return own if isinstance(own, int) and own >= 400 else None


def _was_not_sent(error: BaseException) -> bool:
    import requests  # noqa: PLC0415 - slow
    from urllib3.exceptions import NewConnectionError  # noqa: PLC0415 - as above

    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)


def may_pass(error: BaseException) -> bool:
    """Say whether the same request may do better a moment later."""
    import requests  # noqa: PLC0415 - slow

    status = status_of(error)
    if status is not None:
        return status == _TOO_MANY_REQUESTS or status >= _SERVER_ERROR
    if isinstance(error, requests.exceptions.SSLError):
        return False
    lost = requests.exceptions.ChunkedEncodingError
    return isinstance(error, requests.ConnectionError | requests.Timeout | lost)


def pause(state: tenacity.RetryCallState) -> float:
    """Wait longer each time, and at least as long as the service asks for, within reason."""
    import tenacity  # noqa: PLC0415 - slow

    error = state.outcome.exception() if state.outcome is not None else None
    response = getattr(getattr(error, "http_err", error), "response", None)
    told = getattr(response, "headers", {}).get("Retry-After", "")
    own = tenacity.wait_exponential(multiplier=0.3, max=5)(state) + tenacity.wait_random(0, 0.3)(
        state
    )
    return max(own, min(float(told), _LONGEST_PAUSE)) if told.isdecimal() else own


def _said(error: Exception) -> str:
    own = getattr(error, "message", None)  # the Code Ocean SDK's
    if isinstance(own, str):
        return own
    response = getattr(error, "response", None)
    return str(getattr(response, "text", "") or getattr(response, "reason", ""))


def why_no_answer(error: Exception) -> str:
    """Say in a few words why no answer came, or none that can be used."""
    import requests  # noqa: PLC0415 - slow

    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not one that this machine trusts"
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    if isinstance(error, requests.exceptions.JSONDecodeError) or not isinstance(
        error, requests.RequestException | OSError
    ):
        return "it answered with something that its client cannot read"
    innermost: BaseException = error
    for _ in range(10):
        inner = getattr(innermost, "reason", None) or innermost.__cause__ or innermost.__context__
        if not isinstance(inner, BaseException):
            break
        innermost = inner
    said = getattr(innermost, "strerror", None) or str(innermost)
    return f"the connection failed: {said}"
