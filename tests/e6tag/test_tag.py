"""The command tag, as a process: what it prints, writes, keeps and refuses."""

import csv
import io
import json
import os
import pty
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from e6tag import bundle
from tests.builders import toy_bundle, toy_images
from tests.builders.e6tag_command import COMMAND, environment, run, run_here
from tests.builders.toy_images import BLUE, GREEN, RED, TAG_OF, WHITE


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle.write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with images of four colours."""
    for name, colour in (
        ("red.jpg", RED),
        ("green.png", GREEN),
        ("more/blue.webp", BLUE),
        ("more/white.jpg", WHITE),
    ):
        toy_images.write(tmp_path / "pics" / name, colour)
    return tmp_path


def test_text_of_one_image_and_nothing_else(folder: Path, toy: Path) -> None:
    done = run("tag", "pics/red.jpg", folder=folder, bundle=toy)
    assert done.returncode == 0
    assert done.stderr == b""
    name, rating, tag = done.stdout.decode().splitlines()
    assert (name, rating) == ("pics/red.jpg", "  rating: unknown")
    assert tag.split() == ["0.987", "red"]


def test_folder_as_json_lines(folder: Path, toy: Path) -> None:
    done = run("tag", "pics", "--format", "jsonl", folder=folder, bundle=toy)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    tags = {record["path"]: record["tags"][0]["name"] for record in records}
    assert tags == {
        f"{folder}/pics/green.png": TAG_OF[GREEN],
        f"{folder}/pics/more/blue.webp": TAG_OF[BLUE],
        f"{folder}/pics/more/white.jpg": TAG_OF[WHITE],
        f"{folder}/pics/red.jpg": TAG_OF[RED],
    }
    assert list(tags) == sorted(tags)
    assert all(record["rating"] is None for record in records)
    assert done.stderr.decode() == "4 images: 4 tagged\n"


def test_options_reach_the_selection(folder: Path, toy: Path) -> None:
    options = "--threshold 0 --implications add --exclude f* --top 4 --escape --spaces"
    done = run(
        "tag", "pics/more/blue.webp", "--format", "csv", *options.split(),
        folder=folder, bundle=toy,
    )  # fmt: skip
    rows = list(csv.reader(io.StringIO(done.stdout.decode())))
    assert [row[1:3] for row in rows[1:]] == [
        ["species", "blue fox"],
        ["", "canine"],
        ["general", ":3"],
        ["general", "red"],
        ["rating", "unknown"],
    ]


def test_image_and_list_of_paths_on_standard_input(folder: Path, toy: Path) -> None:
    body = (folder / "pics/red.jpg").read_bytes()
    done = run("tag", "-", folder=folder, bundle=toy, stdin=body)
    assert done.stdout.decode().split() == ["-", "rating:", "unknown", "0.987", "red"]
    listed = b"pics/red.jpg\npics/more\n"
    done = run("tag", "--from-list", "-", folder=folder, bundle=toy, stdin=listed)
    names = [line for line in done.stdout.decode().splitlines() if line[0] != " "]
    assert names == ["pics/red.jpg", "pics/more/blue.webp", "pics/more/white.jpg"]


def test_dash_in_a_list_on_standard_input_takes_nothing_of_it(
    folder: Path, toy: Path
) -> None:
    listed = b"-\n" + b"pics/red.jpg\n" * 3 + b"pics/green.png\n"
    done = run("tag", "--from-list", "-", folder=folder, bundle=toy, stdin=listed)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "3 images: 2 tagged, 1 failed",
        "error: 1 of 3 cannot be tagged:",
        "  -: standard input holds the list of paths, and no image",
    ]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        pytest.param(
            "tag - <&-", "error: -: standard input is closed", id="image on input"
        ),
        pytest.param(
            "tag --from-list - <&-",
            "error: the list - cannot be read: standard input is closed",
            id="list on input",
        ),
        pytest.param(
            "explain-image - --tag red <&-",
            "error: -: standard input is closed",
            id="image to explain",
        ),
        pytest.param(
            "tag pics >&-",
            "error: cannot write -: standard output is closed. What",
            id="answers on output",
        ),
        pytest.param(
            "explain-image pics/red.jpg --tag red -o - >&-",
            "error: cannot write -: standard output is closed. What",
            id="heat map on output",
        ),
    ],
)
def test_closed_stream_is_one_clear_line(
    folder: Path, toy: Path, command: str, message: str
) -> None:
    program = subprocess.list2cmdline(COMMAND).replace("\\", "")
    done = subprocess.run(
        ["bash", "-c", f"{program} {command}"], cwd=folder, env=environment(toy),
        stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(message)


def test_bad_files_are_listed_at_the_end(folder: Path, toy: Path) -> None:
    (folder / "pics/empty.jpg").write_bytes(b"")
    (folder / "pics/text.png").write_text("a fox")
    animation = toy_images.animation([BLUE, RED], "GIF")
    (folder / "pics/moving.gif").write_bytes(animation)
    done = run("tag", "pics", "none.jpg", folder=folder, bundle=toy)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "8 images: 5 tagged, 3 failed",
        "1 of them an animation: its first frame",
        "error: 3 of 8 cannot be tagged:",
        "  pics/empty.jpg: an empty file",
        "  pics/text.png: not an image; read are JPEG, PNG, WebP, GIF, BMP and AVIF",
        "  none.jpg: no such file or directory",
    ]
    blocks = done.stdout.decode()
    moving = blocks[blocks.index("pics/moving.gif") :].splitlines()
    assert moving[1] == "  note: an animation: its first frame"
    assert moving[3].endswith("blue_fox")


def test_sidecars_are_kept_unless_overwritten(folder: Path, toy: Path) -> None:
    mine = folder / "pics/green.txt"
    mine.write_text("mine")
    arguments = ("tag", "pics", "--sidecar", "txt", "--sidecar", "json")
    (folder / "pics/green.json").write_text("{}")
    done = run(*arguments, folder=folder, bundle=toy)
    assert done.stdout == b""
    assert done.stderr.decode() == "4 images: 3 tagged, 1 tagged before and kept\n"
    assert (folder / "pics/more/blue.txt").read_text() == "blue_fox\n"
    content = json.loads((folder / "pics/red.json").read_text())
    assert (content["path"], content["rating"]) == (f"{folder}/pics/red.jpg", None)
    assert mine.read_text() == "mine"
    done = run(*arguments, "--overwrite", folder=folder, bundle=toy)
    assert done.stderr.decode() == "4 images: 4 tagged\n"
    assert mine.read_text() == "green_(colour)\n"


def test_sidecar_never_takes_the_place_of_the_output_or_the_list(
    folder: Path, toy: Path
) -> None:
    toy_images.write(folder / "list.jpg", RED)
    (folder / "list.txt").write_text("list.jpg\npics/red.jpg\n")
    options = ["--from-list", "list.txt", "--sidecar", "txt", "--sidecar", "json"]
    output = ["--format", "jsonl", "-o", "pics/red.json", "--overwrite"]
    done = run_here("tag", *options, *output, folder=folder, bundle=toy)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[2:] == [
        "  list.jpg: list.txt is the list of this run: rename one of them",
        "  pics/red.jpg: red.json is the output of this run: rename one of them",
    ]
    assert (folder / "list.txt").read_text() == "list.jpg\npics/red.jpg\n"
    assert (folder / "pics/red.json").read_bytes() == b""


def test_interrupted_run_lists_its_failures(tmp_path: Path, toy: Path) -> None:
    names = [f"pics/{number:03}.png" for number in range(40)]
    for name in names:
        toy_images.write(tmp_path / name, RED)
    # A pipe that is open and empty holds the run up before its end.
    os.mkfifo(tmp_path / "pipe.png")
    pipe = os.open(tmp_path / "pipe.png", os.O_RDWR)
    process = subprocess.Popen(
        [*COMMAND, "tag", "none.png", *names, "pipe.png", "-o", "tags.jsonl"],
        cwd=tmp_path, env=environment(toy), stderr=subprocess.PIPE,
    )  # fmt: skip
    output = tmp_path / "tags.jsonl"
    while not output.exists() or not output.stat().st_size:
        assert process.poll() is None, "it was done before it could be interrupted"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    os.close(pipe)  # the thread that reads it is waited for
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "  none.png: no such file or directory" in said.decode().splitlines()
    assert b"Traceback" not in said


def test_append_twice_adds_once(folder: Path, toy: Path) -> None:
    (folder / "pics/red.txt").write_text("mine, fox")
    arguments = ("tag", "pics/red.jpg", "--sidecar", "txt", "--append")
    for _ in range(2):
        assert run(*arguments, folder=folder, bundle=toy).returncode == 0
        assert (folder / "pics/red.txt").read_text() == "mine, fox, red\n"


def test_killed_run_is_resumed_to_the_same_bytes(tmp_path: Path, toy: Path) -> None:
    colours = (RED, GREEN, BLUE, WHITE)
    for number in range(120):
        toy_images.write(tmp_path / "pics" / f"{number:03}.png", colours[number % 4])
    arguments = ["tag", "pics", "--sidecar", "txt", "--output"]
    whole = run(*arguments, "whole.jsonl", folder=tmp_path, bundle=toy)
    assert whole.returncode == 0
    lists = {path.name: path.read_text() for path in tmp_path.glob("pics/*.txt")}
    for path in tmp_path.glob("pics/*.txt"):
        path.unlink()
    output = tmp_path / "killed.jsonl"
    process = subprocess.Popen(
        [*COMMAND, *arguments, output.name], cwd=tmp_path, env=environment(toy)
    )
    while not output.exists() or output.stat().st_size < 1_500:
        assert process.poll() is None, "it was done before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = output.read_bytes()
    resumed = run(*arguments, output.name, folder=tmp_path, bundle=toy)
    kept = before.count(b"\n")
    assert 0 < kept < 120
    assert f"{kept} tagged before and kept" in resumed.stderr.decode()
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert {
        path.name: path.read_text() for path in tmp_path.glob("pics/*.txt")
    } == lists
    # The temporary file of a sidecar that was being written, at most.
    assert len(list(tmp_path.glob("pics/.*"))) <= 1


@pytest.mark.parametrize("name", ["tags.jsonl", "tags.csv"])
def test_file_is_continued_from_whatever_folder(
    folder: Path, toy: Path, name: str
) -> None:
    output = folder / name
    for image, colour in (("a/one.png", RED), ("b/one.png", BLUE)):
        toy_images.write(folder / image, colour)
    # Silent: nothing is counted where the one image was tagged.
    for place, said in (
        ("a", ""),
        ("b", ""),
        ("a", "1 image: 0 tagged, 1 tagged before and kept"),
    ):
        done = run_here("tag", ".", "-o", output, folder=folder / place, bundle=toy)
        assert done.stderr.strip() == said
    done = run_here("tag", "a", folder / "b", "-o", name, folder=folder, bundle=toy)
    assert done.stderr == "2 images: 0 tagged, 2 tagged before and kept\n"


def test_csv_to_a_pipe(folder: Path, toy: Path) -> None:
    arguments = ("--format", "csv", "--output", "/dev/stdout")
    done = run("tag", "pics/red.jpg", *arguments, folder=folder, bundle=toy)
    assert (done.returncode, done.stderr) == (0, b"")
    header, *rows = csv.reader(io.StringIO(done.stdout.decode()))
    assert header == ["path", "category", "tag", "score"]
    assert [row[1:3] for row in rows] == [["general", "red"], ["rating", "unknown"]]


def test_overwrite_keeps_answers_where_nothing_can_be_tagged(
    folder: Path, toy: Path
) -> None:
    output = folder / "tags.jsonl"
    arguments = ("--output", output, "--overwrite")
    run_here("tag", "pics", *arguments, folder=folder, bundle=toy)
    before = output.read_bytes()
    done = run_here("tag", "none.png", *arguments, folder=folder, bundle=toy)
    assert (done.exit_code, output.read_bytes()) == (1, before)
    run_here("tag", "pics/red.jpg", *arguments, folder=folder, bundle=toy)
    assert output.read_bytes().count(b"\n") == 1


def test_sidecar_that_cannot_be_written_costs_no_other(folder: Path, toy: Path) -> None:
    long = "x" * 251 + ".jpg"
    toy_images.write(folder / "pics" / long, RED)
    (folder / "pics/green.png.txt").write_bytes(b"\xff")
    options = [
        "--sidecar",
        "txt",
        "--sidecar-name",
        "full",
        "--append",
        "-o",
        "tags.jsonl",
    ]
    done = run_here("tag", "pics", *options, folder=folder, bundle=toy)
    assert done.exit_code == 1
    no_text = "green.png.txt is not text in UTF-8, so no tags are added to it"
    assert done.stderr.splitlines() == [
        "5 images: 3 tagged, 2 failed",
        "error: 2 of 5 cannot be tagged:",
        f"  pics/green.png: {no_text}",
        f"  pics/{long}: {long}.txt cannot be written: file name too long",
    ]
    assert (folder / "pics/red.jpg.txt").read_text() == "red\n"
    assert (folder / "tags.jsonl").read_bytes().count(b"\n") == 3


@pytest.mark.parametrize("answer_format", ["text", "csv"])
def test_full_disk_stops_the_run(folder: Path, toy: Path, answer_format: str) -> None:
    arguments = ("--format", answer_format, "--output", "/dev/full")
    done = run_here("tag", "pics", *arguments, folder=folder, bundle=toy)
    assert done.exit_code == 1
    assert done.stderr.startswith(
        "error: cannot write /dev/full: No space left on device. What is finished is "
        "kept: fix it"
    )


def test_list_in_a_pipe_is_read_once_on_a_terminal(folder: Path, toy: Path) -> None:
    """A bar counts what there is, and the list must still be there."""
    outer, inner = pty.openpty()
    command = subprocess.list2cmdline(COMMAND).replace("\\", "")
    done = subprocess.run(
        ["bash", "-c", f"{command} tag --from-list <(find pics -name '*.*') -o t.csv"],
        cwd=folder, env=environment(toy), stderr=inner, check=False,
    )  # fmt: skip
    os.close(inner)
    shown = os.read(outer, 100_000).decode()
    os.close(outer)
    assert (done.returncode, "4 images: 4 tagged" in shown) == (0, True), shown


def test_reader_that_stops_is_no_failure(folder: Path, toy: Path) -> None:
    command = subprocess.list2cmdline(COMMAND).replace("\\", "")
    piped = f"{command} tag pics --format jsonl | head -c 10"
    done = subprocess.run(
        ["bash", "-c", piped], cwd=folder, env=environment(toy), capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.stdout == b'{"path": "'
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def test_works_without_a_network(folder: Path, toy: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    done = subprocess.run(
        ["unshare", "--net", *COMMAND, "tag", "pics/red.jpg"],
        cwd=folder, env=environment(toy), capture_output=True, check=False,
    )  # fmt: skip
    if b"unshare" in done.stderr:
        pytest.skip("this system allows no namespaces")
    assert done.returncode == 0
    assert b"red" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["pics/red.jpg", "--device", "gpu"],
            "error: the GPU was asked for, but",
            id="no GPU",
        ),
        pytest.param(
            ["pics/red.jpg", "--bundle", "pics"],
            "error: pics is not a bundle: preprocessing.json missing",
            id="no bundle in the folder",
        ),
        pytest.param(
            ["pics/red.jpg", "--category", "animals"],
            "error: no category animals. Known are general, artist",
            id="unknown category",
        ),
        pytest.param(["none"], "error: none: no such file or directory", id="no file"),
        pytest.param(["empty"], "error: no images in empty", id="empty folder"),
        pytest.param(
            ["pics", "--output", "pics/none/a.jsonl"],
            "error: cannot write pics/none/a.jsonl: No such file or directory",
            id="output that cannot be written",
        ),
        pytest.param(
            ["pics", "--output", "pics/red.jpg"],
            "error: the output pics/red.jpg is named as images are",
            id="output that is an image",
        ),
        pytest.param(
            ["list.txt", "pics", "--output", "./list.txt", "--overwrite"],
            "error: the output list.txt is an input too",
            id="output that is an input",
        ),
        pytest.param(
            ["--from-list", "list.txt", "--output", "list.txt", "--overwrite"],
            "error: the output list.txt is an input too",
            id="output that is the list",
        ),
        pytest.param(
            ["--from-list", "none.txt"],
            "error: the list none.txt cannot be read: no such file",
            id="no list",
        ),
    ],
)
def test_one_clear_line_and_exit_status_1(
    folder: Path, toy: Path, arguments: list[str], message: str
) -> None:
    (folder / "empty").mkdir()
    (folder / "list.txt").write_text("pics/red.jpg")
    done = run_here("tag", *arguments, folder=folder, bundle=toy)
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "name at least one PATH", id="nothing"),
        pytest.param(["-", "--from-list", "-"], "standard input is", id="input twice"),
        pytest.param(["a", "--append"], "--append needs", id="nothing to append to"),
        pytest.param(["a", "--threshold", "2"], "--threshold", id="threshold"),
        pytest.param(
            ["a", "--sidecar", "txt", "--append", "--overwrite"],
            "exclude each other",
            id="contradiction",
        ),
    ],
)
def test_wrong_usage_is_exit_status_2(
    folder: Path, toy: Path, arguments: list[str], message: str
) -> None:
    done = run_here("tag", *arguments, folder=folder, bundle=toy)
    assert done.exit_code == 2
    assert message in done.stderr


def test_bundle_of_another_version(folder: Path, toy: Path) -> None:
    other = shutil.copytree(toy, folder / "bundle")
    path = other / bundle.PREPROCESSING
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"bundle_version": bundle.VERSION + 1}))
    done = run_here("tag", "pics", folder=folder, bundle=other)
    assert done.exit_code == 1
    assert "Install a newer e6tag." in done.stderr


def test_tags_of_other_length_than_the_output(folder: Path, toy: Path) -> None:
    other = shutil.copytree(toy, folder / "bundle")
    rows = (other / bundle.ROWS).read_text()
    (other / bundle.ROWS).write_text(rows + "-9,nothing,4,0\n")
    done = run_here("tag", "pics", folder=folder, bundle=other)
    assert done.exit_code == 1
    assert "has 10 rows" in done.stderr
    assert done.stderr.count("\n") == 1


def test_bundle_of_the_project_is_found(folder: Path, toy: Path) -> None:
    done = run_here("tag", "pics/red.jpg", folder=folder)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: no bundle: there is no folder ./data/bundle")
    shutil.copytree(toy, folder / "data/bundle")
    assert run_here("tag", "pics/red.jpg", folder=folder).exit_code == 0


def test_debug_shows_the_traceback(folder: Path) -> None:
    done = run("--debug", "tag", "pics", folder=folder)
    assert done.returncode == 1
    assert b"Traceback" in done.stderr


def test_uncertainty_of_models_that_tell(folder: Path) -> None:
    uncertain = toy_bundle.write_bundle(folder / "uncertain", uncertainty=True)
    done = run(
        "tag", "pics/red.jpg", "--format", "jsonl", folder=folder, bundle=uncertain
    )
    (tag,) = json.loads(done.stdout)["tags"]
    assert tag["uncertainty"] == pytest.approx(tag["score"] ** 0.5, abs=1e-3)
