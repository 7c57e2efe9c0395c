"""A library that is imported while an asset is open is seen as one that was there before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os
from asset_provenance.capture import libraries
from asset_provenance.capture.files import Watching

here = os.getcwd()
told = []

def watch(path, access, before):
    if path.startswith(here):
        told.append(f"{{os.path.basename(path)}} {{access}}")
    return False

watching = Watching(watch, lambda *_: None)
libraries.watch(watching.patches)
{use}
watching.stop()
told.append("stopped")
{again}
print("; ".join(told))
"""

USES = {
    "h5py": (
        "from h5py import File; File('a.h5', 'w').close(); File('a.h5').close()",
        "File('a.h5').close()",
        "a.h5 6; a.h5 1; stopped",
    ),
    "SimpleITK": (
        "from SimpleITK import Image, ReadImage, WriteImage;"
        "WriteImage(Image(2, 2, 1), 'a.mha'); ReadImage('a.mha')",
        "ReadImage('a.mha')",
        "a.mha 6; a.mha 1; stopped",
    ),
    "cv2": (
        "import numpy; from cv2 import FileStorage, imread, imwrite;"
        "imwrite('a.png', numpy.zeros((2, 2), 'u1')); imread('a.png');"
        "FileStorage('a.yml', 1).release()",
        "imread('a.png'); FileStorage('a.yml', 0).release()",
        "a.png 6; a.png 1; a.yml 6; stopped",
    ),
}


@pytest.mark.parametrize("library", USES)
def test_a_library_is_seen_from_its_import_until_the_asset_closes(library: str) -> None:
    use, again, expected = USES[library]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(use=use, again=again)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.strip() == expected
    assert list(Path().iterdir())


def test_nothing_is_imported_to_be_seen() -> None:
    use = "import sys; told += sorted({'h5py', 'SimpleITK', 'cv2', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(use=use, again="")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "stopped"
