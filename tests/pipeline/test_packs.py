"""Packs: written whole, verified, and open to single reads."""

import io
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline import packs, parquet
from pipeline.errors import BadInput, CorruptFile, NoSpace
from pipeline.packs import PackedImage
from pipeline.schemas.images import OUTCOMES, TAKEDOWNS
from tests.builders.project import Project, damage, run_command


def outcomes(project: Project) -> pl.DataFrame:
    return pl.read_parquet(project.paths.images / "outcomes.parquet")


def kept(project: Project) -> list[str]:
    """Md5s of the images that are in the packs."""
    return outcomes(project).filter(pl.col("outcome") == "kept")["md5"].to_list()


def images(count: int) -> list[PackedImage]:
    """Small images with md5s from 0 on."""
    out = io.BytesIO()
    Image.new("RGB", (9, 9)).save(out, "PNG")
    content = out.getvalue()
    return [
        PackedImage(f"{number:032x}", number, "original", content, "png", 9, 9)
        for number in range(count)
    ]


def outcome(image: PackedImage, **changes: Any) -> dict[str, Any]:
    """A row of outcomes.parquet for an image that is in pack-a."""
    row = {"md5": image.md5, "variant": image.variant, "outcome": "kept"}
    return row | {"pack": "pack-a.parquet", "detail": None} | changes


def write_outcomes(folder: Path, rows: list[dict[str, Any]]) -> None:
    parquet.write(folder / "outcomes.parquet", rows, OUTCOMES, order_by="md5")


def take_down(folder: Path, md5: str) -> None:
    row = {"md5": md5, "post_id": 1, "reason": "expunged", "snapshot": "2026"}
    parquet.write(folder / "takedowns.parquet", [row], TAKEDOWNS)


def test_verify_passes_what_download_wrote(ready: Project) -> None:
    done = run_command(ready.paths.root, "packs", "verify")
    assert done.returncode == 0, done.stderr
    sizes = [path.stat().st_size for path in packs.pack_files(ready.paths.images)]
    volume = f"{len(sizes)} packs of {sum(sizes) / 1e6:,.1f} MB read in full"
    assert done.stdout.startswith(volume)
    assert f"{len(kept(ready))} sound " in done.stdout
    assert ", 0 of them not in the present sample" in done.stdout
    assert ", 0 problems" in done.stdout


def test_verify_names_every_damaged_pack_in_one_line(ready: Project) -> None:
    damaged = packs.pack_files(ready.paths.images)[:2]
    for path in damaged:
        damage(path)
    done = run_command(ready.paths.root, "packs", "verify")
    assert done.returncode == 1
    first, second, last = done.stdout.splitlines()
    assert damaged[0].name in first
    assert damaged[1].name in second
    assert last.endswith("2 problems")
    names = " ".join(f"data/images/{path.name}" for path in damaged)
    assert f"Delete what is damaged (rm {names}), then run dvc repro" in done.stderr


def test_verify_where_there_are_no_packs_is_one_line(tmp_path: Path) -> None:
    done = run_command(tmp_path, "packs", "verify")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: there are no packs in data/images. Run from the folder that holds "
        "dvc.yaml, or run dvc repro download first.\n"
    )


def test_audit_of_packs_that_agree_with_their_outcomes_finds_nothing(
    tmp_path: Path,
) -> None:
    packs.write(tmp_path / "pack-a.parquet", images(3))
    write_outcomes(tmp_path, [outcome(image) for image in images(3)])
    size = (tmp_path / "pack-a.parquet").stat().st_size
    found = packs.audit(tmp_path)
    assert (found.packs, found.bytes, found.images, found.unlisted) == (1, size, 3, 0)
    assert (found.damaged, found.problems) == ((), ())


def test_audit_names_images_whose_outcome_is_not_what_the_packs_hold(
    tmp_path: Path,
) -> None:
    first, second, third = images(3)
    packs.write(tmp_path / "pack-a.parquet", [first, second])
    rows = [
        outcome(first, outcome="not_found", pack=None),
        outcome(second, pack="pack-b.parquet"),
        outcome(third),
    ]
    write_outcomes(tmp_path, rows)
    problems = packs.audit(tmp_path).problems
    assert len(problems) == 3
    assert problems[0] == (
        f"{first.md5}: its outcome in outcomes.parquet is not_found, but its original "
        "is in pack-a.parquet"
    )
    for problem, image, pack in zip(
        problems[1:], (second, third), ("pack-b", "pack-a"), strict=True
    ):
        assert problem == (
            f"{image.md5}: outcomes.parquet has its original in {pack}.parquet, where "
            "it is not"
        )


