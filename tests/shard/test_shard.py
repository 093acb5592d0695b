"""Shards: the same records, in the same place, with the same bytes, on any machine."""

import hashlib
import io
import os
import signal
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import google_crc32c
import polars as pl
import pytest
from distributed import LocalCluster
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from e6tag.images import fit_jpeg
from pipeline import packs, shard, workers
from pipeline.errors import CorruptFile, SiteUnreachable, TooManyRejects
from pipeline.params.cluster import Cluster
from pipeline.shard import tfrecord
from tests.builders.project import ROOT, Project, damage, hashes


def run(project: Project, cluster: Cluster | None = None) -> dict[str, str]:
    shard.run(
        project.params.shard, project.paths, cluster=cluster or project.params.cluster
    )
    return hashes(project.paths.shards)


def framed(path: Path) -> list[bytes]:
    """Reads the records of a TFRecord file without our writer; checks checksums."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body, tail = data[12 : 12 + length], data[12 + length : 16 + length]
        for content, stored in ((data[:8], data[8:12]), (body, tail)):
            crc = google_crc32c.value(content)
            assert struct.unpack("<I", stored)[0] == (
                ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
            )
        found.append(body)
        data = data[16 + length :]
    return found


def test_every_record_is_in_the_shard_its_hash_says(ready: Project) -> None:
    run(ready)
    index = pl.read_parquet(ready.paths.shards / "index.parquet")
    table = pl.read_parquet(ready.paths.manifest / "train.parquet")
    assert index.filter(pl.col("split") == "train")["records"].sum() == table.height
    for name, records, sha256 in index.select("shard", "records", "sha256").iter_rows():
        path = ready.paths.shards / name
        assert len(framed(path)) == records
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    place = shard.shard_hash(table["md5"])
    for md5, number in zip(table["md5"], place % 4, strict=True):
        assert (
            md5.encode()
            in (
                ready.paths.shards / f"train-{number:05d}-of-00004.tfrecord"
            ).read_bytes()
        )


def test_one_worker_and_two_write_the_same_bytes(ready: Project) -> None:
    two = run(ready)
    for path in [
        *ready.paths.shards.iterdir(),
        *ready.paths.work("shard").glob("*.json"),
    ]:
        path.unlink()
    assert run(ready, Cluster(workers=1)) == two


def test_when_one_post_changes_one_shard_changes(ready: Project) -> None:
    before = run(ready)
    written = {
        path.name: path.stat().st_mtime_ns
        for path in ready.paths.shards.glob("*.tfrecord")
    }
    path = ready.paths.manifest / "train.parquet"
    table = pl.read_parquet(path)
    changed = table.with_columns(
        label_ids=pl.when(pl.col("post_id") == table["post_id"][0])
        .then(pl.col("label_ids").list.head(1))
        .otherwise("label_ids")
    )
    changed.write_parquet(path)
    after = run(ready)
    assert sum(after[name] != before[name] for name in written) == 1
    touched = [
        name
        for name, time in written.items()
        if (ready.paths.shards / name).stat().st_mtime_ns != time
    ]
    assert len(touched) == 1


def test_parameters_are_part_of_what_was_finished(ready: Project) -> None:
    before = run(ready)
    shard.run(
        ready.params.shard.model_copy(update={"quality": 50}),
        ready.paths,
        cluster=ready.params.cluster,
    )
    assert not set(before.values()) & set(hashes(ready.paths.shards).values()) - {
        before["rejected.parquet"]
    }


def test_damaged_shard_is_found_named_and_written_again(
    ready: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    before = run(ready)
    path = ready.paths.shards / "train-00002-of-00004.tfrecord"
    path.write_bytes(path.read_bytes()[:-7] + b"damaged")
    assert run(ready) == before
    assert "train-00002-of-00004.tfrecord is damaged" in capfd.readouterr().err


def test_damaged_pack_stops_the_stage_and_is_named(ready: Project) -> None:
    path = packs.pack_files(ready.paths.images)[0]
    damage(path)
    with pytest.raises(CorruptFile, match=path.name):
        run(ready)


def test_killed_sharding_keeps_what_was_finished_and_ends_with_the_same_bytes(
    ready: Project,
) -> None:
    undisturbed = run(ready)
    notes = ready.paths.work("shard")
    for path in [*ready.paths.shards.iterdir(), *notes.glob("*.json")]:
        path.unlink()
    kept: dict[str, tuple[int, int]] = {}
    for finished in (1, 3):
        kill_sharding_after(ready, finished)
        assert states(ready).items() >= kept.items()
        kept = states(ready)
        assert finished <= len(kept) < len(undisturbed)
    assert run(ready) == undisturbed
    assert states(ready).items() >= kept.items()


def kill_sharding_after(project: Project, finished: int) -> None:
    """Runs the stage and kills it while it works, after so many finished shards."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "shard"],
        cwd=project.paths.root,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and len(states(project)) < finished:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before the kill"


def states(project: Project) -> dict[str, tuple[int, int]]:
    """Inode and time of change of the shards that a note calls finished, by name."""
    found = {}
    for note in project.paths.work("shard").glob("*.tfrecord.json"):
        status = (project.paths.shards / note.stem).stat()
        found[note.stem] = status.st_ino, status.st_mtime_ns
    return found


def test_shards_left_from_other_parameters_are_removed(ready: Project) -> None:
    run(ready)
    shard.run(
        ready.params.shard.model_copy(update={"shards": 2}),
        ready.paths,
        cluster=ready.params.cluster,
    )
    assert sorted(path.name for path in ready.paths.shards.glob("train-*")) == [
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
    ]


