"""Rules: the bundle names what its model was made from, and its files are those."""

import math
from collections.abc import Iterator
from typing import Any

from e6tag import bundle as bundle_format
from pipeline import files
from pipeline.metrics.catalogue import HEADLINE
from pipeline.releases import POSTS_DIGEST, TAGS_DIGEST
from pipeline.validate.bundle import json_files
from pipeline.validate.bundle.contents import BundleContents
from pipeline.validate.checks import Check, no_violations
from pipeline.validate.violations import listed

LINEAGE_KEYS = ("pin", "policy_version", "parameters", "model")
"""Keys of lineage.json without which nobody knows what a model was trained on."""

DIGESTS = (POSTS_DIGEST, TAGS_DIGEST)


def checks(bundle: BundleContents) -> Iterator[Check]:
    """Checks that the bundle names what its model was made from."""
    lacking = [{"key": key} for key in LINEAGE_KEYS if not bundle.lineage.get(key)]
    found = listed(lacking, len(LINEAGE_KEYS))
    description = "lineage.json names pin, policy version, parameters and model"
    yield no_violations("lineage_missing", description, found)

    found = listed(list(_metrics_missing(bundle)), len(HEADLINE) + len(DIGESTS))
    description = (
        "metrics.json has macro mAP, macro AUC and macro F1 on test with their "
        "baselines, and the digests of its posts and tags, for the next release"
    )
    yield no_violations("metrics_missing", description, found)

    found = listed(_other_model(bundle), 1)
    description = "model.onnx is the file whose checksum lineage.json gives"
    yield no_violations("model_differs", description, found)

    description = "lineage.json gives the checksum of every other file"
    found = listed(_other_files(bundle), len(bundle.names))
    yield no_violations("checksum_differs", description, found)


def _metrics_missing(bundle: BundleContents) -> Iterator[dict[str, Any]]:
    """Yields what the next release could not be compared with."""
    tree = bundle.json_files[bundle_format.METRICS]
    for name in HEADLINE:
        metric = json_files.below(tree, "splits", "test", name)
        for key in ("value", "baseline"):
            if not math.isfinite(json_files.number_below(metric, key)):
                yield {"metric": name, "lacks": key}
    for key in DIGESTS:
        if not isinstance(tree.get(key), str):
            yield {"lacks": key}


def _other_model(bundle: BundleContents) -> list[dict[str, Any]]:
    """Returns both checksums of the model where they differ."""
    model = bundle.lineage.get("model")
    expected = model.get("onnx_sha256") if isinstance(model, dict) else None
    found = files.sha256(bundle.folder / bundle_format.MODEL)
    if found == expected:
        return []
    return [{"file": "model.onnx", "lineage.json": expected, "sha256": found}]


def _other_files(bundle: BundleContents) -> list[dict[str, Any]]:
    """Returns files that have another checksum than lineage.json gives, or none."""
    expected = json_files.below(bundle.lineage, "files")
    others = [name for name in bundle.names if name != bundle_format.LINEAGE]
    wrong = []
    for name in sorted({*others, *expected}):
        path = bundle.folder / name
        if not path.is_file():
            wrong.append({"file": name, "is": "missing"})
        elif files.sha256(path) != expected.get(name):
            wrong.append({"file": name, "is": "another"})
    return wrong
