"""Runs in the environment `dghs-imgutils`: multilabel_timm_predict, without a network.

    python imgutils_timm.py BUNDLE IMAGES CACHE

CACHE becomes a cache as huggingface_hub lays it out, with the bundle's folder as a
repository that was downloaded before. Prints JSON as szurubooru.py does.
"""

import csv
import json
import os
import sys
from pathlib import Path

REPOSITORY = "e6tag/bundle"
COMMIT = "0" * 40

bundle, images, cache = map(Path, sys.argv[1:])
os.environ["HF_HUB_CACHE"] = str(cache)
os.environ["HF_HUB_OFFLINE"] = "1"

repository = cache / f"models--{REPOSITORY.replace('/', '--')}"
snapshot = repository / "snapshots" / COMMIT
snapshot.parent.mkdir(parents=True)
snapshot.symlink_to((bundle / "imgutils").resolve())
(repository / "refs").mkdir()
(repository / "refs" / "main").write_text(COMMIT)

from imgutils.generic import multilabel_timm_predict  # noqa: E402

with (bundle / "imgutils" / "selected_tags.csv").open(newline="") as file:
    rows = [row["name"] for row in csv.DictReader(file)]
categories = json.loads((bundle / "imgutils" / "categories.json").read_text())
names = [each["name"] for each in categories]
found = {}
for path in sorted(images.iterdir()):
    by_category, scores = multilabel_timm_predict(
        str(path), REPOSITORY, fmt=({name: name for name in names}, "prediction")
    )
    tags = []
    for name in names:
        if name != "rating":
            tags += by_category[name]
    values = dict(zip(rows, scores.tolist(), strict=True))
    ratings = list(by_category.get("rating", {}))
    found[path.name] = {"tags": tags, "ratings": ratings, "scores": values}
print(json.dumps(found))
