"""Lets ``python -m asset_provenance.cli`` do what ``asset-provenance`` does."""

from __future__ import annotations

import sys

from asset_provenance.cli import main

if __name__ == "__main__":
    sys.exit(main())
