"""Whatever the metadata hold, what is exported of them can be read."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prov.model import ProvDocument

from asset_provenance.exporting import export_asset

# The metadata are JSON, which can hold half a sign and any other.
texts = st.text(max_size=12) | st.sampled_from(
    [
        "../x",
        "/home/a/b",
        "s3://b/a",
        "https://h/a b#c",
        "file:///x",
        "-",
        ".",
        "%zz",
        "\ud800",
        "a:b",
        "x" * 300,
        "processing.json",
    ]
)
scalars = texts | st.integers() | st.floats() | st.booleans() | st.none()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=4
)
assets = st.fixed_dictionaries({}, optional={"name": texts, "url": texts})
groups = st.fixed_dictionaries({"assets": st.lists(assets, max_size=2)}, optional={"name": texts})
codes = st.fixed_dictionaries(
    {},
    optional={
        "url": texts,
        "version": texts,
        "run_script": texts,
        "language": texts,
        "parameters": st.dictionaries(texts, values, max_size=2),
        "input_data": st.lists(assets | groups, max_size=2),
        "container": st.dictionaries(st.sampled_from(["uri", "tag", "container_type"]), texts),
        "core_dependency": st.dictionaries(st.sampled_from(["name", "version"]), texts),
    },
)
processes = st.fixed_dictionaries(
    {"code": codes},
    optional={
        "name": texts,
        "notes": texts | st.just("Failed: x"),
        "output_path": texts,
        "experimenters": st.lists(texts, max_size=2),
        "output_parameters": st.dictionaries(texts, values, max_size=2),
        "start_date_time": st.datetimes().map(str),
        "pipeline_name": texts,
    },
)
people = st.lists(st.fixed_dictionaries({"name": texts}, optional={"registry_identifier": texts}))
descriptions = st.fixed_dictionaries(
    {},
    optional={
        "name": texts,
        "license": texts,
        "source_data": st.lists(texts, max_size=2),
        "investigators": people | st.lists(texts, max_size=2),
        "institution": texts | st.none(),
        "tags": st.lists(texts, max_size=2),
        "funding_source": st.lists(st.fixed_dictionaries({"funder": texts}), max_size=2),
    },
)


def references(value: Any) -> list[str]:
    """Give all that the entities of a crate refer to."""
    if isinstance(value, dict) and value.keys() == {"@id"}:
        return [value["@id"]]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [found for item in items for found in references(item)]


@settings(max_examples=60)
@given(listed=st.lists(processes, max_size=3), description=descriptions, data=st.data())
def test_an_export_of_anything_is_whole_and_is_read_back_equal(
    listed: list[dict[str, Any]], description: dict[str, Any], data: st.DataObject
) -> None:
    names = [one["name"] for one in listed if "name" in one] or [""]
    edges = st.dictionaries(st.sampled_from(names), st.lists(st.sampled_from(names), max_size=2))
    processing = {
        "data_processes": listed,
        "dependency_graph": data.draw(edges),
        "pipelines": data.draw(st.lists(codes, max_size=1)),
        "notes": data.draw(texts),
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "processing.json").write_text(
            json.dumps(processing).replace("NaN", "0").replace("Infinity", "9")
        )
        (folder / "data_description.json").write_text(json.dumps(description))
        crate = export_asset(folder, "ro-crate", folder)
        told = export_asset(folder, "prov-json", folder / "x.prov")
        graph = json.loads(crate.path.read_text())["@graph"]
        content = told.path.read_text()

    assert crate.processes == told.processes == len(listed)
    identifiers = [one["@id"] for one in graph]
    assert len(set(identifiers)) == len(identifiers)
    assert all(one.isascii() and not set(one) & set(' "<>\\^`{|}\n') for one in identifiers)
    outside = ("https://w3id.org/", "http://schema.org/")
    known = {*identifiers}
    assert [
        one for one in references(graph) if one not in known and not one.startswith(outside)
    ] == []
    document = ProvDocument.deserialize(content=content, format="json")
    again = document.serialize(format="json")
    assert ProvDocument.deserialize(content=again, format="json") == document
    assert len(json.loads(content).get("activity", {})) == len(listed)
    assert document.get_provn()