def test_audit_excuses_an_image_that_was_taken_down(tmp_path: Path) -> None:
    here, gone = images(2)
    packs.write(tmp_path / "pack-a.parquet", [here])
    write_outcomes(tmp_path, [outcome(here), outcome(gone)])
    take_down(tmp_path, gone.md5)
    assert packs.audit(tmp_path).problems == ()


def test_audit_counts_images_that_the_outcomes_do_not_list(tmp_path: Path) -> None:
    listed, other_variant, _ = images(3)
    packs.write(tmp_path / "pack-a.parquet", images(3))
    rows = [outcome(listed), outcome(other_variant, variant="sample", outcome="gone")]
    write_outcomes(tmp_path, rows)
    found = packs.audit(tmp_path)
    assert (found.images, found.unlisted, found.problems) == (3, 2, ())


def test_audit_gives_a_damaged_pack_one_line_and_its_images_none(
    tmp_path: Path,
) -> None:
    packs.write(tmp_path / "pack-a.parquet", images(3))
    write_outcomes(tmp_path, [outcome(image) for image in images(3)])
    damage(tmp_path / "pack-a.parquet")
    found = packs.audit(tmp_path)
    assert len(found.problems) == 1
    assert str(tmp_path / "pack-a.parquet") in found.problems[0]
    assert found.unlisted == 0


def test_verify_names_an_image_that_is_out_of_order(tmp_path: Path) -> None:
    first, second = images(2)
    packs.write(tmp_path / "pack-a.parquet", [second, first])
    problem = packs.verify(tmp_path / "pack-a.parquet")
    assert problem == f"md5 {first.md5} is out of order"
    packs.write(tmp_path / "pack-b.parquet", [first, first])
    assert packs.verify(tmp_path / "pack-b.parquet") == problem


def test_verify_shows_every_sound_image(tmp_path: Path) -> None:
    packs.write(tmp_path / "pack-a.parquet", images(3))
    seen: list[PackedImage] = []
    assert packs.verify(tmp_path / "pack-a.parquet", seen.append) is None
    assert seen == images(3)


def test_index_lists_the_images_of_all_packs_in_order_of_md5(tmp_path: Path) -> None:
    first, second, third = images(3)
    packs.write(tmp_path / "pack-b.parquet", [first, third])
    packs.write(tmp_path / "pack-a.parquet", [second])
    found = packs.index(tmp_path)
    assert found.schema == pl.Schema(packs.INDEX_TYPES)
    assert found["md5"].to_list() == [first.md5, second.md5, third.md5]
    assert [name[5] for name in found["pack"]] == ["b", "a", "b"]
    assert packs.index(tmp_path / "nowhere").schema == found.schema


def test_reader_returns_the_bytes_of_any_image(tmp_path: Path) -> None:
    first, second, third = images(3)
    packs.write(tmp_path / "pack-a.parquet", [first, third])
    packs.write(tmp_path / "pack-b.parquet", [second])
    reader = packs.PackReader(tmp_path)
    for pack, image in [("a", third), ("b", second), ("a", first)]:
        assert reader.bytes(f"pack-{pack}.parquet", image.md5) == image.bytes
    with pytest.raises(CorruptFile, match=f"image {second.md5} is not in it"):
        reader.bytes("pack-a.parquet", second.md5)


def test_get_writes_the_bytes_as_they_were_served(
    ready: Project, tmp_path: Path
) -> None:
    md5 = kept(ready)[0]
    out = tmp_path / "one"
    done = run_command(ready.paths.root, "packs", "get", md5, "--out", str(out))
    assert done.returncode == 0, done.stderr
    is_wanted = pl.col("md5") == md5
    row = packs.index(ready.paths.images).row(by_predicate=is_wanted, named=True)
    reader = packs.PackReader(ready.paths.images)
    assert out.read_bytes() == reader.bytes(row["pack"], md5)
    assert f"post {row['post_id']}" in done.stderr


