"""A day passes, posts are taken down.

And their pictures are looked for, byte by byte, in all that the project keeps.

The line runs as a user runs it: `dvc repro`, `e6tag refresh`, `dvc repro`, `e6tag
purge`, in a project of its own with a DVC remote, against a board served at the same
addresses on both days.
"""

import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest
import yaml

from pipeline import packs, parquet
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.images import TAKEDOWNS
from pipeline.shard import tfrecord
from sandbox.board.day2 import Day2Event, event_of
from sandbox.board.drawn import SandboxBoard
from tests.builders.project import ROOT, served

POSTS = 600  # the first at which each fate falls on a post that may be sampled
NEEDLE = 64  # bytes of a picture that are looked for: noise to anybody else
STAYING = 4  # pictures that may stay and are looked for as well
GROWN_YOUNG = 12  # index of a post that day 2 rates q and tags young

PARAMETERS: dict[str, dict[str, Any]] = {
    # All that may be sampled is.
    "sample": {
        "ratings": ["s", "q", "e"],
        "min_positives": 40,
        "min_eval_positives": 2,
        "min_tags": 4,
        "size": POSTS,
        "split": {"train": 0.7, "validation": 0.15, "test": 0.15},
    },
    "download": {"pack_images": 50, "max_rejected": 0.1},
    "shard": {"shards": 4, "size": 64},
    "train": {"size": 64},
}

REASONS = {
    Day2Event.TAKEN_DOWN: "deleted",
    Day2Event.EXPUNGED: "expunged",
    Day2Event.REPLACED: "replaced",
    Day2Event.OPTED_OUT: "opted_out",
}
"""What becomes of a picture here when this becomes of its post there.

Pictures of all others stay.
"""

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Held:
    """A picture of day 1 that has to go, or one that may stay: bytes out of its pack.

    And out of its record if any.
    """

    post_id: int
    reason: str | None
    needles: tuple[bytes, ...]


@dataclass
class Story:
    """What was seen on the way: where needles were found, by the moment.

    And what the commands said.
    """

    folder: Path
    pictures: dict[str, Held] = field(default_factory=dict)  # by md5
    found: dict[str, dict[str, set[str]]] = field(
        default_factory=dict
    )  # moment -> place -> md5s
    said: dict[str, subprocess.CompletedProcess[str]] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)  # of the cache, by the moment

    def look(self, moment: str) -> None:
        """Reads every byte that the project keeps."""
        places = {
            "data": "data",
            "work": ".work",
            "cache": ".dvc",
            "reports": "reports",
            "remote": "../remote",
        }
        self.found[moment] = {
            name: self._holding(self.folder / place) for name, place in places.items()
        }
        self.count(moment)

    def count(self, moment: str) -> None:
        """Counts the files of the cache."""
        self.files[moment] = sum(
            path.is_file()
            for path in (self.folder / ".dvc" / "cache" / "files").rglob("*")
        )

    def _holding(self, place: Path) -> set[str]:
        contents = [path.read_bytes() for path in place.rglob("*") if path.is_file()]
        return {
            md5
            for md5, held in self.pictures.items()
            if any(needle in content for content in contents for needle in held.needles)
        }

    def run(self, moment: str, *command: str) -> None:
        """Runs a command as a user who activated the virtual environment."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}
        self.said[moment] = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def must(self, *command: str) -> None:
        """Runs a command that has to succeed."""
        self.run("last", *command)
        assert self.said["last"].returncode == 0, (
            self.said["last"].stdout[-3000:] + self.said["last"].stderr[-3000:]
        )

    def gone(self) -> set[str]:
        """Returns the md5s that have to go."""
        return {md5 for md5, held in self.pictures.items() if held.reason}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Day 1, day 2, and what `e6tag purge` did at each moment."""
    told = Story(tmp_path_factory.mktemp("purge") / "project")
    with served(SandboxBoard(posts=POSTS)) as site:
        copy_project(told.folder, site.base_url, site.static_url)
        told.must("e6tag", "refresh")
        told.must("dvc", "repro", "shard")
        told.must("dvc", "remote", "add", "store", str(told.folder.parent / "remote"))
        told.must("dvc", "push", "--remote", "store")
    told.pictures = pictures(Paths(told.folder))
    told.look("day 1")
    ports = {
        "port": urlsplit(site.base_url).port,
        "static_port": urlsplit(site.static_url).port,
    }
    with served(day_2(), **ports):
        told.must("e6tag", "refresh")
        told.run("too soon", "e6tag", "purge")
        told.count("too soon")
        told.must("dvc", "repro", "shard")
    told.look("day 2")
    told.run("unknown remote", "e6tag", "purge", "--remote", "shop")
    told.run("dry run", "e6tag", "purge", "--dry-run", "--remote", "store")
    told.count("dry run")
    told.run("purge", "e6tag", "purge")
    told.look("purge")
    told.run("remote", "e6tag", "purge", "--remote", "store")
    told.look("remote")
    told.run("status", "dvc", "status", "shard", "--with-deps")
    return told


