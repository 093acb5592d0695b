"""Models that were released: what their bundles say about how good they were.

A released bundle is kept in a folder below releases/, which export.previous names. Its
metrics.json is that of the evaluation with two digests, which tell whether another
evaluation was of the same posts and tags.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e6tag import bundle
from pipeline import os_errors
from pipeline.errors import BadInput

POSTS_DIGEST = "test_posts_sha256"
TAGS_DIGEST = "tags_sha256"


@dataclass(frozen=True, slots=True)
class Release:
    """A released model. name: its folder. metrics: of its test split, by name."""

    name: str
    metrics: dict[str, dict[str, Any]]
    posts_digest: str | None
    tags_digest: str | None


def digest(names: Iterable[object]) -> str:
    """Returns a SHA-256 of names or ids that does not depend on their order."""
    lines = "\n".join(sorted(str(name) for name in names))
    return hashlib.sha256(lines.encode()).hexdigest()


def bundle_metrics(
    metrics: dict[str, Any], test_posts: Iterable[int], tags: Iterable[str]
) -> dict[str, Any]:
    """Returns the content of a bundle's metrics.json.

    metrics: content of data/evaluation/metrics.json.
    """
    digests = {POSTS_DIGEST: digest(test_posts), TAGS_DIGEST: digest(tags)}
    return {**metrics, **digests}


def read(root: Path, previous: str) -> Release | None:
    """Returns the release in a folder of the project; None if it has no metrics.

    Raises BadInput where there is no such folder, or its metrics cannot be read.
    """
    folder = root / previous
    if not folder.is_dir():
        raise BadInput(
            f"export.previous: {folder} is not there. Copy the bundle that was "
            "released last there, or set export.previous: null."
        )
    path = folder / bundle.METRICS
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        metrics = dict(tree["splits"]["test"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        os_errors.raise_for_machine(error, path)
        raise BadInput(
            f"export.previous: {path} cannot be read: {error!r}. Copy it from the "
            "bundle that was released last, or set export.previous: null."
        ) from error
    return Release(previous, metrics, tree.get(POSTS_DIGEST), tree.get(TAGS_DIGEST))
