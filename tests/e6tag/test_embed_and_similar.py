"""The commands embed and similar, over a toy bundle whose embeddings are colours."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from e6tag.embeddings.file import EmbeddingsFile
from e6tag.embeddings.update import partial_path
from tests.builders.e6tag_command import run_here
from tests.builders.project import ROOT
from tests.builders.toy_bundle import write_bundle

COLOURS = {
    "red": (255, 0, 0),
    "red too": (250, 5, 5),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "more/blue too": (10, 5, 250),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"))


def draw(folder: Path) -> Path:
    """Writes a folder `images` of coloured images."""
    for name, colour in COLOURS.items():
        path = folder / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), colour).save(path)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `images`; commands run in it."""
    return draw(tmp_path)


def e6tag(
    folder: Path, *arguments: object, bundle: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs e6tag as a user does, in a folder."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        cwd=folder,
        env=environment(bundle),
        capture_output=True,
        text=True,
        check=False,
    )


PROGRAM = "from e6tag.cli import main; main()"


def environment(bundle: Path | None) -> dict[str, str]:
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    variables.pop("E6TAG_BUNDLE", None)
    if bundle is not None:
        variables["E6TAG_BUNDLE"] = str(bundle)
    return variables


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    """A folder with `images` and photos.parquet, which tests leave as they are."""
    folder = draw(tmp_path_factory.mktemp("embedded"))
    (folder / "empty").mkdir()
    embed(folder, bundle)
    return folder


@pytest.fixture
def changing(folder: Path, bundle: Path) -> Path:
    """The same, of the test's own."""
    embed(folder, bundle)
    return folder


def embed(folder: Path, bundle: Path) -> None:
    done = e6tag(folder, "embed", "images", "-o", "photos.parquet", bundle=bundle)
    assert done.returncode == 0, done.stderr
    assert "5 images; 5 computed, 0 were there" in done.stderr


def test_nearest_images_of_an_image(embedded: Path, bundle: Path) -> None:
    done = e6tag(
        embedded, "similar", "images/red.png", "-e", "photos.parquet", bundle=bundle
    )
    query, first, *others = done.stdout.splitlines()
    assert query == "images/red.png"
    similarity, path = first.strip().split("  ")
    assert float(similarity) > 0.999
    assert path == f"{embedded}/images/red too.png"
    assert len(others) == 3
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.parametrize("exact", [[], ["--exact"]])
def test_answers_as_json_lines(embedded: Path, bundle: Path, exact: list[str]) -> None:
    done = e6tag(
        embedded, "similar", "images/red.png", "images/more", "-n", "1",
        "-e", "photos.parquet", "--format", "jsonl", *exact, bundle=bundle,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["path"] for line in lines] == [
        "images/red.png",
        "images/more/blue too.png",
    ]
    nearest = [line["similar"] for line in lines]
    assert [Path(one["path"]).name for [one] in nearest] == ["red too.png", "blue.png"]
    assert [(one["width"], one["height"]) for [one] in nearest] == [(60, 40)] * 2
    assert all(one["similarity"] > 0.99 for [one] in nearest)


def test_index_is_beside_the_file_and_only_where_it_is_used(
    changing: Path, bundle: Path
) -> None:
    query = ["similar", "images/red.png", "-e", "photos.parquet"]
    place = changing / "photos.parquet.usearch"
    e6tag(changing, *query, "--exact", bundle=bundle)
    assert not place.exists()
    e6tag(changing, *query, bundle=bundle)
    before = place.stat()
    e6tag(changing, *query, bundle=bundle)
    assert place.stat() == before


def test_duplicates_need_no_bundle(embedded: Path) -> None:
    done = e6tag(
        embedded, "similar", "--duplicates", "-e", "photos.parquet", "--format", "jsonl"
    )
    pairs = [json.loads(line)["paths"] for line in done.stdout.splitlines()]
    images = embedded / "images"
    # In the order of their paths.
    assert sorted(pairs) == [
        [f"{images}/blue.png", f"{images}/more/blue too.png"],
        [f"{images}/red too.png", f"{images}/red.png"],
    ]
    assert "2 pairs" in done.stderr


