"""The file of embeddings: what is written is read, and runs add to what is there."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e6tag.embeddings import EmbeddingsError, ImageFile, Row, update
from e6tag.embeddings.file import COLUMNS, EmbeddingsFile
from e6tag.embeddings.update import Update, partial_path

MODEL = "ab" * 32
OTHER = "cd" * 32
DIMENSION = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files that pass for images."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("c.png", "a.png", "b, ü.png"):
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "photos.parquet"


def row(path: Path, first: float = 1.0) -> Row:
    embedding = np.array([first, 2.0, 0.0, 0.0], np.float32)
    return Row(ImageFile.of(path), 640, 480, embedding)


def embed(target: Path, *paths: Path, roots: tuple[Path, ...] = ()) -> int:
    """Adds the files whose embeddings are not current; returns how many these were."""
    with Update(target, model=MODEL, dimension=DIMENSION) as update:
        new = [path for path in paths if not update.is_current(ImageFile.of(path))]
        update.add([row(path) for path in new])
        update.publish(roots)
    return len(new)


def names(target: Path) -> list[str]:
    return [Path(path).name for path in EmbeddingsFile(target).paths()]


def test_what_is_written_is_read_in_the_order_of_paths(
    folder: Path, target: Path
) -> None:
    embed(target, *folder.iterdir())
    file = EmbeddingsFile(target)
    assert file.paths() == sorted(map(str, folder.iterdir()))
    assert (file.model, file.dimension) == (MODEL, DIMENSION)
    assert file.sizes().tolist() == [[640, 480]] * 3
    assert np.allclose(file.embeddings()[0], np.array([1, 2, 0, 0]) / 5**0.5, atol=1e-3)


def test_file_is_plain_parquet_for_other_tools(folder: Path, target: Path) -> None:
    embed(target, *folder.iterdir())
    table = pl.read_parquet(target)
    assert tuple(table.columns) == COLUMNS
    assert table["embedding"].dtype == pl.Array(pl.Float16, DIMENSION)
    lengths = np.linalg.norm(table["embedding"].to_numpy().astype(float), axis=1)
    assert np.allclose(lengths, 1, atol=1e-3)


def test_only_new_and_changed_files_are_computed(folder: Path, target: Path) -> None:
    assert embed(target, *folder.iterdir()) == 3
    ids = dict(zip(names(target), EmbeddingsFile(target).ids(), strict=True))
    assert embed(target, *folder.iterdir()) == 0
    (folder / "d.png").write_bytes(b"new")
    os.utime(folder / "a.png", ns=(0, 0))
    assert embed(target, *folder.iterdir()) == 2
    later = dict(zip(names(target), EmbeddingsFile(target).ids(), strict=True))
    assert set(later) == set(ids) | {"d.png"}
    assert {name for name in ids if ids[name] != later[name]} == {"a.png"}


def test_rows_of_removed_files_go_only_where_was_looked(
    folder: Path, target: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes(b"x")
    embed(target, elsewhere, *folder.iterdir())
    (folder / "a.png").unlink()
    elsewhere.unlink()
    embed(target, roots=(folder,))
    assert names(target) == ["elsewhere.png", "b, ü.png", "c.png"]


def test_row_of_a_file_that_is_no_image_any_more_goes(
    folder: Path, target: Path
) -> None:
    embed(target, *folder.iterdir())
    with Update(target, model=MODEL, dimension=DIMENSION) as update:
        update.refuse(str(folder / "a.png"))
        update.publish()
    assert names(target) == ["b, ü.png", "c.png"]


def test_run_without_images_writes_an_empty_file(target: Path) -> None:
    assert embed(target) == 0
    assert EmbeddingsFile(target).embeddings().shape == (0, DIMENSION)


KILLED = """
import os, signal, sys
from pathlib import Path
from e6tag.embeddings.update import Update
from tests.e6tag.test_embeddings import DIMENSION, MODEL, row
update = Update(Path(sys.argv[1]), model=MODEL, dimension=DIMENSION)
for number, name in enumerate(sys.argv[2:]):
    update.add([row(Path(name), first=float(number))])
os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_after_adding(target: Path, *paths: Path) -> None:
    arguments = [str(target), *map(str, paths)]
    subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)


def test_killed_run_goes_on_and_ends_as_one_that_was_not(
    folder: Path, target: Path, tmp_path: Path
) -> None:
    files = sorted(folder.iterdir())
    kill_after_adding(target, files[0], files[1])
    assert not target.exists()
    with Update(target, model=MODEL, dimension=DIMENSION) as update:
        current = [update.is_current(ImageFile.of(path)) for path in files]
        assert current == [True, True, False]
        update.add([row(files[2], first=2.0)])
        update.publish()
    unbroken = tmp_path / "unbroken.parquet"
    with Update(unbroken, model=MODEL, dimension=DIMENSION) as update:
        for number, path in enumerate(files):
            update.add([row(path, first=float(number))])
        update.publish()
    assert target.read_bytes() == unbroken.read_bytes()
    assert not partial_path(target).exists()


def test_one_run_at_a_time(target: Path) -> None:
    with (
        Update(target, model=MODEL, dimension=DIMENSION),
        pytest.raises(EmbeddingsError, match="another e6tag embed is writing"),
    ):
        Update(target, model=MODEL, dimension=DIMENSION)


def test_run_that_starts_while_another_ends_keeps_its_rows(
    folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_partial = update._open_partial

    def open_after_the_other(*arguments: object) -> object:
        monkeypatch.undo()
        embed(target, folder / "a.png")
        return open_partial(*arguments)

    # What happens between two statements of one run is another run.
    monkeypatch.setattr(update, "_open_partial", open_after_the_other)
    with Update(target, model=MODEL, dimension=DIMENSION) as later:
        assert later.is_current(ImageFile.of(folder / "a.png"))
        later.add([row(folder / "c.png")])
        later.publish()
    assert names(target) == ["a.png", "c.png"]


def test_file_of_another_model_is_refused(folder: Path, target: Path) -> None:
    embed(target, *folder.iterdir())
    with pytest.raises(EmbeddingsError, match="of another model"):
        Update(target, model=OTHER, dimension=DIMENSION)


def test_unfinished_work_of_another_model_is_refused(
    folder: Path, target: Path
) -> None:
    kill_after_adding(target, folder / "a.png")
    with pytest.raises(EmbeddingsError, match="unfinished embeddings of another model"):
        Update(target, model=OTHER, dimension=DIMENSION)


def foreign(path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), path)


def of_version_9(path: Path) -> None:
    table = pa.table({"x": [1]})
    metadata = {b"e6tag.embeddings_version": b"9", b"e6tag.model": b"ab"}
    pq.write_table(table.replace_schema_metadata(metadata), path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(Path.exists, "does not exist. Make it", id="missing"),
        pytest.param(
            lambda path: path.write_text("x"), "cannot be read", id="no parquet"
        ),
        pytest.param(lambda path: path.mkdir(), "cannot be read", id="a folder"),
        pytest.param(foreign, "is not a file that e6tag embed wrote", id="foreign"),
        pytest.param(of_version_9, "is of version 9 of the format", id="version"),
    ],
)
def test_wrong_file_is_one_clear_line(target: Path, make: object, message: str) -> None:
    make(target)  # type: ignore[operator]
    with pytest.raises(EmbeddingsError, match=message) as raised:
        EmbeddingsFile(target)
    assert "\n" not in str(raised.value)


def test_missing_folder_of_the_output_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingsError, match="is no folder"):
        Update(tmp_path / "no" / "x.parquet", model=MODEL, dimension=DIMENSION)
