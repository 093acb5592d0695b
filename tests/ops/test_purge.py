"""A day passes, posts are taken down.

And their images are looked for, byte by byte, in all that the project keeps.

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

from ops.purge import COLLECT, run_dvc
from ops.stale_packs import PurgeError
from pipeline import packs, parquet
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.images import TAKEDOWNS
from pipeline.shard import tfrecord
from sandbox.board.day2 import Day2Event, event_of
from sandbox.board.drawn import SandboxBoard
from tests.builders.project import ROOT, clone_repository, served

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
"""What becomes of an image here when this becomes of its post there.

Images of all others stay.
"""

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class NeedleImage:
    """An image of day 1 that has to go, or one that may stay: bytes out of its pack.

    And out of its record if any.
    """

    post_id: int
    reason: str | None
    needles: tuple[bytes, ...]


@dataclass
class Story:
    """What was seen on the way: where needles were found, by the moment.

    And what the commands printed.
    """

    folder: Path
    pictures: dict[str, NeedleImage] = field(default_factory=dict)  # by md5
    found: dict[str, dict[str, set[str]]] = field(
        default_factory=dict
    )  # moment -> place -> md5s
    results: dict[str, subprocess.CompletedProcess[str]] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)  # of the cache, by the moment

    def search(self, moment: str) -> None:
        """Reads every byte that the project keeps."""
        places = {
            "data": "data",
            "work": ".work",
            "cache": ".dvc",
            "reports": "reports",
            "remote": "../remote",
        }
        self.found[moment] = {
            name: self._images_in(self.folder / place) for name, place in places.items()
        }
        self.count(moment)

    def count(self, moment: str) -> None:
        """Counts the files of the cache."""
        self.files[moment] = sum(
            path.is_file()
            for path in (self.folder / ".dvc" / "cache" / "files").rglob("*")
        )

    def _images_in(self, place: Path) -> set[str]:
        contents = [path.read_bytes() for path in place.rglob("*") if path.is_file()]
        return {
            md5
            for md5, image in self.pictures.items()
            if any(
                needle in content for content in contents for needle in image.needles
            )
        }

    def run(self, moment: str, *command: str) -> None:
        """Runs a command as a user who activated the virtual environment."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}
        self.results[moment] = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def run_or_fail(self, *command: str) -> None:
        """Runs a command that has to succeed."""
        self.run("last", *command)
        assert self.results["last"].returncode == 0, (
            self.results["last"].stdout[-3000:] + self.results["last"].stderr[-3000:]
        )

    def removed(self) -> set[str]:
        """Returns the md5s that have to go."""
        return {md5 for md5, image in self.pictures.items() if image.reason}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Day 1, day 2, and what `e6tag purge` did at each moment."""
    story = Story(tmp_path_factory.mktemp("purge") / "project")
    with served(SandboxBoard(posts=POSTS)) as site:
        copy_project(story.folder, site.base_url, site.static_url)
        story.run_or_fail("e6tag", "refresh")
        story.run_or_fail("dvc", "repro", "shard")
        story.run_or_fail(
            "dvc", "remote", "add", "store", str(story.folder.parent / "remote")
        )
        story.run_or_fail("dvc", "push", "--remote", "store")
    story.pictures = pictures(Paths(story.folder))
    story.search("day 1")
    ports = {
        "port": urlsplit(site.base_url).port,
        "static_port": urlsplit(site.static_url).port,
    }
    with served(day_2(), **ports):
        story.run_or_fail("e6tag", "refresh")
        story.run("too soon", "e6tag", "purge")
        story.count("too soon")
        story.run_or_fail("dvc", "repro", "shard")
    story.search("day 2")
    story.run("unknown remote", "e6tag", "purge", "--remote", "shop")
    story.run("dry run", "e6tag", "purge", "--dry-run", "--remote", "store")
    story.count("dry run")
    story.run("purge", "e6tag", "purge")
    story.search("purge")
    story.run("remote", "e6tag", "purge", "--remote", "store")
    story.search("remote")
    story.run("status", "dvc", "status", "shard", "--with-deps")
    return story


def copy_project(folder: Path, base_url: str, static_url: str) -> None:
    """Copies what the stages need to a new repository, with small parameters."""
    clone_repository(
        folder,
        PARAMETERS,
        base_url=base_url,
        static_url=static_url,
        without=("docs/", "bench/", "tests/"),
    )


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


def pictures(paths: Paths) -> dict[str, NeedleImage]:
    """Returns the images in the packs that have to go.

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
                found[one.md5] = NeedleImage(
                    one.post_id, reasons[one.md5], tuple(needles)
                )
    return found


