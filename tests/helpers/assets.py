"""Small input assets: real names and facts, and files that differ from asset to asset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FACTS: dict[str, Any] = {
    "project_name": "Synthetic project",
    "investigators": ["Example Researcher"],
    "funding_source": "AI",
    "modalities": ["ecephys"],
}
PEOPLE: dict[str, Any] = {"experimenters": ["Sample Scientist"]}
RAW = "ecephys_900101_2026-03-02_18-30-05"
CARRIED = ("subject", "procedures", "instrument", "acquisition", "quality_control")


def description(name: str, **changes: Any) -> dict[str, Any]:
    """Give a valid data description as JSON; raw unless told otherwise."""
    return {
        "object_type": "Data description",
        "schema_version": "2.4.2",
        "license": "CC-BY-4.0",
        "subject_id": "900101",
        "creation_time": "2026-03-02T18:30:05Z",
        "name": name,
        "institution": {
            "name": "Allen Institute for Neural Dynamics",
            "abbreviation": "AIND",
            "registry": "Research Organization Registry (ROR)",
            "registry_identifier": "04szwah67",
        },
        "funding_source": [{"funder": {"name": "Allen Institute", "abbreviation": "AI"}}],
        "data_level": "raw",
        "investigators": [{"name": "Example Researcher"}],
        "project_name": "Synthetic project",
        "modalities": [{"name": "Extracellular electrophysiology", "abbreviation": "ecephys"}],
        **changes,
    }


def process(name: str, start: str = "2026-03-03T00:00:00Z", **changes: Any) -> dict[str, Any]:
    """Give a valid data process as JSON."""
    return {
        "process_type": "Analysis",
        "name": name,
        "stage": "Processing",
        "code": {"url": "https://example.org/upstream", "version": "1.0"},
        "experimenters": ["Upstream Scientist"],
        "start_date_time": start,
        "end_date_time": start,
        **changes,
    }


def make_asset(
    data_root: Path,
    name: str = RAW,
    *,
    mount: str | None = None,
    carried: tuple[str, ...] = CARRIED,
    processing: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write an asset whose carried files hold just enough to be told apart."""
    folder = data_root / (mount or name)
    folder.mkdir(parents=True)
    write_json(folder / "data_description.json", description(name, **changes))
    subject = changes.get("subject_id", "900101")
    for core_file in carried:
        content = {"schema_version": "2.0.0", "subject_id": subject, "of": core_file}
        # Odd spacing, so that a file that was read and written again would differ.
        (folder / f"{core_file}.json").write_text(json.dumps(content, indent=5) + "\n\n")
    if processing is not None:
        write_json(folder / "processing.json", {"schema_version": "2.3.3", **processing})
    return folder


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content, indent=1))


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_bytes())


def processes(output_dir: Path) -> dict[str, Any]:
    """Give the processes that an asset's processing holds, by name."""
    return {
        item["name"]: item for item in read_json(output_dir / "processing.json")["data_processes"]
    }


def graph(output_dir: Path) -> dict[str, list[str]]:
    """Give the dependency graph that an asset's processing holds."""
    return dict(read_json(output_dir / "processing.json")["dependency_graph"])