def copy_project(folder: Path, base_url: str, static_url: str) -> None:
    """Copies what git tracks (or would) to a new repository, with small parameters."""
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in files:
        if (ROOT / name).is_file() and not name.startswith(
            ("docs/", "bench/", "tests/")
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / "dvc.lock").unlink(missing_ok=True)
    subprocess.run(["git", "init", "-q", folder], check=True)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, changes in PARAMETERS.items():
        params[section] |= changes
    params["site"] |= {"name": "custom", "base_url": base_url, "static_url": static_url}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def day_2() -> SandboxBoard:
    """Returns the board a day later.

    One more post has become one that the rules forbid.
    """
    board = SandboxBoard(posts=POSTS, day=2)
    post = board.posts[GROWN_YOUNG]
    assert event_of(GROWN_YOUNG) is Day2Event.NOTHING
    change = max(one.change_seq for one in board.posts) + 1
    young = replace(
        post, rating="q", tags=tuple(sorted({*post.tags, "young"})), change_seq=change
    )
    board.posts = [young if one.id == post.id else one for one in board.posts]
    return board


def pictures(paths: Paths) -> dict[str, Held]:
    """Returns the pictures in the packs that have to go.

    And some others, with what is to be looked for.
    """
    board = SandboxBoard(posts=POSTS).posts
    fates = {post.md5: event_of(index) for index, post in enumerate(board)}
    reasons = {md5: REASONS.get(fate) for md5, fate in fates.items()} | {
        board[GROWN_YOUNG].md5: "forbidden_young"
    }
    records = dict(jpegs(paths.shards))
    found = {}
    for path in packs.pack_files(paths.images):
        for one in packs.read_images(path):
            if reasons[one.md5] or len(found) < STAYING:
                needles = [
                    needle(one.bytes),
                    *([needle(records[one.md5])] if one.md5 in records else []),
                ]
                found[one.md5] = Held(one.post_id, reasons[one.md5], tuple(needles))
    return found