def needle(picture: bytes) -> bytes:
    """Returns bytes out of the middle of an image, where it is least even.

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
    assert {image.reason for image in story.pictures.values()} == {
        None,
        "forbidden_young",
        *REASONS.values(),
    }
    assert all(len(story.pictures[md5].needles) == 2 for md5 in story.removed()), (
        "all of them were in the shards"
    )
    assert {
        len(needle) for image in story.pictures.values() for needle in image.needles
    } == {NEEDLE}


def test_takedowns_name_each_picture_and_why(story: Story) -> None:
    table = pl.read_parquet(story.folder / "data" / "images" / "takedowns.parquet")
    named = {
        row["md5"]: (row["post_id"], row["reason"])
        for row in table.iter_rows(named=True)
    }
    assert named == {
        md5: (image.post_id, image.reason)
        for md5, image in story.pictures.items()
        if image.reason
    }


def test_pictures_leave_data_with_repro_and_the_cache_with_purge(story: Story) -> None:
    gone = story.removed()
    assert gone <= story.found["day 1"]["data"] & story.found["day 1"]["cache"]
    assert gone & story.found["day 2"]["data"] == set()
    assert gone <= story.found["day 2"]["cache"], "else this test could not fail"
    assert story.results["purge"].returncode == 0, story.results["purge"].stderr
    for place in ("data", "cache", "work", "reports"):
        assert gone & story.found["purge"][place] == set(), place


def test_pictures_that_may_stay_stay_and_dvc_misses_nothing(story: Story) -> None:
    kept = story.pictures.keys() - story.removed()
    assert kept <= story.found["remote"]["data"] & story.found["remote"]["cache"]
    assert "up to date" in story.results["status"].stdout


def test_manifest_has_no_record_that_was_taken_down(story: Story) -> None:
    paths = Paths(story.folder)
    records = pl.concat(
        pl.read_parquet(paths.manifest / f"{split}.parquet") for split in SPLITS
    )
    assert story.removed() & set(records["md5"]) == set()
    assert records.height > 300


def test_purge_before_repro_refuses_and_removes_nothing(story: Story) -> None:
    result = story.results["too soon"]
    assert result.returncode == 1
    assert result.stderr.startswith("error: harvest, ")
    assert ": not up to date, so dvc.lock still refers to older images" in result.stderr
    assert (
        "Nothing was removed. Run dvc repro shard first. Where that stops before "
        "download, run " in result.stderr
    )
    assert len(result.stderr.splitlines()) == 1
    assert story.files["too soon"] == story.files["day 1"]


def test_dry_run_lists_and_removes_nothing(story: Story) -> None:
    result = story.results["dry run"]
    *listed, last, remote = result.stdout.splitlines()
    assert result.returncode == 0
    assert story.files["dry run"] == story.files["day 2"]
    assert len(listed) == story.files["day 2"] - story.files["purge"] > 5
    assert all(line.split()[1].startswith(".dvc/cache/files/md5/") for line in listed)
    assert last.startswith(f"purge: {len(listed):,} files, ")
    assert remote.endswith(
        f"/remote): {len(listed):,} files would go"
    )  # day 2 was not pushed


def test_purge_says_how_much_went_and_what_is_left_to_do(story: Story) -> None:
    lines = story.results["purge"].stdout.splitlines()
    went = story.files["day 2"] - story.files["purge"]
    assert "outputs of older commits go too" in lines[0]
    assert lines[1].startswith(f"purge: {went:,} files, ")
    assert lines[2].endswith(
        "To clean it: dvc gc --workspace --force --cloud --remote store"
    )
    assert story.removed() <= story.found["purge"]["remote"]


def test_a_named_remote_is_cleaned_too(story: Story) -> None:
    assert story.results["remote"].returncode == 0, story.results["remote"].stderr
    assert re.search(
        r"remote store \(.*/remote\): \d+ files are gone\n$",
        story.results["remote"].stdout,
    )
    assert story.removed() & story.found["remote"]["remote"] == set()


def test_an_unknown_remote_is_refused_by_name(story: Story) -> None:
    result = story.results["unknown remote"]
    assert (result.returncode, result.stderr) == (
        1,
        "error: there is no DVC remote shop. Known: store.\n",
    )


@pytest.fixture
def toy(tmp_path: Path) -> Story:
    """A DVC repository whose one stage writes images."""
    story = Story(tmp_path / "toy")
    story.folder.mkdir()
    story.run_or_fail("git", "init", "-q")
    story.run_or_fail("dvc", "init", "-q")
    (story.folder / "pictures").write_text("one")
    stages = {
        "download": {
            "cmd": "cp pictures images",
            "deps": ["pictures"],
            "outs": ["images"],
        }
    }
    (story.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    return story


def purge(story: Story) -> subprocess.CompletedProcess[str]:
    story.run(
        "purge",
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{MAIN}",
    )
    return story.results["purge"]


MAIN = "from ops.purge import main; main()"


def test_without_a_lock_file_nothing_would_be_kept_so_nothing_goes(toy: Story) -> None:
    assert (
        purge(toy).stderr == "error: there is no dvc.lock here: nothing would be kept. "
        "Run dvc repro first.\n"
    )


@pytest.mark.parametrize("content", ["", "schema: '2.0'\nstages: {}\n"])
def test_where_the_lock_file_has_no_stages_nothing_goes(
    toy: Story, content: str
) -> None:
    toy.run_or_fail("dvc", "repro", "-q")
    (toy.folder / "dvc.lock").write_text(content)
    assert purge(toy).stderr.startswith("error: dvc.lock has no stages: nothing would")


def test_reason_of_dvc_is_its_error_and_no_warning(toy: Story) -> None:
    """`dvc gc` warns of what it will do before it finds out that it cannot."""
    toy.run_or_fail("dvc", "repro", "-q")
    arguments = [*COLLECT, "--cloud", "--remote", "nowhere"]
    with pytest.raises(PurgeError, match=r"failed: config.* 'nowhere' doesn't"):
        run_dvc(toy.folder, *arguments)


def test_images_leave_unfinished_runs_of_an_ablation_and_checkpoints_stay(
    toy: Story,
) -> None:
    toy.run_or_fail("dvc", "repro", "-q")
    run = toy.folder / ".work" / "ablation" / "0123"
    images = run / "data" / "images" / "pack-1.parquet"
    checkpoint = run / ".work" / "train" / "epoch-00001"
    for file in (images, checkpoint):
        file.parent.mkdir(parents=True)
        file.write_text("one")
    done = purge(toy)
    assert done.returncode == 0, done.stderr
    assert "purge: .work/ablation/0123/data is removed" in done.stdout
    assert not images.exists()
    assert checkpoint.exists()


def test_a_cache_that_others_may_share_is_left_alone(toy: Story) -> None:
    toy.run_or_fail("dvc", "cache", "dir", str(toy.folder.parent / "shared"))
    for content in ("one", "two"):
        (toy.folder / "pictures").write_text(content)
        toy.run_or_fail("dvc", "repro")
    result = purge(toy)
    assert result.returncode == 1
    assert (
        "shared lies outside this project, and others may share it: it is "
        "left as it is." in result.stderr
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
    toy.run_or_fail("dvc", "repro")
    shared = toy.folder.parent / "shared"
    (toy.folder / ".dvc" / "cache").rename(shared)
    (toy.folder / ".dvc" / "cache").symlink_to(shared)
    result = purge(toy)
    assert result.returncode == 1
    assert (
        "shared lies outside this project, and others may share it: it is "
        "left as it is." in result.stderr
    )


def test_a_lock_file_that_cannot_be_read_is_one_line(toy: Story) -> None:
    for content in (b"<<<<<<< HEAD\n- a: {", b"\xff\xfe", b"stages: [a, b]"):
        (toy.folder / "dvc.lock").write_bytes(content)
        assert purge(toy).stderr.startswith(
            "error: dvc.lock cannot be read. Nothing was removed."
        )


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Day 2 on which `sample` cannot succeed, so that `dvc repro` stops there.

    What was done about it, and its end.
    """
    story = Story(tmp_path_factory.mktemp("stuck") / "project")
    with served(SandboxBoard(posts=POSTS)) as site:
        copy_project(story.folder, site.base_url, site.static_url)
        story.run_or_fail("e6tag", "refresh")
        story.run_or_fail("dvc", "repro", "download")
    paths = Paths(story.folder)
    story.pictures = packed(paths)
    story.search("day 1")
    ports = {
        "port": urlsplit(site.base_url).port,
        "static_port": urlsplit(site.static_url).port,
    }
    with served(day_2(), **ports):
        story.run_or_fail("e6tag", "refresh")
        possible = paths.params.read_text()
        paths.params.write_text(
            possible.replace("min_positives: 40", "min_positives: 9000")
        )
        story.run("repro", "dvc", "repro", "download")
        story.run("too soon", "e6tag", "purge")
        story.search("too soon")
        story.run("download", "python", "-m", "pipeline", "download")
        story.search("download")
        story.run("verify", "python", "-m", "pipeline", "packs", "verify")
        story.run("dry run", "e6tag", "purge", "--dry-run")
        story.count("dry run")
        story.run("purge", "e6tag", "purge")
        story.search("purge")
        story.run_or_fail("dvc", "checkout", "data/images")
        story.search("checkout")
        paths.params.write_text(possible)
        story.run_or_fail("dvc", "repro", "download")
        story.run("end", "e6tag", "purge")
        story.search("end")
    return story


