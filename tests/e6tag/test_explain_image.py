"""The command explain-image: where the heat is, and what is refused."""

import io
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from e6tag import heatmaps
from tests.builders import toy_bundle
from tests.builders.e6tag_command import COMMAND, environment, run, run_here

WIDE = (300, 100)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle.write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a wide blue image, whose right third is red."""
    image = Image.new("RGB", WIDE, "blue")
    image.paste("red", (200, 0, 300, 100))
    image.save(tmp_path / "wide.png")
    (tmp_path / "text.png").write_text("a fox")
    (tmp_path / "photo.jpg").write_text("another image")
    (tmp_path / "link.png").symlink_to("photo.jpg")
    return tmp_path


def brightness(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L"), np.float32)


def test_heat_is_where_the_tag_is(folder: Path, toy: Path) -> None:
    done = run("explain-image", "wide.png", "--tag", "red", folder=folder, bundle=toy)
    assert done.returncode == 0
    assert b"red: does not apply, score 0." in done.stderr
    with Image.open(folder / "wide.red.png") as drawn:
        light = brightness(drawn)
    assert light.shape == (100, 300)
    assert light[:, 240:280].mean() > 3 * light[:, :150].mean()


def test_png_on_standard_output(folder: Path, toy: Path) -> None:
    body = (folder / "wide.png").read_bytes()
    done = run(
        "explain-image", "-", "--tag", "Blue Fox", "-o", "-",
        folder=folder, bundle=toy, stdin=body,
    )  # fmt: skip
    with Image.open(io.BytesIO(done.stdout)) as drawn:
        light = brightness(drawn)
    assert light[:, :150].mean() > 2 * light[:, 240:].mean()


def test_pipe_is_written_to_and_not_replaced(folder: Path, toy: Path) -> None:
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    done = run(
        "explain-image", "wide.png", "--tag", "red", "-o", "pipe",
        folder=folder, bundle=toy,
    )  # fmt: skip
    assert done.returncode == 0
    assert pipe.is_fifo()
    assert os.read(reader, 4) == b"\x89PNG"
    os.close(reader)


def test_name_of_the_file_for_a_tag_that_is_no_name_of_a_file(
    folder: Path, toy: Path
) -> None:
    done = run("explain-image", "wide.png", "--tag", ":3", folder=folder, bundle=toy)
    assert done.returncode == 0
    assert (folder / "wide.-3.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["wide.png", "--tag", "blu fox"],
            "error: this bundle knows no tag blu fox. Near it: blue_fox.",
            id="unknown tag",
        ),
        pytest.param(
            ["wide.png", "--tag", "azure_fox"],
            "error: the tag azure_fox is called blue_fox now",
            id="old name",
        ),
        pytest.param(
            ["text.png", "--tag", "red"], "error: text.png: not an image", id="text"
        ),
        pytest.param(
            ["none.png", "--tag", "red"], "error: none.png: no such file", id="no file"
        ),
        pytest.param([".", "--tag", "red"], "error: . is not one image", id="folder"),
        pytest.param(
            ["wide.png", "--tag", "red", "-o", "none/a.png"],
            "error: cannot write none/a.png",
            id="output",
        ),
        pytest.param(
            ["wide.png", "--tag", "red", "-o", "./wide.png"],
            "error: the output ./wide.png is the image itself",
            id="output that is the image",
        ),
        pytest.param(
            ["wide.png", "--tag", "red", "-o", "photo.jpg"],
            "error: the output photo.jpg is there and is no .png",
            id="output that is another image",
        ),
        pytest.param(
            ["wide.png", "--tag", "red", "-o", "link.png"],
            "error: the output link.png is there and is no .png",
            id="output that leads to another image",
        ),
        pytest.param(
            ["wide.png", "--tag", "red", "-o", "."],
            "error: cannot write .: Is a directory",
            id="output that is a folder",
        ),
    ],
)
def test_one_clear_line(
    folder: Path, toy: Path, arguments: list[str], message: str
) -> None:
    (toy / "renamed_tags.csv").write_text("old,new\nazure_fox,blue_fox\n")
    done = run_here("explain-image", *arguments, folder=folder, bundle=toy)
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(message)
    assert (folder / "photo.jpg").read_text() == "another image"


def test_pipe_is_written_to_and_stays(folder: Path, toy: Path) -> None:
    pipe = folder / "pipe.png"
    os.mkfifo(pipe)
    drawn = io.BytesIO()
    reader = threading.Thread(
        target=lambda: drawn.write(pipe.read_bytes()), daemon=True
    )
    reader.start()
    arguments = ["wide.png", "--tag", "red", "-o", "pipe.png"]
    done = run("explain-image", *arguments, folder=folder, bundle=toy)
    assert pipe.is_fifo()
    reader.join(timeout=30)
    assert done.returncode == 0
    with Image.open(drawn) as image:
        assert image.size == WIDE


def test_link_stays_and_what_it_leads_to_is_written(folder: Path, toy: Path) -> None:
    (folder / "more").mkdir()
    link = folder / "heat.png"
    link.symlink_to("more/heat.png")
    arguments = ["wide.png", "--tag", "red", "-o", "heat.png"]
    for _ in range(2):  # it leads nowhere, then to what was written
        done = run_here("explain-image", *arguments, folder=folder, bundle=toy)
        assert done.exit_code == 0
        assert link.is_symlink()
        with Image.open(folder / "more" / "heat.png") as image:
            assert image.size == WIDE


def test_file_that_the_shell_has_opened_is_appended_to(folder: Path, toy: Path) -> None:
    """Such as /dev/stdout; /dev/fd holds no file that could be replaced."""
    log = folder / "log"
    log.write_bytes(b"before")
    arguments = ["explain-image", "wide.png", "--tag", "red", "-o", "/dev/fd/1"]
    with log.open("ab") as opened:
        subprocess.run(
            [*COMMAND, *arguments],
            cwd=folder,
            env=environment(toy),
            stdout=opened,
            check=True,
        )
    written = log.read_bytes()
    assert written.startswith(b"before\x89PNG")
    done = run(*arguments, folder=folder, bundle=toy)
    assert done.stdout == written.removeprefix(b"before")


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_heat_lies_where_the_fitted_square_lay(fit: str) -> None:
    """A position of the grid is found again in the image, whatever the fit."""
    grid = np.zeros((9, 9), np.float32)
    grid[3, 7] = 1
    grey = Image.new("RGB", WIDE, (128, 128, 128))
    light = brightness(heatmaps.overlay(grey, grid, fit))
    row, column = np.unravel_index(light.argmax(), light.shape)
    # Padded, the image is the rows 3 to 5 of the square; cropped, the square is the
    # middle third of the image.
    expected = {"pad": (17, 250), "crop": (39, 183), "stretch": (39, 250)}
    assert abs(row - expected[fit][0]) < 8
    assert abs(column - expected[fit][1]) < 12


def test_nothing_is_lit_where_nothing_speaks_for_the_tag() -> None:
    grey = Image.new("RGB", WIDE, (128, 128, 128))
    against = np.full((7, 7), -1, np.float32)
    drawn = np.asarray(heatmaps.overlay(grey, against, "pad"))
    assert drawn.max() < 128
    assert np.ptp(drawn) == 0


def test_large_image_becomes_an_overlay_for_screens() -> None:
    large = Image.new("RGB", (4_000, 1_000))
    drawn = heatmaps.overlay(large, np.ones((7, 7), np.float32), "pad")
    assert drawn.size == (heatmaps.MAX_SIDE, 400)
