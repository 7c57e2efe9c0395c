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
from asset_provenance.publishfiles import stands_against_asset
from asset_provenance.services.requesting import UnansweredError

if TYPE_CHECKING:
    from asset_provenance.publishplan import Plan
    from asset_provenance.services.registry import Record
    from asset_provenance.services.remote import RemoteAsset

__all__ = ["Published", "kept_patches", "publish"]

_LOOKS, _PAUSE = 4, 1.5
"""How often to look for a record that may have been made, and the seconds between two looks."""
_LONGEST_PAUSE, _LONGEST_SEARCH = 10.0, 120.0
"""Seconds between two looks for a data asset that may have been made, and to the last of them."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Published:
    """What has come of it.

    Parameters
    ----------
    asset
        The data asset, ready for use.
    page, location
        Where people find it, and where its files are; no location if nobody tells it.
    record
        Its record in the metadata database, or None if it was not registered from here.
    """

    asset: RemoteAsset
    page: str
    location: str | None
    record: Record | None


def kept_patches(plan: Plan) -> Path:
    """Give the folder that patches go to which are not published: beside the asset's own."""
    whole = plan.publication.folder.resolve()
    return whole.with_name(f"{whole.name}-patches") / plan.publication.name.replace("/", "_")


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
        place = kept_patches(plan)
        patches.take_out(plan.publication.folder, list(plan.left_out), place)
        tell(f"left out {', '.join(plan.left_out)}, kept in {place}")
    service = plan.code_ocean
    asset = plan.existing
    was_ready = asset is not None and asset.is_ready  # and was compared with the folder
    if asset is None:
        asset = _created(plan, seconds, tell)
        tell(f"created the data asset {asset.id}")
    else:
        tell(f"the data asset {asset.id} was there already")
    asset = service.wait(asset, seconds=seconds, progress=progress)
    tell(f"it is ready: {service.page(asset.id)}")
    if not was_ready:
        problem = stands_against_asset(plan.publication.folder, asset, service, plan.source)
        if problem is not None:
            raise ServiceError(f"it is not registered: {problem}")
    tags = asset.tags or plan.publication.tags
    description = asset.description or plan.publication.summary
    if (tags, description) != (asset.tags, asset.description):
        service.describe(asset, tags=tags, description=description)
        tell("set its tags and its description, which it had not")
    elif plan.keeps_tags or plan.keeps_description:
        tell("left its tags and its description as they are there")
    location = plan.location(asset)
    record = _registered(plan, asset, location, tell, may_be_known=was_ready)
    if record is not None:
        location = record.location
    return Published(asset, service.page(asset.id), location, record)


def _created(plan: Plan, seconds: float, tell: Tell) -> RemoteAsset:
    """Create the data asset; where no answer came, look whether it was created all the same."""
    publication = plan.publication
    try:
        return plan.code_ocean.create(
            publication.name,
            plan.source,
            tags=publication.tags,
            description=publication.summary,
        )
    except KeyboardInterrupt:
        tell(
            "asked for the data asset and did not wait for the answer: give Code Ocean a few "
            "minutes to show it"
        )
        raise
    except UnansweredError as error:
        begin, pause = time.monotonic(), _PAUSE
        until = begin + min(seconds, _LONGEST_SEARCH)
        while True:
            for asset in plan.code_ocean.find(publication.name):
                if asset.serves(plan.source):
                    return asset
            if time.monotonic() >= until:
                break
            time.sleep(max(0.0, min(pause, until - time.monotonic())))
            pause = min(_LONGEST_PAUSE, pause * 1.5)
        raise ServiceError(
            f"{error}. Nobody knows whether the data asset is being made, and none is to be seen "
            f"after {time.monotonic() - begin:.0f} s. Wait until Code Ocean shows what it has made "
            f"({plan.code_ocean.domain}/data-assets, a few minutes), or two may be made; then run "
            "this again, which looks for it before it makes one"
        ) from None


def _registered(
    plan: Plan, asset: RemoteAsset, location: str | None, tell: Tell, *, may_be_known: bool
) -> Record | None:
    registry = plan.registry
    if registry is None or location is None:
        tell(f"not registered in the metadata database: {plan.not_registered}")
        return None
    from asset_provenance.services.registry import known_record  # noqa: PLC0415 - slow

    def known(looks: int) -> Record | None:
        for look in range(looks):
            if look:
                time.sleep(_PAUSE)
            record = known_record(registry, plan.publication.name, location, asset.id)
            if record is not None:
                return record
        return None

    # An earlier run may have registered it a moment ago.
    record = known(_LOOKS if may_be_known else 1)
    if record is not None:
        tell(f"its record {record.id} was in the metadata database already, at {record.location}")
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
        record = known(_LOOKS)
        if record is None:
            raise
    record = record or known(_LOOKS)
    if record is None:
        raise ServiceError(
            f"it was registered in the metadata database at {location}, and its record is not to "
            "be seen yet: wait a few minutes, then run this again, which looks for it first"
        )
    tell(f"registered it in the metadata database, as {record.id}")
    return record