def needle(picture: bytes) -> bytes:
    """Returns bytes out of the middle of a picture, where it is least even.

    Flat ground is alike in many.
    """
    # So are the tables before a JPEG's scan, which the marker ffda opens.
    scan = picture.find(b"\xff\xda") + 16 if picture.startswith(b"\xff\xd8") else 0
    places = range(
        max(scan, len(picture) // 3),
        max(scan, len(picture) // 3) + len(picture) // 4,
        16,
    )
    return max(
        (picture[at : at + NEEDLE] for at in places), key=lambda some: len(set(some))
    )


def jpegs(shards: Path) -> Iterator[tuple[str, bytes]]:
    """Yields md5 and JPEG of every record."""
    for path in sorted(shards.glob("*.tfrecord")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            features = (
                tfrecord._example_class()
                .FromString(content[at + 12 : at + 12 + length])
                .features.feature
            )
            yield (
                features["md5"].bytes_list.value[0].decode(),
                features["jpeg"].bytes_list.value[0],
            )
            at += length + 16


def test_every_kind_of_takedown_meets_a_sampled_picture(story: Story) -> None:
    assert {held.reason for held in story.pictures.values()} == {
        None,
        "forbidden_young",
        *REASONS.values(),
    }
    assert all(len(story.pictures[md5].needles) == 2 for md5 in story.gone()), (
        "all of them were in the shards"
    )
    assert {
        len(needle) for held in story.pictures.values() for needle in held.needles
    } == {NEEDLE}


def test_takedowns_name_each_picture_and_why(story: Story) -> None:
    table = pl.read_parquet(story.folder / "data" / "images" / "takedowns.parquet")
    named = {
        row["md5"]: (row["post_id"], row["reason"])
        for row in table.iter_rows(named=True)
    }
    assert named == {
        md5: (held.post_id, held.reason)
        for md5, held in story.pictures.items()
        if held.reason
    }


def test_pictures_leave_data_with_repro_and_the_cache_with_purge(story: Story) -> None:
    gone = story.gone()
    assert gone <= story.found["day 1"]["data"] & story.found["day 1"]["cache"]
    assert gone & story.found["day 2"]["data"] == set()
    assert gone <= story.found["day 2"]["cache"], "else this test could not fail"
    assert story.said["purge"].returncode == 0, story.said["purge"].stderr
    for place in ("data", "cache", "work", "reports"):
        assert gone & story.found["purge"][place] == set(), place


def test_pictures_that_may_stay_stay_and_dvc_misses_nothing(story: Story) -> None:
    kept = story.pictures.keys() - story.gone()
    assert kept <= story.found["remote"]["data"] & story.found["remote"]["cache"]
    assert "up to date" in story.said["status"].stdout


def test_manifest_has_no_record_that_was_taken_down(story: Story) -> None:
    paths = Paths(story.folder)
    records = pl.concat(
        pl.read_parquet(paths.manifest / f"{split}.parquet") for split in SPLITS
    )
    assert story.gone() & set(records["md5"]) == set()
    assert records.height > 300


def test_purge_before_repro_refuses_and_removes_nothing(story: Story) -> None:
    said = story.said["too soon"]
    assert said.returncode == 1
    assert said.stderr.startswith("error: harvest, ")
    assert ": not up to date, so dvc.lock still refers to older pictures" in said.stderr
    assert (
        "Nothing was removed. Run dvc repro shard first. Where that stops before "
        "download, run " in said.stderr
    )
    assert len(said.stderr.splitlines()) == 1
    assert story.files["too soon"] == story.files["day 1"]


def test_dry_run_lists_and_removes_nothing(story: Story) -> None:
    said = story.said["dry run"]
    *listed, last, remote = said.stdout.splitlines()
    assert said.returncode == 0
    assert story.files["dry run"] == story.files["day 2"]
    assert len(listed) == story.files["day 2"] - story.files["purge"] > 5
    assert all(line.split()[1].startswith(".dvc/cache/files/md5/") for line in listed)
    assert last.startswith(f"purge: {len(listed):,} files, ")
    assert remote.endswith(
        f"/remote): {len(listed):,} files would go"
    )  # day 2 was not pushed


def test_purge_says_how_much_went_and_what_is_left_to_do(story: Story) -> None:
    lines = story.said["purge"].stdout.splitlines()
    went = story.files["day 2"] - story.files["purge"]
    assert "outputs of older commits go too" in lines[0]
    assert lines[1].startswith(f"purge: {went:,} files, ")
    assert lines[2].endswith(
        "To clean it: dvc gc --workspace --force --cloud --remote store"
    )
    assert story.gone() <= story.found["purge"]["remote"]


def test_a_named_remote_is_cleaned_too(story: Story) -> None:
    assert story.said["remote"].returncode == 0, story.said["remote"].stderr
    assert re.search(
        r"remote store \(.*/remote\): \d+ files are gone\n$",
        story.said["remote"].stdout,
    )
    assert story.gone() & story.found["remote"]["remote"] == set()


def test_an_unknown_remote_is_refused_by_name(story: Story) -> None:
    said = story.said["unknown remote"]
    assert (said.returncode, said.stderr) == (
        1,
        "error: there is no DVC remote shop. Known: store.\n",
    )


@pytest.fixture
def toy(tmp_path: Path) -> Story:
    """A DVC repository whose one stage writes pictures."""
    told = Story(tmp_path / "toy")
    told.folder.mkdir()
    told.must("git", "init", "-q")
    told.must("dvc", "init", "-q")
    (told.folder / "pictures").write_text("one")
    stages = {
        "download": {
            "cmd": "cp pictures images",
            "deps": ["pictures"],
            "outs": ["images"],
        }
    }
    (told.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    return told


def purge(told: Story) -> subprocess.CompletedProcess[str]:
    told.run(
        "purge",
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{MAIN}",
    )
    return told.said["purge"]


MAIN = "from ops.purge import main; main()"


def test_without_a_lock_file_nothing_would_be_kept_so_nothing_goes(toy: Story) -> None:
    assert (
        purge(toy).stderr == "error: there is no dvc.lock here: nothing would be kept. "
        "Run dvc repro first.\n"
    )


def test_a_cache_that_others_may_share_is_left_alone(toy: Story) -> None:
    toy.must("dvc", "cache", "dir", str(toy.folder.parent / "shared"))
    for content in ("one", "two"):
        (toy.folder / "pictures").write_text(content)
        toy.must("dvc", "repro")
    said = purge(toy)
    assert said.returncode == 1
    assert (
        "shared lies outside this project, and others may share it. Nothing was "
        "removed." in said.stderr
    )
    assert (
        sum(
            path.read_bytes() == b"one"
            for path in (toy.folder.parent / "shared").rglob("*")
            if path.is_file()
        )
        == 1
    )


def test_a_cache_behind_a_link_is_not_taken_for_this_projects_own(toy: Story) -> None:
    toy.must("dvc", "repro")
    shared = toy.folder.parent / "shared"
    (toy.folder / ".dvc" / "cache").rename(shared)
    (toy.folder / ".dvc" / "cache").symlink_to(shared)
    said = purge(toy)
    assert said.returncode == 1
    assert (
        "shared lies outside this project, and others may share it. Nothing was "
        "removed." in said.stderr
    )


def test_a_lock_file_that_cannot_be_read_is_one_line(toy: Story) -> None:
    (toy.folder / "dvc.lock").write_text("<<<<<<< HEAD\n- a: {")
    assert purge(toy).stderr.startswith(
        "error: dvc.lock cannot be read. Nothing was removed."
    )


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Day 2 on which `sample` cannot succeed, so that `dvc repro` stops there.

    What was done about it, and its end.
    """
    told = Story(tmp_path_factory.mktemp("stuck") / "project")
    with served(SandboxBoard(posts=POSTS)) as site:
        copy_project(told.folder, site.base_url, site.static_url)
        told.must("e6tag", "refresh")
        told.must("dvc", "repro", "download")
    paths = Paths(told.folder)
    told.pictures = packed(paths)
    told.look("day 1")
    ports = {
        "port": urlsplit(site.base_url).port,
        "static_port": urlsplit(site.static_url).port,
    }
    with served(day_2(), **ports):
        told.must("e6tag", "refresh")
        possible = paths.params.read_text()
        paths.params.write_text(
            possible.replace("min_positives: 40", "min_positives: 9000")
        )
        told.run("repro", "dvc", "repro", "download")
        told.run("too soon", "e6tag", "purge")
        told.look("too soon")
        told.run("download", "python", "-m", "pipeline", "download")
        told.look("download")
        told.run("verify", "python", "-m", "pipeline", "packs", "verify")
        told.run("dry run", "e6tag", "purge", "--dry-run")
        told.count("dry run")
        told.run("purge", "e6tag", "purge")
        told.look("purge")
        told.must("dvc", "checkout", "data/images")
        told.look("checkout")
        paths.params.write_text(possible)
        told.must("dvc", "repro", "download")
        told.run("end", "e6tag", "purge")
        told.look("end")
    return told


def packed(paths: Paths) -> dict[str, Held]:
    """As `pictures`, of packs alone."""
    shards = paths.shards
    shards.mkdir(parents=True)
    found = pictures(paths)
    shards.rmdir()
    return found


def test_download_by_itself_takes_pictures_down_where_sample_cannot_succeed(
    stuck: Story,
) -> None:
    assert (
        "sample.min_positives 9,000"
        in stuck.said["repro"].stdout + stuck.said["repro"].stderr
    )
    said = stuck.said["download"]
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1] == (
        "error: data/sample/posts.parquet is not there. Run dvc repro: the stage that "
        "writes it makes it."
    )
    assert "pictures may no longer be kept and leave: " in said.stderr
    assert stuck.gone() == stuck.gone() & stuck.found["too soon"]["data"] > set()
    assert (
        stuck.gone()
        & (stuck.found["download"]["data"] | stuck.found["download"]["work"])
        == set()
    )
    table = pl.read_parquet(Paths(stuck.folder).images / "takedowns.parquet")
    assert dict(table.select("md5", "reason").iter_rows()).keys() == stuck.gone()
    assert stuck.said["verify"].returncode == 0, stuck.said["verify"].stdout


def test_purge_says_what_to_do_where_repro_stops_before_download(stuck: Story) -> None:
    said = stuck.said["too soon"]
    assert said.returncode == 1
    assert (
        "download: not up to date, so dvc.lock still refers to older pictures, which "
        "would be kept." in said.stderr
    )
    assert (
        "Where that stops before download, run python -m pipeline download"
        in said.stderr
    )
    assert stuck.found["too soon"]["cache"] == stuck.found["day 1"]["cache"]


def test_packs_that_were_superseded_leave_the_cache_though_sample_cannot_succeed(
    stuck: Story,
) -> None:
    said = stuck.said["purge"]
    assert said.returncode == 1
    assert re.match(
        r"purge: dvc.lock names \d+ packs with \d+ pictures that were taken down; "
        r"it now names",
        said.stdout,
    )
    assert (
        "sample, validate@sample, download: not up to date, so this was about packs "
        "alone" in said.stderr
    )
    assert said.stderr.endswith("run dvc repro download, then e6tag purge again.\n")
    assert stuck.gone() <= stuck.found["download"]["cache"], (
        "else this test could not fail"
    )
    assert stuck.gone() & stuck.found["purge"]["cache"] == set()


def test_what_dvc_still_refers_to_stays_though_sample_cannot_succeed(
    stuck: Story,
) -> None:
    kept = stuck.pictures.keys() - stuck.gone()
    assert kept <= stuck.found["purge"]["cache"] & stuck.found["checkout"]["data"]
    assert stuck.gone() & stuck.found["checkout"]["data"] == set()
    assert stuck.said["end"].returncode == 0, stuck.said["end"].stderr
    assert kept <= stuck.found["end"]["data"] & stuck.found["end"]["cache"]


def test_dry_run_counts_superseded_packs_and_changes_nothing(stuck: Story) -> None:
    said = stuck.said["dry run"]
    assert "it would name those in data/images" in said.stdout
    assert stuck.files["dry run"] == stuck.files["download"]
    assert (
        sum(".dvc/cache/files/md5/" in line for line in said.stdout.splitlines()) >= 1
    )


def test_packs_that_are_not_all_here_are_not_taken_for_superseded(
    tmp_path: Path,
) -> None:
    from ops import stale_packs

    root, files = tmp_path, tmp_path / ".dvc" / "cache" / "files" / "md5"
    (root / "data" / "images").mkdir(parents=True)
    parquet.write(root / "data/images/takedowns.parquet", [taken("a" * 32)], TAKEDOWNS)
    packs.write(files / "11" / "11", [picture("a" * 32), picture("b" * 32)])
    (files / "22").mkdir()
    (files / "22" / "22.dir").write_text(
        '[{"md5": "1111", "relpath": "pack-1.parquet"}]'
    )
    lock = {"download": {"outs": [{"path": "data/images", "md5": "2222.dir"}]}}

    def count() -> int:
        return len(
            stale_packs.find_stale_packs(root, root / ".dvc" / "cache", lock).packs
        )

    assert count() == 0  # the picture that may stay would be lost
    packs.write(root / "data/images/pack-1.parquet", [picture("b" * 32)])
    assert count() == 1
    packs.write(root / "data/images/pack-2.parquet", [picture("a" * 32)])
    assert count() == 0  # a kill came between the list and the packs


def picture(md5: str) -> packs.PackedImage:
    return packs.PackedImage(md5, 1, "original", b"bytes", "png", 9, 9)


def taken(md5: str) -> dict[str, Any]:
    return {"md5": md5, "post_id": 1, "reason": "deleted", "snapshot": "2026"}
