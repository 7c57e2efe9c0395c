"""Which container image the program runs in, as far as the container itself tells.

A helper of :mod:`asset_provenance.capture.code`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from asset_provenance.records import printable
from asset_provenance.redaction import redact_text

__all__ = ["Container", "find_container", "image_in_full"]

_FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*", re.IGNORECASE)
_ARG = re.compile(r"ARG\s+([A-Za-z_]\w*)(?:=(\S*))?\s*", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::?[-+]([^}]*))?\})")
_IMAGE = re.compile(
    r"(?P<uri>[A-Za-z0-9][\w./-]*(?::\d+/[\w./-]+)?)(?::(?P<tag>[\w.-]+))?(?:@(?P<digest>\S+))?"
)


@dataclass(frozen=True, slots=True)
class Container:
    """A container.

    Parameters
    ----------
    kind
        ``Docker`` or ``Singularity``.
    uri, tag
        Of the image; None where they are not told.
    source
        Where they are told, or what shows that there is a container at all.
    is_base
        Whether the image is not the container's own, but the one that it builds on.
    """

    kind: str
    uri: str | None = None
    tag: str | None = None
    source: str = ""
    is_base: bool = False

    def __str__(self) -> str:
        """Tell in a sentence what is known of it."""
        if self.is_base:
            return f"Ran in a container that {self.source} builds on {self.uri}:{self.tag}."
        if self.uri is not None:
            return f"Ran in a {self.kind} container of {self.uri}:{self.tag}."
        told = f" ({self.source})" if self.source else ""
        return f"Ran in a {self.kind} container{told}, which does not tell of which image."

    def to_schema(self) -> dict[str, str] | None:
        """Give the fields of the schema's ``Container``; None where the image is not known."""
        if self.uri is None or self.tag is None or self.is_base:
            return None
        return {"container_type": self.kind, "uri": self.uri, "tag": self.tag}


def find_container(
    code: str | None = None, environ: Mapping[str, str] | None = None, root: Path = Path("/")
) -> Container | None:
    """Find out which container the program runs in; None outside any, or where none is told.

    Parameters
    ----------
    code
        Folder of a capsule's code, whose environment lies beside it.
    environ
        Environment variables; default those of this program.
    root
        The container's top folder.
    """
    variables = os.environ if environ is None else environ
    singularity = _singularity(variables, root)
    if singularity is not None:
        return singularity
    for folder in [root, *([] if code is None else [Path(code).parent])]:
        path = folder / "environment" / "Dockerfile"
        with suppress(OSError, UnicodeError):
            if code is not None and path.is_file():
                image = _base_image(path.read_text("utf-8"), variables)
                if image is not None:
                    return Container("Docker", *image, "environment/Dockerfile", is_base=True)
    if (root / ".dockerenv").exists():
        return Container("Docker", source="/.dockerenv")
    if variables.get("KUBERNETES_SERVICE_HOST"):
        return Container("Docker", source="Kubernetes")
    return None


def image_in_full(text: str) -> Container | None:
    """Read the name of an image, with its tag or digest; None for less, such as an id alone."""
    found = _IMAGE.fullmatch(text.strip())
    state = found and (found["tag"] or found["digest"])
    if not found or not state or found["uri"] == "sha256":  # the last is a digest alone
        return None
    return Container("Docker", found["uri"], state)


def _singularity(variables: Mapping[str, str], root: Path) -> Container | None:
    names = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")
    place = next((variables[name] for name in names if variables.get(name)), None)
    folder = root / ".singularity.d"
    if place is None and not folder.is_dir():
        return None
    place = place or ""
    if "://" in place:
        image = _parsed(place.partition("://")[2])
        if image is not None:
            return Container("Singularity", *image, source=place)
    with suppress(OSError, ValueError, AttributeError):
        labels = json.loads((folder / "labels.json").read_text("utf-8"))
        image = _parsed(str(labels["org.label-schema.usage.singularity.deffile.from"]))
        if image is not None:
            return Container("Singularity", *image, source=place)
    return Container("Singularity", source=printable(redact_text(place)))


def _base_image(dockerfile: str, variables: Mapping[str, str]) -> tuple[str, str] | None:
    """Give the image that the last stage of a Dockerfile builds on."""
    arguments: dict[str, str] = {}
    stages: dict[str, tuple[str, str] | None] = {}
    image = None
    for line in dockerfile.splitlines():
        if (argument := _ARG.fullmatch(line.strip())) and argument[1] not in arguments:
            given = (argument[2] or "").strip("\"'") or variables.get(argument[1], "")
            arguments[argument[1]] = given
        elif stage := _FROM.fullmatch(line.strip()):
            named = _filled(stage[1], arguments)
            image = stages[named] if named in stages else _parsed(named)
            if stage[2]:
                stages[stage[2]] = image
    return image


def _filled(text: str, arguments: Mapping[str, str]) -> str:
    filled = _VARIABLE.sub(
        lambda found: arguments.get(found[1] or found[2]) or found[3] or "", text
    )
    # Without the host, which may be known to the builder only, the image has its name still.
    return filled.lstrip("/")


def _parsed(text: str) -> tuple[str, str] | None:
    found = _IMAGE.fullmatch(text.strip())
    if found is None or text == "scratch":
        return None
    return found["uri"], found["tag"] or found["digest"] or "latest"
