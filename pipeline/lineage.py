"""Lineage: what a dataset or model was made from.

It is stored in the metadata of the manifest's Parquet files, and in the bundle as
lineage.json.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import parquet, pin, policy
from pipeline.errors import BadInput
from pipeline.params import Params

KEY = "lineage"
"""Metadata key of the manifest's Parquet files."""


def for_manifest(
    pinned: pin.Pin, params: Params, overlay: Mapping[str, str | int | None]
) -> str:
    """Returns the lineage of a manifest as sorted JSON.

    It holds the pin, the version of the policy, the parameters that chose the records,
    and of data/overlay.csv what `overlay` says: sha256 (None where there is no file)
    and the number of its rows that were applied. The site is named, never by an
    address: the lineage travels in the bundle.
    """
    download = params.download.model_dump(
        mode="json", include={"variant", "max_bytes", "max_pixels"}
    )
    parameters = {
        "harvest": params.harvest.model_dump(mode="json"),
        "sample": params.sample.model_dump(mode="json"),
        "download": download,
        "manifest": params.manifest.model_dump(mode="json"),
    }
    tree = {
        "pin": pin.to_dict(pinned) | {"site": pin.site_name(pinned)},
        "policy_version": policy.VERSION,
        "parameters": parameters,
        "overlay": dict(overlay),
    }
    return json.dumps(tree, sort_keys=True)


def read(path: Path) -> dict[str, Any]:
    """Returns the lineage in a file of the manifest; raises BadInput if it has none."""
    text = parquet.metadata(path).get(KEY)
    if text is None:
        raise BadInput(
            f"{path} carries no lineage. It was not made by this pipeline: run "
            "dvc repro manifest."
        )
    return dict(json.loads(text))
