"""Edits of the good bundle, for more than one kind of rule."""

import json

from pipeline import files
from pipeline.paths import Paths
from tests.validate.edits import Edit


def replaced(name: str, old: str, new: str) -> Edit:
    """Replaces the first occurrence of a text in a file of the bundle."""

    def edit(paths: Paths) -> None:
        path = paths.bundle / name
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new, 1))

    return edit


def checksums_are_as_before(paths: Paths) -> None:
    """Writes the checksums of all files into the lineage anew."""
    path = paths.bundle / "lineage.json"
    lineage = json.loads(path.read_text())
    for name in lineage["files"]:
        lineage["files"][name] = files.sha256(paths.bundle / name)
    path.write_text(json.dumps(lineage))