def png(size: tuple[int, int], colour: tuple[int, ...], mode: str = "RGB") -> bytes:
    Image.new(mode, size, colour).save(out := io.BytesIO(), "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("how", "corner"),
    [("pad", (255, 255, 255)), ("crop", (200, 10, 10)), ("stretch", (200, 10, 10))],
)
def test_each_fit_gives_a_square(how: str, corner: tuple[int, int, int]) -> None:
    wide = png((90, 30), (200, 10, 10))
    body = fit_jpeg(wide, size=64, fit=how, quality=90)
    with Image.open(io.BytesIO(body)) as picture:
        assert picture.size == (64, 64)
        got = picture.getpixel((1, 1))
    assert all(abs(a - b) < 8 for a, b in zip(got, corner, strict=True))


def test_transparency_is_flattened_on_white() -> None:
    transparent = png((40, 40), (200, 10, 10, 0), "RGBA")
    body = fit_jpeg(transparent, size=32, fit="pad", quality=90)
    with Image.open(io.BytesIO(body)) as picture:
        assert min(picture.getpixel((16, 16))) > 250


@given(st.lists(st.integers(0, 70_000)), st.binary(max_size=300), st.integers(0, 2**40))
def test_records_are_framed_as_the_format_says(
    labels: list[int], jpeg: bytes, post_id: int
) -> None:
    record = tfrecord.example({"post_id": [post_id], "labels": labels, "jpeg": jpeg})
    content = tfrecord.frame(record)
    assert struct.unpack("<Q", content[:8])[0] == len(record)
    assert content[12:-4] == record


def test_tensorflow_reads_what_was_written(ready: Project) -> None:
    run(ready)
    script = (
        "import os; os.environ['TF_CPP_MIN_LOG_LEVEL']='3'\n"
        "import sys, tensorflow as tf\n"
        "spec={'post_id':tf.io.FixedLenFeature([],tf.int64),'md5':tf.io.FixedLenFeature([],tf.string),"
        "'labels':tf.io.VarLenFeature(tf.int64),'jpeg':tf.io.FixedLenFeature([],tf.string)}\n"
        "for record in tf.data.TFRecordDataset(sys.argv[1]):\n"
        "    one=tf.io.parse_single_example(record,spec)\n"
        "    labels=tf.sparse.to_dense(one['labels']).numpy().tolist()\n"
        "    shape=tf.io.decode_jpeg(one['jpeg']).shape\n"
        "    md5=one['md5'].numpy().decode()\n"
        "    print(one['post_id'].numpy(),md5,*shape,*labels)\n"
    )
    path = ready.paths.shards / "train-00001-of-00004.tfrecord"
    result = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in result.stdout.splitlines()]
    table = {
        row["post_id"]: row
        for row in pl.read_parquet(ready.paths.manifest / "train.parquet").iter_rows(
            named=True
        )
    }
    assert len(lines) > 10
    for post_id, md5, height, width, channels, *ids in lines:
        row = table[int(post_id)]
        assert (md5, height, width, channels) == (row["md5"], "64", "64", "3")
        assert [int(one) for one in ids] == row["label_ids"]


def test_a_dask_cluster_writes_the_same_bytes(ready: Project) -> None:
    local = run(ready)
    for path in [
        *ready.paths.shards.iterdir(),
        *ready.paths.work("shard").glob("*.json"),
    ]:
        path.unlink()
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        assert run(ready, Cluster(scheduler=cluster.scheduler_address)) == local


def test_a_scheduler_that_is_not_there_can_be_tried_later(
    ready: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "DASK_TIMEOUT", 1)
    with pytest.raises(
        SiteUnreachable, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"
    ):
        run(ready, Cluster(scheduler="tcp://127.0.0.1:9"))


def break_one_image(project: Project) -> int:
    """Leaves an image in its pack that no decoder can read; returns its post."""
    manifest = pl.read_parquet(project.paths.manifest / "train.parquet")
    md5, post_id, name = manifest.select("md5", "post_id", "pack").row(0)
    path = project.paths.images / name
    images = []
    for image in packs.read_images(path):
        is_broken = image.md5 == md5
        images.append(replace(image, bytes=b"\xff\xd8") if is_broken else image)
    packs.write(path, images)
    return int(post_id)


def test_no_image_need_be_rejected(ready: Project) -> None:
    strict = ready.params.shard.model_copy(update={"max_rejected": 0.0})
    shard.run(strict, ready.paths, cluster=ready.params.cluster)
    assert pl.read_parquet(ready.paths.shards / "rejected.parquet").is_empty()


def test_image_that_cannot_be_decoded_is_listed_and_limited(ready: Project) -> None:
    post_id = break_one_image(ready)
    lenient = ready.params.shard.model_copy(update={"max_rejected": 0.5})
    shard.run(lenient, ready.paths, cluster=ready.params.cluster)
    rejected = pl.read_parquet(ready.paths.shards / "rejected.parquet")
    assert rejected.select("post_id", "reason").rows() == [(post_id, "broken_image")]
    index = pl.read_parquet(ready.paths.shards / "index.parquet")
    splits = ready.paths.manifest.glob("[tvf]*.parquet")
    records = sum(pl.read_parquet(path).height for path in splits)
    assert index["records"].sum() == records - 1
    strict = ready.params.shard.model_copy(update={"max_rejected": 0.0})
    line = rf"1 of {records} images cannot be decoded .*, first post {post_id}: "
    with pytest.raises(TooManyRejects, match=line):
        shard.run(strict, ready.paths, cluster=ready.params.cluster)