def test_names_are_written_whatever_the_encoding_of_the_terminal(
    folder: Path, bundle: Path
) -> None:
    for old, new in (("red", "\u732b"), ("red too", "\u732b\u732b")):
        (folder / f"images/{old}.png").rename(folder / f"images/{new}.png")
    embed(folder, bundle)
    variables = {**environment(bundle), "PYTHONIOENCODING": "cp1252"}
    command = [sys.executable, "-c", PROGRAM, "similar", "-e", "photos.parquet"]
    for argument in ("images/\u732b.png", "--duplicates"):
        done = subprocess.run(
            [*command, argument],
            cwd=folder, env=variables, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f"{folder}/images/\u732b\u732b.png" in done.stdout.decode()


def test_duplicates_within_a_folder(embedded: Path) -> None:
    done = e6tag(
        embedded, "similar", "--duplicates", "images/more", "-e", "photos.parquet"
    )
    assert done.stdout == ""
    assert "0 pairs" in done.stderr


def test_only_what_changed_is_computed_again(changing: Path, bundle: Path) -> None:
    Image.new("RGB", (60, 40), "white").save(changing / "images" / "green.png")
    Image.new("RGB", (60, 40), "black").save(changing / "images" / "black.png")
    (changing / "images" / "blue.png").unlink()
    done = e6tag(changing, "embed", "images", "-o", "photos.parquet", bundle=bundle)
    assert "5 images; 2 computed, 3 were there" in done.stderr
    done = e6tag(
        changing, "similar", "images/green.png", "-e", "photos.parquet",
        "--format", "jsonl", bundle=bundle,
    )  # fmt: skip
    (line,) = done.stdout.splitlines()
    found = [Path(one["path"]).stem for one in json.loads(line)["similar"]]
    assert set(found) == {"red", "red too", "black", "blue too"}


def test_folder_without_images_changes_nothing(changing: Path, bundle: Path) -> None:
    before = (changing / "photos.parquet").read_bytes()
    shutil.rmtree(changing / "images")
    (changing / "images").mkdir()
    done = e6tag(changing, "embed", "images", "-o", "photos.parquet", bundle=bundle)
    assert done.returncode == 1
    assert one_line(done).startswith("error: no images in images")
    assert (changing / "photos.parquet").read_bytes() == before


def test_bad_files_are_listed_and_others_embedded(folder: Path, bundle: Path) -> None:
    (folder / "images" / "text.jpg").write_text("no image")
    (folder / "images" / "empty.png").write_bytes(b"")
    whole = (folder / "images" / "red.png").read_bytes()
    (folder / "images" / "cut.png").write_bytes(whole[: len(whole) // 2])
    done = e6tag(folder, "embed", "images", "-o", "photos.parquet", bundle=bundle)
    assert done.returncode == 1
    assert "5 images; 5 computed" in done.stderr
    assert "error: 3 cannot be embedded:" in done.stderr
    assert "images/text.jpg: not an image" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(EmbeddingsFile(folder / "photos.parquet").ids()) == 5


def test_interrupted_embed_lists_its_failures(folder: Path, bundle: Path) -> None:
    names = [f"images/{number}.bmp" for number in range(400)]
    for name in names:
        Image.new("RGB", (60, 40), "red").save(folder / name)
    # A pipe that is open and empty holds the run up before its end.
    os.mkfifo(folder / "pipe.png")
    pipe = os.open(folder / "pipe.png", os.O_RDWR)
    target = folder / "photos.parquet"
    command = [sys.executable, "-c", PROGRAM, "embed", "-o", "photos.parquet"]
    process = subprocess.Popen(
        [*command, "none.png", *names, "pipe.png"],
        cwd=folder, env=environment(bundle), stderr=subprocess.PIPE,
    )  # fmt: skip
    while not has_grown(partial_path(target)):
        assert process.poll() is None, "it was done before it could be interrupted"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    os.close(pipe)  # the thread that reads it is waited for
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"  none.png: no such file or directory\n" in said
    assert b"Traceback" not in said


def test_killed_embed_goes_on(folder: Path, bundle: Path) -> None:
    for number in range(900):
        colour = (number % 256, number // 3 % 256, 40)
        Image.new("RGB", (60, 40), colour).save(folder / "images" / f"{number}.bmp")
    arguments = ["embed", "images", "-o", "photos.parquet"]
    target = folder / "photos.parquet"
    kept = 0
    while not kept:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=folder,
            env=environment(bundle),
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and not has_grown(partial_path(target)):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not target.exists()
        kept = rows_in(partial_path(target))
    done = e6tag(folder, *arguments, bundle=bundle)
    assert f"905 images; {905 - kept} computed, {kept} were there" in done.stderr
    assert len(EmbeddingsFile(target).paths()) == 905


def has_grown(partial: Path) -> bool:
    """Returns whether the database is larger than its empty tables, four pages.

    Rows may still be on their way into it: a kill undoes those.
    """
    return partial.exists() and partial.stat().st_size > 5 * 4096


def rows_in(partial: Path) -> int:
    with closing(sqlite3.connect(partial)) as database:
        (rows,) = database.execute("SELECT count(*) FROM added").fetchone()
    return int(rows)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Returns the only line of standard error."""
    (line,) = done.stderr.splitlines()
    return line


def other_bundle(folder: Path) -> Path:
    return write_bundle(folder / "other", uncertainty=True)


def test_file_of_another_model_is_refused(embedded: Path, bundle: Path) -> None:
    other = other_bundle(embedded)
    for arguments in (
        ["similar", "images/red.png", "-e", "photos.parquet"],
        ["embed", "images", "-o", "photos.parquet"],
    ):
        done = e6tag(embedded, *arguments, bundle=other)
        assert done.returncode == 1
        assert "photos.parquet holds embeddings of another model" in one_line(done)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["similar", "no.png"], "no.png: no such file", id="no query"),
        pytest.param(
            ["similar", "photos.parquet"], "photos.parquet: not an image", id="no image"
        ),
        pytest.param(["similar", "empty"], "no images in empty: no", id="empty folder"),
        pytest.param(
            ["similar", "http://127.0.0.1:9/a"], "a URL: needs --allow-urls", id="URL"
        ),
        pytest.param(
            ["similar", "http://127.0.0.1:9/a", "--allow-urls"],
            "http://127.0.0.1:9/a: cannot be fetched",
            id="URL of nothing",
        ),
        pytest.param(
            ["similar", "--duplicates", "empty"], "has no images in empty", id="folder"
        ),
    ],
)
def test_wrong_query_is_one_line(
    embedded: Path, bundle: Path, arguments: list[str], message: str
) -> None:
    done = e6tag(embedded, *arguments, "-e", "photos.parquet", bundle=bundle)
    assert done.returncode == 1
    assert message in one_line(done)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("option", "name"),
    [
        pytest.param(["--count", "10"], "--count", id="count"),
        pytest.param(["-n", "3"], "--count", id="n"),
        pytest.param(["--bundle", "b"], "--bundle", id="bundle"),
        pytest.param(["--device", "cpu"], "--device", id="device"),
        pytest.param(["--allow-urls"], "--allow-urls", id="URLs"),
    ],
)
def test_option_that_duplicates_would_ignore_is_wrong_usage(
    tmp_path: Path, option: list[str], name: str
) -> None:
    arguments = ("similar", "--duplicates", "-e", "photos.parquet", *option)
    done = run_here(*arguments, folder=tmp_path)
    assert done.exit_code == 2
    assert f"{name} says nothing of pairs" in done.stderr


def test_embed_takes_no_url(folder: Path, bundle: Path) -> None:
    url = "http://127.0.0.1:9/a.png"
    done = e6tag(folder, "embed", "images", url, "-o", "a.parquet", bundle=bundle)
    assert done.returncode == 1
    assert f"{url}: a URL: embeddings are kept by the paths of files" in done.stderr


def test_more_neighbours_than_there_are_images(embedded: Path, bundle: Path) -> None:
    done = e6tag(
        embedded, "similar", "images/red.png", "-e", "photos.parquet", "-n", "1000",
        bundle=bundle,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1 + 4


def test_foreign_parquet_is_refused(folder: Path, bundle: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), folder / "photos.parquet")
    done = e6tag(folder, "embed", "images", "-o", "photos.parquet", bundle=bundle)
    assert "photos.parquet is not a file that e6tag embed wrote" in one_line(done)
    done = e6tag(folder, "similar", "--duplicates", "-e", "photos.parquet")
    assert "photos.parquet is not a file that e6tag embed wrote" in one_line(done)


WITHOUT = """
import sys
sys.modules[{module!r}] = None
from e6tag.cli import main
main()
"""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        pytest.param("pyarrow", ["embed", "images", "-o", "x.parquet"], id="embed"),
        pytest.param(
            "usearch",
            ["similar", "images/red.png", "-e", "photos.parquet"],
            id="similar",
        ),
    ],
)
def test_missing_package_is_named_with_its_extra(
    embedded: Path, bundle: Path, module: str, arguments: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(module=module), *arguments],
        cwd=embedded,
        env=environment(bundle),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    message = (
        f"error: {module} is not installed. In a checkout of e6tag, run pip install "
        "'.[search]'."
    )
    assert one_line(done) == message
