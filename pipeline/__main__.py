"""The command line: `e6tag` and `python -m pipeline`.

One command per stage, the gates, the care of pin and profile.

Imports nothing heavy before it knows which stage runs.
"""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from pipeline.params import Params
    from pipeline.paths import Paths

app = typer.Typer(
    help="e6tag: from a snapshot of e621's public metadata to a trained, evaluated, packaged image tagger.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

packs = typer.Typer(help="Look into the image packs.", no_args_is_help=True)
app.add_typer(packs, name="packs")

Dataset = Literal["snapshot", "sample", "manifest", "shards", "evaluation", "bundle"]


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option(help="Show the traceback of an expected failure.")
    ] = False,
) -> None:
    """Reads the options that all commands share."""
    context.obj = debug


@app.command()
def harvest(context: typer.Context) -> None:
    """Fetch the pinned exports and write the snapshot."""
    from pipeline.harvest import run

    _run(
        context,
        "harvest",
        lambda params, paths: run(params.harvest, paths, site=params.site),
    )


@app.command()
def sample(context: typer.Context) -> None:
    """Choose the vocabulary and the posts."""
    from pipeline.sample import run

    _run(
        context,
        "sample",
        lambda params, paths: run(params.sample, paths),
    )


@app.command()
def download(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan; fetch and write nothing.")
    ] = False,
) -> None:
    """Fetch the sampled posts' pictures into packs."""
    from pipeline.download import run

    def work(params: "Params", paths: "Paths") -> None:
        run(params.download, paths, site=params.site, dry_run=dry_run)

    _run(context, "download", work, writes=not dry_run)


@app.command()
def manifest(context: typer.Context) -> None:
    """Join posts, labels, splits and picture facts into one row per record."""
    from pipeline.manifest import run

    _run(
        context,
        "manifest",
        lambda params, paths: run(params.manifest, paths, everything=params),
    )


@app.command()
def shard(context: typer.Context) -> None:
    """Write the TFRecord shards."""
    from pipeline.shard import run

    _run(
        context,
        "shard",
        lambda params, paths: run(params.shard, paths, cluster=params.cluster),
    )


@app.command()
def train(context: typer.Context) -> None:
    """Train the tagger."""
    from pipeline.train import run

    _run(context, "train", lambda params, paths: run(params.train, paths))


@app.command()
def evaluate(context: typer.Context) -> None:
    """Judge the tagger beside its image-blind baselines."""
    from pipeline.evaluate import run

    _run(context, "evaluate", lambda params, paths: run(params.evaluate, paths))


@app.command()
def export(context: typer.Context) -> None:
    """Package the tagger as ONNX with its tags, thresholds and model card."""
    from pipeline.export import run

    _run(
        context,
        "export",
        lambda params, paths: run(params.export, paths, shard=params.shard),
    )


@app.command()
def report(context: typer.Context) -> None:
    """Write the page that a person reads."""
    from pipeline.report import run

    _run(context, "report", lambda params, paths: run(params, paths))


@app.command()
def validate(context: typer.Context, dataset: Dataset) -> None:
    """Judge a dataset at its gate; fails when a critical expectation does not hold."""
    from pipeline.validate import run

    _run(
        context,
        f"validate-{dataset}",
        lambda params, paths: run(dataset, params, paths),
    )


@app.command()
def refresh(
    context: typer.Context,
    delta: Annotated[
        bool,
        typer.Option(
            "--delta",
            help="Keep the pinned export of posts; fetch only what changed since.",
        ),
    ] = False,
) -> None:
    """Pin what the site has now in snapshot.json, if there is news."""
    from pipeline.refresh import run

    _run(context, "refresh", lambda params, paths: run(params, paths, delta=delta))


@app.command()
def purge(
    remote: Annotated[
        list[str] | None, typer.Option(help="A DVC remote to clean as well, by name.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would go; remove nothing.")
    ] = False,
) -> None:
    """Remove from DVC's cache what dvc.lock no longer refers to, pictures that were taken down among it."""
    # In a process of its own: the stages know nothing of DVC, and nothing here imports
    # it.
    command = [sys.executable, "-m", "ops.purge", *(["--dry-run"] if dry_run else [])]
    command += [f"--remote={name}" for name in remote or []]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@packs.command("verify")
def verify_packs(context: typer.Context) -> None:
    """Read every pack in full and compare them with outcomes.parquet.

    Exit status 1 where something is wrong.
    """
    with _failures(debug=context.obj):
        from pipeline import progress
        from pipeline.packs import audit
        from pipeline.paths import Paths

        found = audit(Paths().images)
        for problem in found.problems:
            print(problem)
        if found.problems:
            progress.log(
                "Run dvc repro: download removes damaged packs and fetches what is "
                "missing."
            )
        print(
            f"{found.packs:,} packs, {found.pictures:,} sound pictures, "
            f"{found.unlisted:,} of them not in the present "
            f"sample, {len(found.problems):,} problems"
        )
        raise typer.Exit(1 if found.problems else 0)


