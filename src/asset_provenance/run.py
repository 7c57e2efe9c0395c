"""One opening of an asset: from the check of its facts to the writing of its files."""

from __future__ import annotations

import getpass
import logging
import os
import shlex
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asset_provenance import observing, signals, unfinished
from asset_provenance.capture import parameters as capture_parameters
from asset_provenance.capture.inputs import ResolvedInput
from asset_provenance.capture.notebook import is_notebook
from asset_provenance.capture.resources import Sampler
from asset_provenance.capture.sourcefiles import ask_ahead
from asset_provenance.corefiles import MANIFEST
from asset_provenance.errors import AssemblyError, PreflightError, ProvenanceError, UsageError
from asset_provenance.folder import OutputFolder
from asset_provenance.journal import Journal
from asset_provenance.liveline import LiveLine
from asset_provenance.options import default_stage
from asset_provenance.packagelist import finish_list
from asset_provenance.process import STILL_RUNNING, Outcome, Start, describe, outcome
from asset_provenance.recorder import Recorder, leave, open_recorders
from asset_provenance.records import AssetRecord, ProcessRecord, ProcessStatus
from asset_provenance.request import Opening, Request
from asset_provenance.treeanswers import TreeAnswer, TreeAsker

if TYPE_CHECKING:
    from asset_provenance.capture.commandcode import CommandCode
    from asset_provenance.capture.gitahead import AskedAhead
    from asset_provenance.plan import Plan

__all__ = ["Run"]

Arguments = Mapping[str, Any]

_TREE_TIME = 20.0
"""Seconds that the end of a run waits for the ids of folders of code, which began at its start."""

_MOST_INTERRUPTS = 10

_log = logging.getLogger("asset_provenance")


