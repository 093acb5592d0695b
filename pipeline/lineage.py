"""Lineage: what a dataset or model was made from. Travels as Parquet metadata, and as lineage.json in the bundle."""

import json
from pathlib import Path
from typing import Any

from pipeline import parquet, pin, policy
from pipeline.errors import BadInput
from pipeline.params import Params

KEY = "lineage"
"""Metadata key of the manifest's Parquet files."""


def for_manifest(pinned: pin.Pin, params: Params) -> str:
    """Returns the lineage of a manifest as sorted JSON: the pin, the rules' version and what chose its records."""
    tree = {
        "pin": pin.to_dict(pinned),
        "policy_version": policy.VERSION,
        "parameters": {
            "harvest": params.harvest.model_dump(mode="json"),
            "sample": params.sample.model_dump(mode="json"),
            "download": params.download.model_dump(
                mode="json", include={"variant", "max_bytes", "max_pixels"}
            ),
            "manifest": params.manifest.model_dump(mode="json"),
        },
    }
    return json.dumps(tree, sort_keys=True)


def read(path: Path) -> dict[str, Any]:
    """Returns the lineage that a file of the manifest carries; raises BadInput where it carries none."""
    text = parquet.metadata(path).get(KEY)
    if text is None:
        raise BadInput(
            f"{path} carries no lineage. It was not made by this pipeline: run dvc repro manifest."
        )
    return dict(json.loads(text))
