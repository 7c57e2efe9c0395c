"""Services on loopback that behave like AIND's metadata database and like Code Ocean.

For tests, and for trying things without a network::

    from asset_provenance.testing import LoopbackServices

    with LoopbackServices(records=[...]) as services:
        os.environ.update(services.environ)

Needs the extra ``testing``.
"""

from __future__ import annotations

from asset_provenance.testing.loading import load_records
from asset_provenance.testing.server import Fault, Request
from asset_provenance.testing.services import LoopbackServices

__all__ = ["Fault", "LoopbackServices", "Request", "load_records"]