def test_get_names_the_file_for_its_format(ready: Project) -> None:
    md5 = kept(ready)[0]
    assert run_command(ready.paths.root, "packs", "get", md5).returncode == 0
    (written,) = ready.paths.root.glob(f"{md5}.*")
    assert written.suffix in {".jpg", ".png", ".webp"}


def test_get_prefers_the_variant_of_the_present_sample(tmp_path: Path) -> None:
    original = images(1)[0]
    preview = PackedImage(original.md5, 1, "preview", b"small", "png", 3, 3)
    packs.write(tmp_path / "pack-a.parquet", [original])
    packs.write(tmp_path / "pack-b.parquet", [preview])
    assert packs.get(tmp_path, original.md5) == original
    write_outcomes(tmp_path, [outcome(original, variant="preview")])
    assert packs.get(tmp_path, original.md5) == preview
    write_outcomes(tmp_path, [outcome(original, variant="sample")])
    assert packs.get(tmp_path, original.md5) == original


@pytest.mark.parametrize(
    ("detail", "fate"),
    [
        pytest.param(None, "outcomes.parquet is not_found.", id="without detail"),
        pytest.param("404", "outcomes.parquet is not_found, 404.", id="with detail"),
    ],
)
def test_get_of_a_rejected_image_gives_its_outcome(
    tmp_path: Path, detail: str | None, fate: str
) -> None:
    image = images(1)[0]
    rejected = outcome(image, outcome="not_found", pack=None, detail=detail)
    write_outcomes(tmp_path, [rejected])
    with pytest.raises(BadInput) as raised:
        packs.get(tmp_path, image.md5)
    assert str(raised.value).endswith(fate)


def test_get_of_an_image_that_no_sample_selected_is_one_line(ready: Project) -> None:
    take_down(ready.paths.images, "0" * 32)
    done = run_command(ready.paths.root, "packs", "get", "0" * 32)
    assert done.returncode == 1
    assert "no sample has selected it. It was taken down: expunged, as of 2026." in (
        done.stderr
    )
    assert len(done.stderr.splitlines()) == 1


def test_pack_has_a_row_group_for_each_image_and_the_same_bytes_every_time(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "pack-a.parquet", tmp_path / "pack-b.parquet"
    packs.write(first, images(70))
    packs.write(second, iter(images(70)))
    assert pq.ParquetFile(first).num_row_groups == 70
    assert first.read_bytes() == second.read_bytes()
    assert list(packs.read_images(first)) == images(70)


def test_pack_larger_than_its_buffer_holds_every_image(tmp_path: Path) -> None:
    content = b"x" * (packs.WRITE_BUFFER // 2)
    large = [
        PackedImage(f"{number:032x}", number, "original", content, "png", 9, 9)
        for number in range(5)
    ]
    packs.write(tmp_path / "pack-a.parquet", large)
    assert list(packs.read_images(tmp_path / "pack-a.parquet")) == large


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Returns a function that mounts a file system of so many bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: int) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            pytest.skip("this machine may not mount file systems")
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True, check=False)


def test_full_disk_is_one_line_and_leaves_no_half_pack(
    small_disk: Callable[[int], Path],
) -> None:
    disk = small_disk(1 << 20)
    large = [
        PackedImage(one.md5, one.post_id, "original", os.urandom(200_000), "png", 9, 9)
        for one in images(9)
    ]
    message = r"pack-a.parquet cannot be written: the disk is full"
    with pytest.raises(NoSpace, match=message):
        packs.write(disk / "pack-a.parquet", large)
    assert not list(disk.iterdir())


def test_pack_that_cannot_be_opened_is_not_taken_for_damaged(tmp_path: Path) -> None:
    # A caller that removes damaged packs must not remove one that the operating system
    # does not give today.
    pack = tmp_path / "pack-0.parquet"
    pack.symlink_to(pack)
    with pytest.raises(OSError, match="symbolic links"):
        packs.verify(pack)


def test_limit_on_the_size_of_files_is_one_line_and_nothing_is_damaged(
    sampled: Project,
) -> None:
    # A limit of the shell (ulimit -f), as on shared machines: an error of writing that
    # no full disk explains.
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    root = sampled.paths.root
    done = run_command(root, "download", preexec_fn=limited)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert run_command(root, "download").returncode == 0
    assert run_command(root, "packs", "verify").returncode == 0
