"""``ExternalAsset``: data that come from outside AIND, with a data description only."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date, datetime
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from asset_provenance.errors import UsageError

__all__ = ["ExternalAsset"]

P = ParamSpec("P")
R = TypeVar("R")


class ExternalAsset:
    """Describes data that come from outside AIND. Not available in this version.

    Parameters
    ----------
    name
        What the data are called.
    source
        The URL or API call that they were got from.
    creation_time
        When they were posted, or published.
    institution, investigators, modalities, funding_source, license
        As their own documents have them; there is no default for what is other people's.
    accessed
        When they were got; default today.
    project_name
        ``"external data"``, unless their collection is part of an AIND project.
    data_summary, subject_id, output_dir
        As for a :class:`DerivedAsset`.

    Raises
    ------
    UsageError
        Always, in this version.
    """

    def __init__(
        self,
        name: str,
        *,
        source: str,
        creation_time: date | datetime | str,
        institution: object,
        investigators: object,
        modalities: object,
        funding_source: object,
        license: object,  # noqa: A002 - the schema's name
        accessed: date | str | None = None,
        project_name: str = "external data",
        data_summary: str | None = None,
        subject_id: str | None = None,
        output_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        raise UsageError("ExternalAsset is not available in this version")

    def __enter__(self) -> Self:
        raise UsageError("ExternalAsset is not available in this version")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Never reached: the asset cannot be made."""

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Never reached: the asset cannot be made."""
        raise UsageError("ExternalAsset is not available in this version")

    def write(self) -> Any:
        """Never reached: the asset cannot be made."""
        raise UsageError("ExternalAsset is not available in this version")
