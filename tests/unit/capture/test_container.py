"""Which image a program runs in, as far as anything there tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asset_provenance.capture.container import find_container


def image(root: Path, dockerfile: str, **variables: str) -> tuple[str, str] | None:
    place = root / "environment" / "Dockerfile"
    place.parent.mkdir(exist_ok=True)
    place.write_text(dockerfile)
    (root / "code").mkdir(exist_ok=True)
    found = find_container(str(root / "code"), variables, root=root / "none")
    if found is None:
        return None
    # It is the image that the container's own builds on, which nobody can name.
    assert found.to_schema() is None
    told = f"Ran in a container that environment/Dockerfile builds on {found.uri}:{found.tag}."
    assert str(found) == told
    assert found.uri is not None
    assert found.tag is not None
    return found.uri, found.tag


@pytest.mark.parametrize(
    ("dockerfile", "expected"),
    [
        ("FROM python:3.11-slim\nRUN x\n", ("python", "3.11-slim")),
        ("# FROM no:1\nfrom ubuntu\n", ("ubuntu", "latest")),
        ("FROM ghcr.io:443/org/img:v1@sha256:00ff AS run\n", ("ghcr.io:443/org/img", "v1")),
        ("FROM r.io/x@sha256:00ff\n", ("r.io/x", "sha256:00ff")),
        ("FROM a:1 AS build\nFROM b:2\nCOPY --from=build x y\n", ("b", "2")),
        ("FROM a:1 AS base\nFROM base\n", ("a", "1")),
        ("ARG TAG=7\nFROM img:${TAG}\n", ("img", "7")),
        ("FROM --platform=linux/amd64 img:1\n", ("img", "1")),
        ("ARG HOST\nFROM $HOST/co/mamba:22-ubuntu\n", ("co/mamba", "22-ubuntu")),
        ("FROM img:${TAG:-3}\n", ("img", "3")),
        ("FROM scratch\n", None),
        ("RUN nothing\n", None),
    ],
)
def test_a_capsules_image_is_the_one_that_its_dockerfile_builds_on(
    tmp_path: Path, dockerfile: str, expected: tuple[str, str] | None
) -> None:
    assert image(tmp_path, dockerfile) == expected


def test_what_the_builder_was_given_counts(tmp_path: Path) -> None:
    found = image(tmp_path, "ARG HOST\nFROM $HOST/a:1\n", HOST="registry.example.org")
    assert found == ("registry.example.org/a", "1")


def test_singularity_tells_its_image_in_a_variable_or_its_labels(tmp_path: Path) -> None:
    found = find_container(None, {"SINGULARITY_CONTAINER": "docker://org/img:5"}, tmp_path)
    assert found is not None
    assert found.to_schema() == {"container_type": "Singularity", "uri": "org/img", "tag": "5"}
    labels = tmp_path / ".singularity.d" / "labels.json"
    labels.parent.mkdir()
    labels.write_text(json.dumps({"org.label-schema.usage.singularity.deffile.from": "deb:12"}))
    found = find_container(None, {"APPTAINER_CONTAINER": "/images/a.sif"}, tmp_path)
    assert found is not None
    assert found.to_schema() == {"container_type": "Singularity", "uri": "deb", "tag": "12"}


def test_a_container_that_does_not_tell_its_image_is_said(tmp_path: Path) -> None:
    assert find_container(None, {}, tmp_path) is None
    pod = find_container(None, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)
    assert str(pod).startswith("Ran in a Docker container (Kubernetes), which does not tell")
    (tmp_path / ".dockerenv").touch()
    found = find_container(None, {}, tmp_path)
    assert found is not None
    assert found.to_schema() is None
    assert str(found).startswith("Ran in a Docker container (/.dockerenv), which does not tell")
    file = find_container(None, {"APPTAINER_CONTAINER": "/images/a.sif"}, tmp_path)
    assert file is not None
    assert (file.to_schema(), "(/images/a.sif)" in str(file)) == (None, True)
