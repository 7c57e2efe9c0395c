"""Describe data that come from outside: an atlas that another laboratory has published.

Whose data these are, who paid for them and under which licence they are is theirs to say, so
nothing of it comes from your settings. The block downloads into the asset's folder; after it, the
folder also holds a data description with the source and the date in it, and a list of checksums
that ``sha256sum --check provenance/checksums-sha256.txt`` understands::

    python examples/external_data.py --output-dir atlas
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from urllib.request import urlopen

from example_data import write_table

from asset_provenance import ExternalAsset

REGIONS = ((1, 0.42), (2, 0.31), (3, 0.27))


def published_atlas(folder: Path) -> str:
    """Give the URL of an atlas; this one is invented, and of no other machine than yours."""
    path = folder / "region_volumes.csv"
    write_table(path, ("region_id", "volume_mm3"), REGIONS)
    return path.as_uri()


def main(args: argparse.Namespace) -> None:
    asset = ExternalAsset(
        "example-atlas-v1",
        source="https://example.org/example-atlas-v1/region_volumes.csv",
        creation_time="2024-04-21",
        institution="UPENN",
        investigators=["Example Neuroanatomist"],
        modalities=["MRI", "SPIM"],
        funding_source=["NIMH:RF1MH000000"],
        license="CC-BY-4.0",
        data_summary="Volumes of three regions of an invented brain.",
        output_dir=args.output_dir,
        checksums=True,
    )
    with tempfile.TemporaryDirectory() as web, asset:
        target = asset.output_dir / "region_volumes.csv"
        with urlopen(published_atlas(Path(web))) as download, target.open("wb") as file:
            shutil.copyfileobj(download, file)
    print(f"{asset.name}\nis in {asset.output_dir}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Describe an atlas from outside.")
    parser.add_argument("--output-dir", type=Path, help="default: ./results")
    main(parser.parse_args())