def packed(paths: Paths) -> dict[str, NeedleImage]:
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
        in stuck.results["repro"].stdout + stuck.results["repro"].stderr
    )
    result = stuck.results["download"]
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "error: data/sample/posts.parquet is not there. Run dvc repro: the stage that "
        "writes it makes it."
    )
    assert "images may no longer be kept and are removed: " in result.stderr
    assert stuck.removed() == stuck.removed() & stuck.found["too soon"]["data"] > set()
    assert (
        stuck.removed()
        & (stuck.found["download"]["data"] | stuck.found["download"]["work"])
        == set()
    )
    table = pl.read_parquet(Paths(stuck.folder).images / "takedowns.parquet")
    assert dict(table.select("md5", "reason").iter_rows()).keys() == stuck.removed()
    assert stuck.results["verify"].returncode == 0, stuck.results["verify"].stdout


def test_purge_says_what_to_do_where_repro_stops_before_download(stuck: Story) -> None:
    result = stuck.results["too soon"]
    assert result.returncode == 1
    assert (
        "download: not up to date, so dvc.lock still refers to older images, which "
        "would be kept." in result.stderr
    )
    assert (
        "Where that stops before download, run python -m pipeline download"
        in result.stderr
    )
    assert stuck.found["too soon"]["cache"] == stuck.found["day 1"]["cache"]


