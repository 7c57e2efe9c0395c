"""How a process or a run ended, as its notes tell: the schema has no place for it."""

from __future__ import annotations

import re

from asset_provenance.records import ProcessStatus

__all__ = ["ended_early", "status_in_notes"]

# Whole sentences of this package: notes of people begin with "Failed" or "Interrupted", too.
_FAILED = re.compile(r"(?m)^(?:Failed|The run failed): ")
_INTERRUPTED = re.compile(
    r"(?m)^Interrupted: |^The process that ran it ended before it had\."
    r"|^Ended by SIG[A-Z0-9]+\.|^Cancelled\.|^Closed before it had ended\."
    r"|^Still running (?:when the asset was closed|on the cluster when it was left)\."
    r"|^Worker \S+, on which it ran, was lost\."
)
_IN_PART = re.compile(r"further calls of .*, together one process\. \d+ of them failed")


def status_in_notes(notes: str | None) -> ProcessStatus:
    """Give how a process, or a run as a whole, ended.

    Parameters
    ----------
    notes
        Of it, as this package writes them; what others write there is not understood,
        and counts as the end of a process that was completed.
    """
    text = notes or ""
    if _FAILED.search(text):
        return ProcessStatus.FAILED
    if _INTERRUPTED.search(text):
        return ProcessStatus.INTERRUPTED
    return ProcessStatus.COMPLETED


def ended_early(notes: str | None) -> bool:
    """Say whether a process did not come to its end; of many alike calls, not always."""
    return (
        status_in_notes(notes) is not ProcessStatus.COMPLETED
        or _IN_PART.search(notes or "") is not None
    )