@packs.command("get")
def get_picture(
    context: typer.Context,
    md5: str,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; by default <md5>.<format> in this folder."),
    ] = None,
) -> None:
    """Write a picture as it was served to a file of its own."""
    with _failures(debug=context.obj):
        from pipeline import files, progress
        from pipeline.packs import get
        from pipeline.paths import Paths

        picture = get(Paths().images, md5.lower())
        place = out or Path(f"{picture.md5}.{picture.format.replace('jpeg', 'jpg')}")
        files.write_bytes(place, picture.bytes)
        progress.log(
            f"{place}: {picture.variant} of post {picture.post_id}, {picture.format}, "
            f"{picture.width} x {picture.height}, {len(picture.bytes):,} bytes"
        )


@app.command()
def explain(
    context: typer.Context,
    subject: Annotated[
        str, typer.Argument(help="A tag's name, or a post's id.", metavar="TAG|POST")
    ],
) -> None:
    """Say why a tag is learnt or not, or why a post was chosen or dropped."""
    with _failures(debug=context.obj):
        from pipeline.explain import run
        from pipeline.params import load
        from pipeline.paths import Paths

        paths = Paths()
        run(load(paths.params), paths, subject)


@app.command()
def use(context: typer.Context, profile: str) -> None:
    """Make a profile (profiles/NAME.yaml) the parameters of this project.

    Copies it to params.yaml, pins its site.
    """
    with _failures(debug=context.obj):
        from pipeline import files, progress
        from pipeline.errors import BadParameter
        from pipeline.params import load
        from pipeline.paths import Paths

        source = Path("profiles") / f"{profile}.yaml"
        if source not in set(Path("profiles").glob("*.yaml")):
            known = ", ".join(
                sorted(path.stem for path in Path("profiles").glob("*.yaml"))
            )
            raise BadParameter(
                f"there is no profile {profile}. Known: "
                f"{known or 'none, run from the project folder'}."
            )
        load(source)
        params = Paths().params
        if params.exists() and params.read_bytes() not in {
            path.read_bytes() for path in source.parent.glob("*.yaml")
        }:
            shutil.copyfile(params, params.with_name("params.yaml.bak"))
            progress.log("params.yaml was edited: kept as params.yaml.bak")
        files.write_bytes(params, source.read_bytes())
        progress.log(f"{params} is now {source}")
    refresh(context)


def _run(
    context: typer.Context,
    stage: str,
    work: "Callable[[Params, Paths], object]",
    *,
    writes: bool = True,
) -> None:
    """Runs one stage under its lock.

    An expected failure becomes one line and its exit status.

    writes: whether the stage works, or only looks; then nothing at all is written or
    said beside what it says.
    """
    with _failures(debug=context.obj):
        from pipeline import locks, progress
        from pipeline.params import load
        from pipeline.paths import Paths

        paths = Paths()
        params = load(paths.params)
        started = time.monotonic()
        with (
            locks.stage_lock(paths, stage)
            if writes
            else locks.shared_lock(paths, stage)
        ):
            work(params, paths)
        if not writes:
            return
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            1e9 if sys.platform == "darwin" else 1e6
        )
        progress.log(
            f"{stage}: took {time.monotonic() - started:,.1f} s and {peak:,.1f} GB of "
            "memory, workers aside"
        )


@contextmanager
def _failures(*, debug: bool) -> Iterator[None]:
    from pipeline.errors import E6tagError

    try:
        yield
    except E6tagError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_status) from error
    except OSError as error:
        # What no room of the house explained better, such as a disk that fills up;
        # --debug shows the traceback.
        if debug or error.strerror is None:
            raise
        what = (
            f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        )
        print(
            f"error: {what}. What is finished is kept: mend it, then run the same "
            "command again.",
            file=sys.stderr,
        )
        raise typer.Exit(1) from error
    except sqlite3.OperationalError as error:
        if debug:
            raise
        print(
            f"error: data/ledger.sqlite: {error}. What is finished is kept: run the "
            "same command again.",
            file=sys.stderr,
        )
        raise typer.Exit(1) from error


def main() -> None:
    """Entry point of the console script."""
    # Nothing this project runs may phone home; what a library reads from the
    # environment is said here, once.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    app(prog_name="e6tag")


if __name__ == "__main__":
    main()
