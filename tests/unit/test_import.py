"""Invariant 7: importing the package and calling a tracked function outside an asset is cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest

import asset_provenance

HEAVY = ("pydantic", "aind_data_schema", "git", "psutil", "filelock", "platformdirs", "numpy")


@pytest.mark.parametrize(
    "code",
    [
        "import asset_provenance",
        "from asset_provenance import *",
        "from asset_provenance import track_process\n@track_process\ndef f(): return 1\nf()",
        "from asset_provenance import DerivedAsset; DerivedAsset('label')",
    ],
)
def test_importing_and_decorating_loads_no_heavy_library(code: str) -> None:
    program = f"{code}\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "[]\n"


def test_the_package_gives_its_public_names_and_no_others() -> None:
    assert sorted(asset_provenance.__all__) == [
        "ActiveProcess",
        "AssemblyError",
        "DerivedAsset",
        "ExternalAsset",
        "PreflightError",
        "ProcessRecord",
        "ProvenanceError",
        "ServiceError",
        "StorageError",
        "UsageError",
        "__version__",
        "current_process",
        "track_process",
    ]
    for name in asset_provenance.__all__:
        assert getattr(asset_provenance, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = asset_provenance.nothing


def test_every_error_is_a_provenance_error() -> None:
    for name in asset_provenance.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(asset_provenance, name), asset_provenance.ProvenanceError)