class Run:
    """An asset that is being recorded.

    Parameters
    ----------
    request
        What was asked for.
    function, arguments, file, command
        As :class:`asset_provenance.request.Opening` has them.

    Raises
    ------
    UsageError, PreflightError, StorageError
        If the run cannot start; then nothing was changed on disk.
    """

    def __init__(
        self,
        request: Request,
        *,
        function: Callable[..., Any] | None = None,
        arguments: Arguments | None = None,
        file: str = "",
        command: CommandCode | None = None,
    ) -> None:
        self._request = request
        self._opening = Opening(request, function, arguments or {}, file, command)
        self._late_inputs: list[ResolvedInput] = []
        self._given_processes: list[dict[str, Any]] = []
        self.is_open, self.is_written = True, False
        # Git looks at every file of the work tree: while it does, the schema is imported.
        ahead = ask_ahead(file, function, self._opening.main)
        try:
            self._begin(ahead)
        finally:
            ahead.end()

    def _begin(self, ahead: AskedAhead) -> None:
        is_of_command = self._opening.command is not None
        self.plan = self._prepare()
        is_known = self.plan.inputs is not None or self._request.is_fragment
        self.name = self.plan.name(self.plan.inputs or ()) if is_known else None
        self.recorder = self._record(ahead)
        self._sampler = Sampler(only_children=is_of_command)
        self._sampler.start()
        self.recorder.usage = self._sampler.slice
        self._token = self.recorder.open()
        observing.begin(self.recorder)
        wanted = self.plan.settings.live
        if wanted and is_of_command:
            wanted = None  # no row of the terminal is ours while a command has it
        self._line = LiveLine(wanted, self.recorder, lambda: self._sampler.memory)
        signals.watch(self)
        unfinished.watch()

    @property
    def output_dir(self) -> Path:
        """The folder that the asset is written to."""
        return self.plan.output_dir

    def _prepare(self) -> Plan:
        """Find every fault before anything is recorded; take the output folder and its journal."""
        from asset_provenance import preflight  # noqa: PLC0415 - brings the schema

        request = self._request
        plan = self._opening.plan()
        _refuse_open_folder(plan.output_dir)
        self._folder = OutputFolder(plan.output_dir)
        try:
            preflight.check_folder(plan, overwrite=request.overwrite)
            preflight.find_core_dependency(plan)
            preflight.prepare(
                plan,
                inputs=self._opening.inputs(),
                reference_inputs=self._opening.reference_inputs(),
            )
            if plan.problems:
                raise PreflightError(
                    f"the run {request.process_name} was not started; mend this first:",
                    plan.problems,
                    plan.advice,
                )
            self.parameters = self._opening.parameters()
            self.journal = Journal(plan.output_dir)
        except BaseException:
            plan.close()
            self._folder.abandon()
            raise
        return plan

    def _record(self, ahead: AskedAhead) -> Recorder:
        plan, request, opening = self.plan, self._request, self._opening
        self._trees = TreeAsker(self.journal.place, (plan.data_root, plan.output_dir))
        identifier = plan.identifier(self._trees.begin, ahead, opening.main)
        code, plan.main_code = opening.identify(identifier)
        plan.surroundings = identifier.surroundings()
        self.journal.asset(_asset_record(plan))
        process_type = request.process_type or "Analysis"
        roots = str(plan.data_root), str(plan.output_dir)
        recorder = Recorder(
            output_dir=plan.output_dir,
            data_root=plan.data_root,
            resolver=plan.resolver,
            identifier=identifier,
            journal=self.journal,
            max_repeats=plan.settings.number("max_repeats", default=100),
            block=Start(
                name=request.process_name,
                process_type=process_type,
                stage=default_stage(process_type),
                code=code,
                parameters=capture_parameters.safe_parameters(self.parameters, roots=roots) or None,
                inputs=tuple(plan.resolver.find_paths(opening.arguments)),
            ),
        )
        if opening.command is not None:
            self.journal.imported = _nothing  # what this program imports is none of the command's
        return recorder

    def add_inputs(self, refs: tuple[object, ...]) -> None:
        """Add primary inputs while the run goes on; warn where they change what is inherited."""
        from asset_provenance import preflight  # noqa: PLC0415 - as above

        found = [self.recorder.resolve(ref) for ref in refs]
        self.recorder.block.add_inputs(*refs)
        self._late_inputs.extend(found)
        for item in found:
            if item.ref is not None:
                self.journal.input(item.ref)
        preflight.warn_of_changed_case(self.plan, found)

    def add_process(self, process: object) -> None:
        """Take in a process in the schema's own object."""
        from asset_provenance.metadata.given import given_process  # noqa: PLC0415 - as above

        known = list(self.plan.given.values.get("pipelines", ()))
        known += [code for one in self._given_processes for code in one.get("pipelines") or ()]
        self._take(given_process(process, known))

    def add_processing(self, processing: object) -> None:
        """Take in processes in the schema's own object."""
        from asset_provenance.metadata.given import given_processing  # noqa: PLC0415 - as above

        self._take(given_processing(processing))

    def _take(self, given: dict[str, Any]) -> None:
        self._given_processes.append(given)
        self.journal.given(given)

    def close(self, error: BaseException | None) -> None:
        """End the recording; write the metadata, or keep the record of a run that failed."""
        if self.recorder.process_id != os.getpid():
            return  # a forked child leaves its parent's block; the asset is the parent's to write
        self._end(outcome(error), STILL_RUNNING, is_raising=error is not None)

    def end(self, how: Outcome) -> None:
        """End the recording of a command, however that ended."""
        self._end(how, STILL_RUNNING, is_raising=False)

    def abandon(self) -> None:
        """Leave no trace: the command could not be started."""
        self.is_open = False
        self._stop_observing()
        self.recorder.close(STILL_RUNNING, STILL_RUNNING)
        self._sampler.stop()
        leave(self._token)
        signals.forget(self)
        self.plan.close()
        self._trees.end()
        self.journal.remove()
        self._folder.abandon()

    def tell_signal(self, name: str) -> None:
        """Note that a signal has come, which a handler of the user's deals with."""
        self.journal.signal(name)
        self.recorder.block.add_note(f"The program got {name}.")

    def terminate(self, name: str) -> None:
        """Complete the record: a signal is about to end the program."""
        if self.is_open:
            self.journal.signal(name)
            how = Outcome(ProcessStatus.INTERRUPTED, name, f"Ended by {name}.")
            self._end(how, how, is_raising=True)

    def _end(self, how: Outcome, running: Outcome, *, is_raising: bool) -> None:
        self.is_open = False
        try:
            interrupted = self._stop_observing()
            block = self.recorder.close(how, running)
            self._sampler.stop()
            leave(self._token)
            is_complete = block.status is ProcessStatus.COMPLETED
            if is_complete or self._request.on_failure == "write":
                self._write(block, is_raising=is_raising)
            else:
                self._keep(block)
        finally:
            signals.forget(self)
            self.plan.close()
            self._trees.leave()
            self._folder.give_back()
            self._line.end()
        if interrupted is not None and not is_raising:
            raise interrupted

    def _stop_observing(self) -> KeyboardInterrupt | None:
        """Take all hooks away; a Ctrl-C meanwhile is heard once the record is complete."""
        interrupted = None
        for _ in range(_MOST_INTERRUPTS):
            try:
                observing.end(self.recorder)
            except KeyboardInterrupt as error:
                interrupted = error
            else:
                break
        return interrupted

    def _package_list(self) -> bytes | None:
        with suppress(Exception):  # it costs the list
            self.journal.write_imported()
        folders = dict.fromkeys((self.journal.folder, self.journal.run_folder))
        return finish_list(folders, self.recorder.identifier.work_tree)

    def _keep(self, block: ProcessRecord) -> None:
        with suppress(Exception):  # as above
            self.journal.write_imported()
        self.journal.close(block.status)
        earlier = (self.output_dir / MANIFEST).exists()
        _log.warning(
            "the run %s %s, so no metadata were written; its record is kept in %s%s; see what can "
            "be made of it with: asset-provenance recover %s",
            self._request.process_name,
            "failed" if block.status is ProcessStatus.FAILED else "was interrupted",
            self.journal.folder,
            " (the metadata in the output folder are of an earlier run)" if earlier else "",
            shlex.quote(str(self.output_dir)),
        )

    def _write(self, block: ProcessRecord, *, is_raising: bool) -> None:
        from asset_provenance import assembly  # noqa: PLC0415 - as above

        try:
            # Before the patches: uncommitted changes of what was imported count, too.
            packages = self._package_list()
            assembled = assembly.assemble(
                self.plan,
                block,
                self.recorder.records,
                late_inputs=self._late_inputs,
                given=[*self._given_processes, *self.journal.given_to_other_writers()],
                folders=self.recorder.folders,
                patches=self.journal.patches() | self.recorder.patches,
                read_outside=self.recorder.files.read_outside,
                trees=self._tree_answers(block),
                packages=packages,
                run=self.journal.run_folder.name,
            )
            self.name = assembled.name
            assembly.write(
                self.output_dir,
                assembled,
                self.journal.run_folder,
                overwrite=self._request.overwrite,
            )
        except KeyboardInterrupt:
            self.journal.close("interrupted while the metadata were written")
            _log.warning("the record of the run is kept in %s", self.journal.folder)
            raise
        except Exception as problem:
            # The results are worth more than their metadata: the program goes on to its own end.
            self.journal.close("the metadata could not be written")
            told = problem if isinstance(problem, ProvenanceError) else describe(problem)
            _log.error(
                "the metadata of the run %s could not be written: %s",
                self._request.process_name,
                told,
            )
            _log.warning(
                "the record of the run is kept in %s: mend what is said above, and write the "
                "metadata with: asset-provenance recover %s --accept-failed",
                self.journal.folder,
                shlex.quote(str(self.output_dir)),
            )
            if self._request.strict and not is_raising:
                if isinstance(problem, ProvenanceError):
                    raise
                raise AssemblyError(
                    "the metadata could not be written:", [describe(problem)]
                ) from problem
        else:
            self._trees.end()
            self.journal.remove()
            self.is_written = True
            _log.info("wrote the metadata of %s to %s", self.name, self.output_dir)
            is_stage = self._request.is_fragment
            self._line.wrote(assembled.name, assembled.count, self.output_dir, is_stage=is_stage)

    def _tree_answers(self, block: ProcessRecord) -> dict[str, TreeAnswer]:
        codes = [self.plan.main_code, *(one.code for one in (block, *self.recorder.records))]
        folders = [code.tree for code in codes if code is not None and code.tree is not None]
        return self._trees.wait(folders, _TREE_TIME) if folders else {}


