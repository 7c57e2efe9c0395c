"""Checks a written set of metadata files against aind-data-schema, as a whole and file by file."""

from __future__ import annotations

import functools
import importlib
import json
import warnings
from pathlib import Path
from typing import Any

from asset_provenance.corefiles import CORE_FILES, file_name


def validate_set(folder: Path) -> dict[str, Any]:
    """Give what each core file in a folder says, by its field name, once all of it is right.

    Each file must be valid under its model, all of them together as one record, the name must be
    that of a derived asset, and our own checks, those of the ``check`` command too, must find
    nothing wrong.
    """
    found = {name: path for name in CORE_FILES if (path := folder / file_name(name)).exists()}
    models = {name: read_core_file(path) for name, path in found.items()}
    description, processing = models["data_description"], models.get("processing")
    parse_derived_name(description.name)
    checks = _imported("asset_provenance.metadata.checks")
    faults = checks.check_description(description)
    if processing is not None:
        faults += checks.check_processing(processing)
    assert faults == []
    findings = _imported("asset_provenance.metadata.folder_checks").check_folder(folder)
    assert [finding for finding in findings if finding.severity == "error"] == []
    one_record(models)
    return {name: json.loads(path.read_bytes()) for name, path in found.items()}


def read_core_file(path: Path) -> Any:
    """Read a core file through its model, which must accept it without a warning."""
    model = "".join(word.capitalize() for word in path.stem.split("_"))
    return getattr(_imported(f"aind_data_schema.core.{path.stem}"), model).model_validate_json(
        path.read_bytes()
    )


def one_record(models: dict[str, Any]) -> Any:
    """Put core files together as the one ``Metadata`` record that a database holds."""
    name = models["data_description"].name
    metadata = _imported("aind_data_schema.core.metadata").Metadata
    with warnings.catch_warnings():
        # What is made from several acquisitions has no instrument to show.
        warnings.filterwarnings("ignore", message="Metadata missing required file")
        return metadata(name=name, location=f"s3://example-bucket/{name}", **models)


def parse_derived_name(name: str) -> dict[str, Any]:
    """Take the name of a derived asset apart."""
    description = _imported("aind_data_schema.core.data_description").DataDescription
    level = _imported("aind_data_schema_models.data_name_patterns").DataLevel.DERIVED
    return dict(description.parse_name(name, level))


@functools.cache
def _imported(module: str) -> Any:
    with warnings.catch_warnings():
        # The schema warns of its own deprecated coordinate systems when it is imported.
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module(module)
