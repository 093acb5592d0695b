"""The project's commands: one per stage, the gates, and those for pin and profile.

They are commands of `e6tag` in a checkout, and of `python -m pipeline`. Imports nothing
heavy before it is known which stage runs.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.stage_runner import exit_on_failure, inspect_stage, run_stage

if TYPE_CHECKING:
    from pipeline.params import Params
    from pipeline.paths import Paths

app = typer.Typer()
"""Added to the commands of e6tag.cli, which reads the options that all share."""

packs = typer.Typer(help="Inspect the image packs.", no_args_is_help=True)
app.add_typer(packs, name="packs")

Dataset = Literal["snapshot", "sample", "manifest", "shards", "evaluation", "bundle"]


@app.command()
def harvest(context: typer.Context) -> None:
    """Fetch the pinned exports and write the snapshot."""
    from pipeline.harvest import run

    def work(params: "Params", paths: "Paths") -> None:
        run(params.harvest, paths, site=params.site)

    run_stage(context, "harvest", work)


@app.command()
def sample(context: typer.Context) -> None:
    """Choose the vocabulary and the posts."""
    from pipeline.sample import run

    def work(params: "Params", paths: "Paths") -> None:
        run(params.sample, paths)

    run_stage(context, "sample", work)


@app.command()
def download(
    context: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan; fetch and write nothing.")
    ] = False,
) -> None:
    """Fetch the images of the sampled posts into packs."""
    from pipeline.download import run

    def work(params: "Params", paths: "Paths") -> None:
        run(params.download, paths, site=params.site, dry_run=dry_run)

    if dry_run:
        inspect_stage(context, "download", work)
    else:
        run_stage(context, "download", work)


@app.command()
def manifest(context: typer.Context) -> None:
    """Join posts, labels, splits and image properties into one row per record."""
    from pipeline.manifest import run

    def work(params: "Params", paths: "Paths") -> None:
        run(params.manifest, paths, everything=params)

    run_stage(context, "manifest", work)


@app.command()
def shard(context: typer.Context) -> None:
    """Write the TFRecord shards."""
    from pipeline.shard import run

    def work(params: "Params", paths: "Paths") -> None:
        run(params.shard, paths, cluster=params.cluster)

    run_stage(context, "shard", work)


@app.command()
def train(context: typer.Context) -> None:
    """Train the tagger."""
    from pipeline.train import run

    def work(params: "Params", paths: "Paths") -> None:
        run(params.train, paths)

    run_stage(context, "train", work)


@app.command()
def evaluate(context: typer.Context) -> None:
    """Compare the tagger with its image-blind baselines."""
    from pipeline.evaluate import run

    def work(params: "Params", paths: "Paths") -> None:
        run(params.evaluate, paths)

    run_stage(context, "evaluate", work)


@app.command()
def export(context: typer.Context) -> None:
    """Package the tagger as ONNX with its tags, thresholds and model card."""
    from pipeline.export import run

    def work(params: "Params", paths: "Paths") -> None:
        run(params.export, paths, shard=params.shard)

    run_stage(context, "export", work)


@app.command()
def report(context: typer.Context) -> None:
    """Write the page that a person reads."""
    from pipeline.report import run

    def work(params: "Params", paths: "Paths") -> None:
        run(params, paths)

    run_stage(context, "report", work)


@app.command()
def validate(context: typer.Context, dataset: Dataset) -> None:
    """Check a dataset at its gate; fails when a critical expectation does not hold."""
    from pipeline.validate import run

    def work(params: "Params", paths: "Paths") -> None:
        run(dataset, params, paths)

    run_stage(context, f"validate-{dataset}", work)


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

    def work(params: "Params", paths: "Paths") -> None:
        run(params, paths, delta=delta)

    run_stage(context, "refresh", work)


@app.command()
def purge(
    remote: Annotated[
        list[str] | None, typer.Option(help="A DVC remote to clean as well, by name.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would go; remove nothing.")
    ] = False,
) -> None:
    """Remove from DVC's cache what dvc.lock no longer refers to.

    Such as images that were taken down.
    """
    # In a process of its own: the stages know nothing of DVC, and nothing here imports
    # it.
    command = [sys.executable, "-m", "ops.purge"]
    if dry_run:
        command.append("--dry-run")
    command += [f"--remote={name}" for name in remote or []]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@packs.command("verify")
def verify_packs(context: typer.Context) -> None:
    """Read every pack in full and compare them with outcomes.parquet.

    Exit status 1 where something is wrong.
    """
    with exit_on_failure(debug=context.obj):
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
        if found.problems:
            raise typer.Exit(1)


@packs.command("get")
def get_image(
    context: typer.Context,
    md5: str,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; by default <md5>.<format> in this folder."),
    ] = None,
) -> None:
    """Write an image as it was served to a file of its own."""
    with exit_on_failure(debug=context.obj):
        from pipeline import files, progress
        from pipeline.packs import get
        from pipeline.paths import Paths

        image = get(Paths().images, md5.lower())
        place = out or Path(f"{image.md5}.{image.format.replace('jpeg', 'jpg')}")
        files.write_bytes(place, image.bytes)
        progress.log(
            f"{place}: {image.variant} of post {image.post_id}, {image.format}, "
            f"{image.width} x {image.height}, {len(image.bytes):,} bytes"
        )


@app.command()
def explain(
    context: typer.Context,
    subject: Annotated[
        str, typer.Argument(help="A tag's name, or a post's id.", metavar="TAG|POST")
    ],
) -> None:
    """Explain why a tag is learnt or not, or why a post is in the sample or not."""
    with exit_on_failure(debug=context.obj):
        from pipeline.explain import run
        from pipeline.params import load
        from pipeline.paths import Paths

        paths = Paths()
        run(load(paths.params), paths, subject)


@app.command()
def use(context: typer.Context, profile: str) -> None:
    """Write params.yaml from a profile (profiles/NAME.yaml) and pin its site."""
    with exit_on_failure(debug=context.obj):
        from pipeline import files, profiles, progress
        from pipeline.paths import Paths

        source = profiles.find(profile)
        text = profiles.params_yaml(source)
        params = Paths().params
        if params.exists() and not profiles.is_unedited(params):
            shutil.copyfile(params, params.with_name("params.yaml.bak"))
            progress.log("params.yaml was edited: kept as params.yaml.bak")
        files.write_text(params, text)
        progress.log(f"{params} is now {source}")
    refresh(context)


def disable_telemetry() -> None:
    """Sets what libraries read from the environment: nothing may phone home."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