def _nothing(is_hurried: Callable[[], bool]) -> None:
    """Give nothing that this program has imported."""


def _refuse_open_folder(output_dir: Path) -> None:
    for recorder in open_recorders:
        if os.path.realpath(recorder.output_dir) == os.path.realpath(output_dir):
            if not recorder.is_begun_here:
                raise UsageError(
                    f"the run that this program was started by is open on {output_dir}, and "
                    "records this program and its tracked calls; leave out either that run (such "
                    "as asset-provenance run) or the DerivedAsset here, or give one of them "
                    "another output folder"
                )
            ran_again = "if its cell ran again, finish() the first or restart the kernel; else "
            raise UsageError(
                f"an asset is already open on the output folder {output_dir}; "
                f"{ran_again if is_notebook() else ''}give each asset a folder of its own: "
                'DerivedAsset(..., output_dir="...")'
            )


def _asset_record(plan: Plan) -> AssetRecord:
    user = ""
    with suppress(Exception):  # a container may know its user by number only
        user = getpass.getuser()
    return AssetRecord(
        process_name=plan.process_name,
        creation_time=plan.creation_time,
        output_dir=str(plan.output_dir),
        data_root=str(plan.data_root),
        inputs=None if plan.inputs is None else tuple(plan.groups),
        reference_inputs=tuple(plan.references),
        settings=plan.to_json(),
        host=socket.gethostname(),
        process_id=os.getpid(),
        user=user,
    )