def test_packs_that_were_superseded_leave_the_cache_though_sample_cannot_succeed(
    stuck: Story,
) -> None:
    result = stuck.results["purge"]
    assert result.returncode == 1
    assert re.match(
        r"purge: dvc.lock names \d+ packs with \d+ images that were taken down; "
        r"it now names",
        result.stdout,
    )
    assert (
        "sample, validate@sample, download: not up to date, so only packs "
        "were cleaned" in result.stderr
    )
    assert result.stderr.endswith("run dvc repro download, then e6tag purge again.\n")
    assert stuck.removed() <= stuck.found["download"]["cache"], (
        "else this test could not fail"
    )
    assert stuck.removed() & stuck.found["purge"]["cache"] == set()


def test_what_dvc_still_refers_to_stays_though_sample_cannot_succeed(
    stuck: Story,
) -> None:
    kept = stuck.pictures.keys() - stuck.removed()
    assert kept <= stuck.found["purge"]["cache"] & stuck.found["checkout"]["data"]
    assert stuck.removed() & stuck.found["checkout"]["data"] == set()
    assert stuck.results["end"].returncode == 0, stuck.results["end"].stderr
    assert kept <= stuck.found["end"]["data"] & stuck.found["end"]["cache"]


def test_dry_run_counts_superseded_packs_and_changes_nothing(stuck: Story) -> None:
    result = stuck.results["dry run"]
    assert "it would name those in data/images" in result.stdout
    assert stuck.files["dry run"] == stuck.files["download"]
    assert (
        sum(".dvc/cache/files/md5/" in line for line in result.stdout.splitlines()) >= 1
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
        cache = root / ".dvc" / "cache"
        return len(stale_packs.find_stale_packs(root, cache, lock).paths)

    assert count() == 0  # the picture that may stay would be lost
    packs.write(root / "data/images/pack-1.parquet", [picture("b" * 32)])
    assert count() == 1
    packs.write(root / "data/images/pack-2.parquet", [picture("a" * 32)])
    assert count() == 0  # a kill came between the list and the packs


def picture(md5: str) -> packs.PackedImage:
    return packs.PackedImage(md5, 1, "original", b"bytes", "png", 9, 9)


def taken(md5: str) -> dict[str, Any]:
    return {"md5": md5, "post_id": 1, "reason": "deleted", "snapshot": "2026"}
