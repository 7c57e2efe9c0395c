"""An asset that was started and never finished is told when the program ends.

``start()`` has no block whose end would be seen: without this, a notebook whose last cell was never
run would leave no metadata and not a word of it. It is only told: whether the work was done is not
for us to say, and what was recorded stays in the journal.
"""

from __future__ import annotations

import atexit
import logging
import shlex

from asset_provenance.recorder import open_recorders

__all__ = ["watch"]

_log = logging.getLogger("asset_provenance")


def watch() -> None:
    """Have the end of this program tell which assets are still open then."""
    # Registered last, so that it is told before anything that the log needs is taken down.
    atexit.unregister(_tell)
    atexit.register(_tell)


def _tell() -> None:
    for recorder in tuple(open_recorders):
        if recorder.is_begun_here:  # else it is another program's to finish
            _log.warning(
                "the run %s was started and never finished, so no metadata were written; its "
                "record is kept in %s; call finish() at the end, or see what can be made of the "
                "record with: asset-provenance recover %s",
                recorder.block._record.name,
                recorder.journal.folder,
                shlex.quote(str(recorder.output_dir)),
            )
