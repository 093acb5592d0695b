"""The site's own public tables and recorded posts pass the first two gates.

Aliases and implications are its exports of 2025-05-01, untouched; tags are its counts
of 2026-04; posts were recorded from its API. Old rows break what the site asks of new
ones (contract section 6).
"""

import csv
import gzip
import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline import harvest, pin, sample, validate
from pipeline.params import Params
from pipeline.paths import Paths
from tests.builders.project import ROOT
from tests.validate.gates import GX_WARNINGS

DATA = ROOT / "../shared/data"
ALIASES = DATA / "tag_aliases-2025-05-01.csv.gz"
IMPLICATIONS = DATA / "tag_implications-2025-05-01.csv.gz"
COUNTS = DATA / "tag-counts-2026-04.csv.gz"
POSTS = DATA / "recorded-posts-2020.jsonl.gz"

pytestmark = [
    *GX_WARNINGS,
    pytest.mark.skipif(not DATA.is_dir(), reason="the public tables are not here"),
]

SITE = "http://127.0.0.1:9"  # nobody listens there, and nobody is asked
PARAMS = Params.model_validate(
    {
        "site": {"name": "custom", "base_url": SITE, "static_url": SITE},
        "sample": {"min_positives": 40, "min_eval_positives": 1, "since": "2000-01-01"},
    }
)


def written(path: Path, header: str, rows: Iterable[list[Any]]) -> Path:
    """Writes an export."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header.split(","))
    writer.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode()))
    return path


def tags() -> Iterator[list[Any]]:
    with gzip.open(COUNTS, "rt", encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=1):
            yield [number, row["name"], row["category"], row["post_count"]]


def posts() -> Iterator[list[Any]]:
    """Yields the recorded posts as the export has them, each once, by id.

    The deleted one lacks its MD5, as it may.
    """
    with gzip.open(POSTS, "rt", encoding="utf-8") as file:
        recorded = {post["id"]: post for post in map(json.loads, file)}
    for post_id, post in sorted(recorded.items()):
        file = post["file"]
        flags = [post["flags"][name] for name in ("deleted", "pending", "flagged")]
        names = sorted({name for group in post["tags"].values() for name in group})
        md5 = "" if post["flags"]["deleted"] else file["md5"]
        yield [
            *(post_id, post["change_seq"], post["created_at"][:19].replace("T", " ")),
            *(md5, file["ext"], post["rating"], file["width"], file["height"]),
            *(file["size"], "", post["relationships"]["parent_id"]),
            *("t" if flag else "f" for flag in flags),
            *(post["score"]["total"], post["fav_count"], " ".join(names)),
            " ".join(post["locked_tags"]),
        ]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A project whose exports were fetched."""
    folder = tmp_path_factory.mktemp("public")
    columns = (
        "id,change_seq,created_at,md5,file_ext,rating,image_width,image_height,"
        "file_size,duration,parent_id,is_deleted,is_pending,is_flagged,score,"
        "fav_count,tag_string,locked_tags"
    )
    files = {
        "posts": written(folder / "posts.csv.gz", columns, posts()),
        "tags": written(folder / "tags.csv.gz", "id,name,category,post_count", tags()),
        "tag_aliases": ALIASES,
        "tag_implications": IMPLICATIONS,
    }
    paths = Paths(folder / "project")
    exports = {}
    for name, path in files.items():
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        size = path.stat().st_size
        exports[name] = pin.ExportFile(path.name, size, checksum, "2026-04-01")
        fetched = paths.work("harvest") / "exports" / f"{checksum}.csv.gz"
        fetched.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, fetched)
    pin.save(paths.pin, pin.Pin(SITE, exports))
    return paths


def verdict(paths: Paths, dataset: str) -> dict[tuple[str, str], str]:
    """Returns severity by table and column of what does not hold."""
    tree = json.loads(paths.verdict(dataset).read_text())
    assert tree["success"]
    return {
        (one["table"], one["column"]): one["severity"]
        for one in tree["expectations"]
        if not one["success"]
    }


def test_the_line_passes_the_first_two_gates(paths: Paths) -> None:
    harvest.run(PARAMS.harvest, paths, site=PARAMS.site)
    validate.run("snapshot", PARAMS, paths)
    noted = verdict(paths, "snapshot")
    assert set(noted.values()) <= {"warning"}
    assert ("findings", "alias_to_itself") in noted
    rows = {
        name: pl.read_parquet(paths.snapshot / f"{name}.parquet").height
        for name in ("posts", "tags", "aliases", "implications", "rejected")
    }
    assert rows == {
        "posts": 1216,
        "tags": 139_625,
        "aliases": 69_815,
        "implications": 58_075,
        "rejected": 1,  # a tag without a name
    }
    found = pl.read_parquet(paths.snapshot / "posts.parquet")
    assert found["md5"].is_null().equals(found["is_deleted"])
    assert found["is_deleted"].sum() == 1
    sample.run(PARAMS.sample, paths)
    validate.run("sample", PARAMS, paths)
    assert set(verdict(paths, "sample").values()) <= {"warning"}
    aliases = pl.read_parquet(paths.snapshot / "aliases.parquet")
    assert aliases["antecedent"].str.contains("\u3000").any()
    itself = aliases.filter(pl.col("antecedent") == pl.col("consequent"))
    assert itself["antecedent"].to_list() == ["ears."]
