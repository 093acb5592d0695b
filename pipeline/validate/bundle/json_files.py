"""The JSON files of a bundle, as far as they hold what is expected.

That they are JSON at all is checked before (dataset_files).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.validate.violations import Row

OBJECTS = (
    "preprocessing.json",
    "lineage.json",
    "metrics.json",
    "hydrus/info.json",
    "imgutils/preprocess.json",
    "deepdanbooru/project.json",
    "variants/variants.json",
)
LISTS = ("imgutils/categories.json",)
"""Files that hold an object, and those that hold a list of objects."""


@dataclass(frozen=True, slots=True)
class JsonFiles:
    """Their content by file, empty where it is of another kind."""

    objects: dict[str, dict[str, Any]]
    lists: dict[str, list[dict[str, Any]]]
    unreadable: list[Row]

    @classmethod
    def read(cls, folder: Path) -> "JsonFiles":
        """Reads all JSON files of a bundle."""
        objects: dict[str, dict[str, Any]] = {}
        lists: dict[str, list[dict[str, Any]]] = {}
        unreadable = []
        for name in OBJECTS:
            tree = _parsed(folder / name)
            objects[name] = tree if isinstance(tree, dict) else {}
            if not isinstance(tree, dict):
                unreadable.append({"file": name, "is": "no object"})
        for name in LISTS:
            tree = _parsed(folder / name)
            lists[name] = _objects(tree) or []
            if not lists[name]:
                unreadable.append({"file": name, "is": "no list of objects"})
        return cls(objects, lists, unreadable)

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.objects[name]


def below(tree: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Returns the object below these keys; empty where there is none."""
    for key in keys:
        found = tree.get(key)
        tree = found if isinstance(found, dict) else {}
    return tree


def objects_below(tree: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Returns the list of objects below a key; empty where there is none."""
    return _objects(tree.get(key)) or []


def number_below(tree: dict[str, Any], key: str) -> float:
    """Returns the number below a key; not a number where there is none."""
    found = tree.get(key)
    if isinstance(found, int | float) and not isinstance(found, bool):
        return float(found)
    return float("nan")


def _parsed(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _objects(tree: Any) -> list[dict[str, Any]] | None:
    """Returns a tree that is a list of objects, else None."""
    if isinstance(tree, list) and all(isinstance(each, dict) for each in tree):
        return tree
    return None
