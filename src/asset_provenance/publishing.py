"""A written set becomes a data asset that others find: created, described, registered.

What has been done is asked of the services, never remembered here: a second run, on this machine
or another, sees what they have and does the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asset_provenance import patches
from asset_provenance.errors import ServiceError
from asset_provenance.services.requesting import UnansweredError

if TYPE_CHECKING:
    from asset_provenance.publishplan import Plan
    from asset_provenance.services.codeocean import RemoteAsset
    from asset_provenance.services.registry import Record

__all__ = ["Published", "kept_patches", "publish"]

_LOOKS, _PAUSE = 4, 1.5
"""How often to look for what may have been made, and the seconds between two looks."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Published:
    """What has come of it.

    Parameters
    ----------
    asset
        The data asset, ready for use.
    page, location
        Where people and programs find it; no location if Code Ocean does not tell it.
    record
        Its record in the metadata database, or None if it was not registered from here.
    """

    asset: RemoteAsset
    page: str
    location: str | None
    record: Record | None


def kept_patches(folder: Path) -> Path:
    """Give the folder that patches go to which are not published: beside the asset's own."""
    whole = folder.resolve()
    return whole.with_name(f"{whole.name}-patches")


def publish(
    plan: Plan, *, seconds: float, tell: Tell, progress: Callable[[str, float], None]
) -> Published:
    """Do what is planned and has not been done yet.

    Parameters
    ----------
    plan
        As it was made a moment ago.
    seconds
        How long the data asset may take to become ready.
    tell
        Told of each step that has come to its end, in words.
    progress
        Told the state of the data asset while it is waited for, and for how long, in seconds.

    Raises
    ------
    ServiceError
        If a step fails; what was told before is done.
    StorageError
        If the folder cannot be made ready for it.
    """
    if plan.left_out:
        place = kept_patches(plan.publication.folder)
        patches.take_out(plan.publication.folder, list(plan.left_out), place)
        tell(f"left out {', '.join(plan.left_out)}, kept in {place}")
    service = plan.code_ocean
    asset = plan.existing
    if asset is None:
        asset = _created(plan)
        tell(f"created the data asset {asset.id}")
    else:
        tell(f"the data asset {asset.id} was there already")
    asset = service.wait(asset, seconds=seconds, progress=progress)
    tell(f"it is ready: {service.page(asset.id)}")
    tags = tuple(dict.fromkeys((*asset.tags, *plan.publication.tags)))
    summary = plan.publication.summary or asset.description
    if tags != asset.tags or summary != asset.description:
        service.describe(asset, tags=tags, description=summary)
        tell("set its tags and its description")
    location = plan.location(asset)
    record = _registered(plan, asset, location, tell)
    return Published(asset, service.page(asset.id), location, record)


def _created(plan: Plan) -> RemoteAsset:
    """Create the data asset; where no answer came, look whether it was created all the same."""
    publication = plan.publication
    try:
        return plan.code_ocean.create(
            publication.name,
            plan.source,
            tags=publication.tags,
            description=publication.summary,
        )
    except UnansweredError as error:
        for look in range(_LOOKS):
            if look:
                time.sleep(_PAUSE)
            for asset in plan.code_ocean.find(publication.name):
                if asset.may_be_from(plan.source) and not asset.has_failed:
                    return asset
        raise ServiceError(
            f"{error}. Nobody knows whether the data asset is being made, and none is to be seen "
            "yet; run this again in a few minutes, which looks for it before it makes one"
        ) from None


def _registered(plan: Plan, asset: RemoteAsset, location: str | None, tell: Tell) -> Record | None:
    registry = plan.registry
    if registry is None or location is None:
        tell(f"not registered in the metadata database: {plan.not_registered}")
        return None

    def known() -> Record | None:
        here = (
            record
            for record in registry.records(plan.publication.name)
            if record.location.rstrip("/") == location or asset.id in record.asset_ids
        )
        return next(here, None)

    record = known()
    if record is not None:
        tell(f"its record {record.id} was in the metadata database already")
        return record
    try:
        if plan.source.computation is None:
            registry.register_external(location)
        else:
            registry.register_result(
                location,
                name=plan.publication.name,
                asset_id=asset.id,
                computation_id=plan.source.computation,
            )
    except UnansweredError:
        record = known()
        if record is None:
            raise
    record = record or known()
    told = f"as {record.id}" if record else "its record is not to be seen yet"
    tell(f"registered it in the metadata database, {told}")
    return record
