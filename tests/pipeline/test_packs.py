"""Packs: whole or named as damaged, and open to who wants one picture."""

import io
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from pipeline import packs, parquet
from pipeline.errors import NoSpace
from pipeline.packs import PackedImage
from pipeline.schemas.images import OUTCOMES, TAKEDOWNS
from tests.builders.project import Project, damage


def e6tag(
    project: Project, *arguments: str, **options: object
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(
        command,
        cwd=project.paths.root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **options,  # type: ignore[call-overload]
    )


def outcomes(project: Project) -> pl.DataFrame:
    return pl.read_parquet(project.paths.images / "outcomes.parquet")


def kept(project: Project) -> str:
    """Md5 of one picture that is here."""
    return str(outcomes(project).filter(pl.col("outcome") == "kept")["md5"][0])


def pictures(count: int) -> list[PackedImage]:
    Image.new("RGB", (9, 9)).save(out := io.BytesIO(), "PNG")
    return [
        PackedImage(f"{number:032x}", number, "original", out.getvalue(), "png", 9, 9)
        for number in range(count)
    ]


def test_verify_passes_what_download_wrote(ready: Project) -> None:
    done = e6tag(ready, "packs", "verify")
    assert done.returncode == 0, done.stderr
    count = outcomes(ready).filter(pl.col("outcome") == "kept").height
    assert (
        f"{count} sound pictures, 0 of them not in the present sample, 0 problems"
        in done.stdout
    )


def test_verify_names_every_damaged_pack_in_one_line(ready: Project) -> None:
    spoilt = packs.pack_files(ready.paths.images)[:2]
    for path in spoilt:
        damage(path)
    done = e6tag(ready, "packs", "verify")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert [path.name in line for path, line in zip(spoilt, lines, strict=False)] == [
        True,
        True,
    ]
    assert len(lines) == 3
    assert lines[-1].endswith("2 problems")


def test_verify_finds_packs_and_outcomes_at_odds(ready: Project) -> None:
    path = ready.paths.images / "outcomes.parquet"
    first, second = outcomes(ready).filter(pl.col("outcome") == "kept")["md5"][:2]
    at_odds = outcomes(ready).with_columns(
        outcome=pl.when(pl.col("md5") == first)
        .then(pl.lit("not_found"))
        .otherwise("outcome"),
        pack=pl.when(pl.col("md5") == second)
        .then(pl.lit("pack-0.parquet"))
        .otherwise("pack"),
    )
    parquet.write(path, at_odds, OUTCOMES, order_by="md5")
    done = e6tag(ready, "packs", "verify")
    assert done.returncode == 1
    assert f"{first}: outcomes.parquet says not_found, but" in done.stdout
    assert f"{second}: outcomes.parquet says that its" in done.stdout


def test_verify_where_there_are_no_packs_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "packs", "verify"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: there are no packs in data/images. Run from the folder that holds dvc.yaml, or run dvc repro download "
        "first.\n"
    )


def test_get_writes_the_bytes_as_they_were_served(
    ready: Project, tmp_path: Path
) -> None:
    md5 = kept(ready)
    done = e6tag(ready, "packs", "get", md5, "--out", str(tmp_path / "one"))
    assert done.returncode == 0, done.stderr
    row = packs.index(ready.paths.images).row(
        by_predicate=pl.col("md5") == md5, named=True
    )
    assert (tmp_path / "one").read_bytes() == packs.PackReader(
        ready.paths.images
    ).bytes(row["pack"], md5)
    assert f"post {row['post_id']}" in done.stderr


def test_get_names_the_file_for_its_format(ready: Project) -> None:
    md5 = kept(ready)
    assert e6tag(ready, "packs", "get", md5).returncode == 0
    written = list(ready.paths.root.glob(f"{md5}.*"))
    assert [path.suffix for path in written] in (
        ["." + suffix] for suffix in ("jpg", "png", "webp")
    )


@pytest.mark.parametrize("kind", ["refused", "taken down", "never wanted"])
def test_get_of_a_picture_that_is_not_here_says_what_became_of_it(
    ready: Project, kind: str
) -> None:
    md5, told = "0" * 32, "nobody asked for it"
    if kind == "refused":
        row = outcomes(ready).filter(pl.col("outcome") != "kept").row(0, named=True)
        md5, told = (
            row["md5"],
            f"outcomes.parquet says: {row['outcome']}, {row['detail']}",
        )
    if kind == "taken down":
        told = "It was taken down: expunged, as of 2026"
        gone = [{"md5": md5, "post_id": 1, "reason": "expunged", "snapshot": "2026"}]
        parquet.write(ready.paths.images / "takedowns.parquet", gone, TAKEDOWNS)
    done = e6tag(ready, "packs", "get", md5)
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_pack_has_a_row_group_for_each_picture_and_the_same_bytes_every_time(
    tmp_path: Path,
) -> None:
    import pyarrow.parquet as pq

    packs.write(tmp_path / "pack-a.parquet", pictures(70))
    packs.write(tmp_path / "pack-b.parquet", iter(pictures(70)))
    assert pq.ParquetFile(tmp_path / "pack-a.parquet").num_row_groups == 70
    assert (tmp_path / "pack-a.parquet").read_bytes() == (
        tmp_path / "pack-b.parquet"
    ).read_bytes()
    assert list(packs.read_images(tmp_path / "pack-a.parquet")) == pictures(70)


@pytest.fixture
def small_disk(tmp_path: Path) -> "Callable[[int], Path]":
    """Returns a function that mounts a file system of so many bytes."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: int) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            pytest.skip("this machine may not mount file systems")
        return place

    yield mount  # type: ignore[misc]
    subprocess.run(["umount", place], capture_output=True, check=False)


def test_full_disk_is_one_line_and_leaves_no_half_pack(
    small_disk: "Callable[[int], Path]",
) -> None:
    disk = small_disk(1 << 20)
    large = [
        PackedImage(one.md5, one.post_id, "original", os.urandom(200_000), "png", 9, 9)
        for one in pictures(9)
    ]
    with pytest.raises(
        NoSpace, match=r"pack-a.parquet cannot be written: the disk is full"
    ):
        packs.write(disk / "pack-a.parquet", large)
    assert not list(disk.iterdir())


def test_pack_that_cannot_be_opened_is_not_taken_for_damaged(tmp_path: Path) -> None:
    # Who would remove a damaged pack must not remove one that the system does not give today.
    pack = tmp_path / "pack-0.parquet"
    pack.symlink_to(pack)
    with pytest.raises(OSError, match="symbolic links"):
        packs.verify(pack)


def test_limit_on_the_size_of_files_is_one_line_and_nothing_is_damaged(
    sampled: Project,
) -> None:
    # A limit of the shell (ulimit -f), as on shared machines: an error of writing that no full disk explains.
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = e6tag(sampled, "download", preexec_fn=limited)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert e6tag(sampled, "download").returncode == 0
    assert e6tag(sampled, "packs", "verify").returncode == 0
