"""The page of an asset in a file of its own, which replaces nothing but a page."""

from __future__ import annotations

import os
import re
import shlex
from importlib.metadata import version
from pathlib import Path

from asset_provenance.errors import StorageError, UsageError
from asset_provenance.reading import read_view
from asset_provenance.report.page import page
from asset_provenance.views import AssetView
from asset_provenance.wholefile import write_whole

__all__ = ["make_page", "write_page"]

_OURS = b'<meta name="generator" content="asset-provenance '
_HEAD = 2000


def make_page(folder: Path) -> str:
    """Read an asset, check it, and give its page.

    Parameters
    ----------
    folder
        The asset's folder.

    Raises
    ------
    UsageError, StorageError
        If there is no asset, or it cannot be read.
    """
    return _page(read_view(folder))


def write_page(folder: Path, output: Path | None) -> Path:
    """Write the page of an asset.

    Parameters
    ----------
    folder
        The asset's folder.
    output
        The file; without it, one in the working folder that is named after the asset.

    Returns
    -------
    Path
        Where it is.

    Raises
    ------
    UsageError, StorageError
        If there is no asset, the file would be among its data or replace something else, or cannot
        be written.
    """
    view = read_view(folder)
    if output is None:
        _refuse_inside(folder)
        output = Path(f"{_as_file_name(view.name)}-provenance.html")
    _refuse_others(output)  # at once: the check of an asset takes a while
    text = _page(view)
    try:
        write_whole(output, text)
    except OSError as error:
        raise StorageError(
            f"{output} cannot be written: {error.strerror or error}; give another file: "
            "--output FILE.html"
        ) from error
    return output


def _page(view: AssetView) -> str:
    from asset_provenance.metadata.folder_checks import check_folder  # noqa: PLC0415 - slow

    return page(view, check_folder(view.folder), version("asset-provenance"))


def _refuse_inside(folder: Path) -> None:
    here, asset = Path.cwd().resolve(), folder.resolve()
    if here == asset or asset in here.parents:
        raise UsageError(
            "the working folder is inside the asset, which a new file would change; say where the "
            "page is to be: --output ../provenance.html"
        )


def _refuse_others(output: Path) -> None:
    if output.is_dir():
        page = shlex.quote(str(output / "page.html"))
        raise UsageError(f"{output} is a folder; name a file in it: --output {page}")
    if output.suffix.lower() not in ("", ".html", ".htm"):
        page = shlex.quote(str(output.with_suffix(".html")))
        raise UsageError(
            f"the page is HTML, and {output} has the name of something else: --output {page} (a "
            "browser prints it as PDF)"
        )
    if not os.path.lexists(output):
        if not output.absolute().parent.is_dir():
            parent = output.parent
            raise UsageError(
                f"there is no folder {parent}: make it with mkdir -p {shlex.quote(str(parent))}"
            )
        return
    try:
        is_ours = output.is_file() and _OURS in _beginning(output)
    except OSError as error:
        raise StorageError(f"{output} cannot be read: {error.strerror or error}") from error
    if not is_ours:
        raise UsageError(
            f"{output} is there already, and is no page of this command: remove it, or give "
            "another file: --output FILE.html"
        )


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _as_file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.\-]+", "_", name).strip("._")[:150] or "asset"
