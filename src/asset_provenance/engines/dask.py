"""Tracked functions on a Dask cluster."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from asset_provenance.engines.dask_tasks import annotating, is_annotated, key_text
from asset_provenance.errors import UsageError
from asset_provenance.process import describe, redacted
from asset_provenance.recorder import innermost, recorder_of
from asset_provenance.records import RECORD_VERSION

if TYPE_CHECKING:
    from asset_provenance.process import ActiveProcess
    from asset_provenance.recorder import Recorder

__all__ = ["track_client"]

_LONGEST_WAIT = 10.0
"""Seconds that workers have, in the end, to send what they have recorded."""
_SHORTEST_WAIT = 1.0

_log = logging.getLogger("asset_provenance")


def track_client(client: Any) -> _TrackedClient:
    """Record tracked functions that run on a Dask cluster.

    ``with track_client(client):`` inside an open asset. Whatever the client submits in the block
    (``submit``, ``map``, ``compute``, ``persist``, and tasks that these submit) is recorded as if
    it ran here: inside the process that submitted it, with the data assets it read on the worker,
    and with an edge wherever Dask handed one task's result to another. The records come over the
    cluster's own connections; no folder need be shared. Workers that join later are included. What
    the cluster runs again is one process, with the lost attempt in its notes. The methods of
    an actor belong to the process that made it.

    Have the results before the block ends: what still runs then is interrupted in the record.
    Without an open asset it does nothing, as tracked functions do.

    Parameters
    ----------
    client
        A ``distributed.Client``, not an asynchronous one.

    Returns
    -------
    context manager
        Gives the client.

    Raises
    ------
    UsageError
        At once, if it is anything else.

    Examples
    --------
    >>> from asset_provenance import DerivedAsset
    >>> from asset_provenance.engines.dask import track_client
    >>> with DerivedAsset("rates"), track_client(client):  # doctest: +SKIP
    ...     rates = client.gather(client.map(firing_rates, sessions))
    """
    if not hasattr(client, "subscribe_topic") or not hasattr(client, "register_plugin"):
        raise UsageError(
            f"track_client takes a distributed.Client, not {type(client).__name__}: "
            "client = distributed.Client(...)"
        )
    if getattr(client, "asynchronous", False):
        raise UsageError(
            "track_client takes no asynchronous client; make one with "
            "distributed.Client(..., asynchronous=False) and use it on a thread"
        )
    return _TrackedClient(client)


class _TrackedClient:
    """What ``track_client(client)`` gives."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._session: _Session | None = None

    def __enter__(self) -> Any:
        """Begin to record what the client submits."""
        process = innermost()
        if process is not None:
            self._session = _Session(self._client, recorder_of(process), process)
            self._session.begin()
        return self._client

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Have what the workers have recorded, and leave the cluster as it was."""
        session, self._session = self._session, None
        if session is not None:
            session.end()


class _Session:
    """One asset on one client's cluster."""

    def __init__(self, client: Any, recorder: Recorder, process: ActiveProcess) -> None:
        from asset_provenance.engines.dask_records import Attempts  # noqa: PLC0415 - for a cluster

        self._client = client
        self._recorder = recorder
        self._process = process
        self._run = os.urandom(6).hex()
        self._topic = self._plugin = f"asset-provenance-{self._run}"
        self._attempts = Attempts(recorder)
        self._submissions = 0
        self._absent: set[str] = set()
        self._replaced: dict[str, Any] = {}

    def begin(self) -> None:
        """Follow the cluster."""
        from asset_provenance.engines.dask_worker import local_assets  # noqa: PLC0415 - as above

        client, attempts = self._client, self._attempts
        attempts.parent(self._process)
        local_assets[self._run] = attempts.find
        try:
            client.subscribe_topic(self._topic, self._handle)
            plugin = _make_plugin(self._asset())
            self._ask(client.register_plugin, _LONGEST_WAIT, plugin, name=self._plugin)
        except Exception as error:  # noqa: BLE001 - a worker may have been lost right now
            self._tell(f"Not all workers of the cluster could be followed: {describe(error)}")
        for name, make in (
            ("_graph_to_futures", self._submitting),
            ("submit", self._giving),
            ("_gather", self._gathering),
        ):
            self._replaced[name] = vars(client).get(name)
            setattr(client, name, make(getattr(client, name)))

    def end(self) -> None:
        """Wait for what workers have recorded, and follow the cluster no more."""
        from asset_provenance.engines.dask_worker import local_assets  # noqa: PLC0415 - as above

        client = self._client
        for name, before in self._replaced.items():
            if before is None:
                delattr(client, name)
            else:
                setattr(client, name, before)
        is_connected = client.status == "running"
        deadline = time.monotonic() + _LONGEST_WAIT
        workers = None
        if is_connected:
            workers = self._have_all(deadline)
        else:
            self._tell("The connection to the cluster was lost; what it had not sent is missing.")
        handlers = client._event_handlers
        handlers[self._topic] = lambda _event: None  # for what comes late
        self._attempts.finish(workers)
        local_assets.pop(self._run, None)
        if is_connected:
            try:
                # First: workers that let go send what they have.
                client.unsubscribe_topic(self._topic)
                # One that does not answer learns of it when it does.
                self._ask(client.unregister_worker_plugin, _left(deadline), self._plugin)
            except Exception as error:  # noqa: BLE001 - what there is has been recorded
                _log.info("a worker could not be told that it is not followed: %s", describe(error))
        handlers.pop(self._topic, None)

    def _ask(self, method: Callable[..., Any], seconds: float, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the client's, which by itself waits for ever for who is stopped."""
        return self._client.sync(method, *args, callback_timeout=seconds, **kwargs)

    def _asset(self) -> dict[str, Any]:
        return {
            **self._recorder.token(self._process._record.id),
            "run": self._run,
            "topic": self._topic,
            "version": RECORD_VERSION,
        }

    def _handle(self, event: tuple[float, Mapping[str, Any]]) -> None:
        message = event[1]
        if "absent" in message:
            self._not_followed(str(message["address"]), redacted(str(message["absent"])))
        else:
            self._attempts.inbox.take(message)

    def _not_followed(self, address: str, reason: str) -> None:
        if address not in self._absent:
            self._absent.add(address)
            self._tell(f"What ran on worker {address} is not recorded: {reason}")

    def _tell(self, text: str) -> None:
        _log.warning("%s", text)
        if not self._process._ended:
            self._process.add_note(text)

    def _submitting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def submit(*args: Any, **kwargs: Any) -> Any:
            if is_annotated():
                return original(*args, **kwargs)  # by an asset inside this one
            process = innermost()
            if process is None or process._owner is not self._recorder:
                process = self._process
            self._attempts.parent(process)
            self._submissions += 1
            with annotating(self._run, process._record.id, str(self._submissions)):
                return original(*args, **kwargs)

        return submit

    def _giving(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def submit(*args: Any, **kwargs: Any) -> Any:
            found = self._recorder.flows.find((*args, *kwargs.values()))
            future = original(*args, **kwargs)
            self._attempts.give(key_text(future.key), found)
            return future

        return submit

    def _gathering(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def gather(futures: Any, *args: Any, **kwargs: Any) -> Any:
            values = await original(futures, *args, **kwargs)
            try:
                self._tag(futures, values)
            except Exception:  # noqa: BLE001 - it costs an edge, never the results
                _log.warning("where results came from could not be recorded", exc_info=True)
            return values

        return gather

    def _tag(self, futures: Any, values: Any) -> None:
        """Take note of who returned what was fetched; it has the form of the futures."""
        if hasattr(futures, "key") and hasattr(futures, "client"):
            tags = self._attempts.results(key_text(futures.key))
            self._recorder.flows.tag(values, tags)
        elif isinstance(futures, dict) and isinstance(values, dict):
            for name, future in futures.items():
                if name in values:
                    self._tag(future, values[name])
        elif isinstance(futures, list | tuple) and len(futures) == len(values):
            for future, value in zip(futures, values, strict=True):
                self._tag(future, value)

    def _have_all(self, deadline: float) -> Collection[str] | None:
        """Wait, within limits, for what workers have recorded of tasks that are done.

        Returns
        -------
        collection or None
            The workers that are there; None if they could not be asked.
        """
        from asset_provenance.engines.dask_worker import flush  # noqa: PLC0415 - as above

        client = self._client
        missing: dict[str, str] = {}
        told: dict[str, int] = {}
        try:
            found = self._ask(client.run, _left(deadline), flush, self._run, on_error="return")
        except Exception as error:  # noqa: BLE001 - the cluster may be in any state
            missing["the cluster"] = describe(error)
            found = {}
        for address, answer in found.items():
            if answer is None:
                self._not_followed(address, "it was not told of the asset, or has forgotten it")
            elif isinstance(answer, dict):
                told.update(answer)
            elif isinstance(answer, BaseException) and address not in self._absent:
                missing[address] = describe(answer)
        if not self._attempts.inbox.wait_for(told, _left(deadline)):
            missing["the cluster"] = f"it did not send all within {_LONGEST_WAIT:g} s"
        for who, why in missing.items():
            self._tell(f"Not all that {who} recorded may be here: {why}")
        return None if "the cluster" in missing else found


def _left(deadline: float) -> float:
    return max(round(deadline - time.monotonic(), 1), _SHORTEST_WAIT)


def _make_plugin(asset: Mapping[str, Any]) -> Any:
    from distributed import WorkerPlugin  # noqa: PLC0415 - an extra

    # A class inside a function is sent by value: a worker without this package must not fail on it.
    class FollowTasks(WorkerPlugin):
        def __init__(self, asset: dict[str, Any]) -> None:
            self.asset = asset

        def setup(self, worker: Any) -> None:
            try:
                from asset_provenance import records  # noqa: PLC0415 - as above
                from asset_provenance.engines import dask_worker  # noqa: PLC0415 - its own

                if self.asset["version"] != records.RECORD_VERSION:
                    raise ImportError("another version of asset-provenance is installed there")
                dask_worker.join(worker, self.asset)
            except Exception as error:  # noqa: BLE001 - whatever is wrong there: it must start
                reason = f"{type(error).__name__}: {error}"
                if isinstance(error, ImportError):
                    reason += "; install the same asset-provenance there as here"
                told = {"absent": reason, "address": worker.address}
                worker.log_event(self.asset["topic"], told)

        def teardown(self, worker: Any) -> None:
            try:
                from asset_provenance.engines import dask_worker  # noqa: PLC0415 - as above
            except ImportError:
                return
            dask_worker.leave_asset(worker, self.asset["run"])

    return FollowTasks(dict(asset))
