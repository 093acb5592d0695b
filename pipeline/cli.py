"""The project's commands: one per stage, the gates, and those for pin and profile.

They are commands of `e6tag` in a checkout, and of `python -m pipeline`. Imports nothing
heavy before it is known which stage runs, and each stage within its work, since
libraries too need memory and open files.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from pipeline.stage_runner import exit_on_failure, inspect_stage, run_stage

if TYPE_CHECKING:
    from pipeline.params import Params
    from pipeline.paths import Paths

app = typer.Typer()
"""Added to the commands of e6tag.cli, which reads the options that all share."""

packs = typer.Typer(help="Inspect the image packs.", no_args_is_help=True)
app.add_typer(packs, name="packs")

Dataset = Literal[
    "snapshot", "sample", "manifest", "shards", "evaluation", "mining", "bundle"
]


@app.command()
def harvest(context: typer.Context) -> None:
    """Fetch the pinned exports and write the snapshot."""

    def work(params: "Params", paths: "Paths") -> None:
        from pipeline.harvest import run

        run(params.harvest, paths, site=params.site)

    run_stage(context, "harvest", work)


@app.command()
def sample(context: typer.Context) -> None:
    """Choose the vocabulary and the posts."""

    def work(params: "Params", paths: "Paths") -> None:
        from pipeline.sample import run

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

    def work(params: "Params", paths: "Paths") -> None:
        from pipeline.download import run

        run(params.download, paths, site=params.site, dry_run=dry_run)

    if dry_run:
        inspect_stage(context, "download", work)
    else:
        run_stage(context, "download", work)


@app.command()
def manifest(context: typer.Context) -> None:
    """Join posts, labels, splits and image properties into one row per record."""

    def work(params: "Params", paths: "Paths") -> None:
        from pipeline.manifest import run

        run(params.manifest, paths, everything=params)

    run_stage(context, "manifest", work)


@app.command()
def shard(context: typer.Context) -> None:
    """Write the TFRecord shards."""

    def work(params: "Params", paths: "Paths") -> None:
        from pipeline.shard import run

        run(params.shard, paths, cluster=params.cluster)

    run_stage(context, "shard", work)


@app.command()
def train(
    context: typer.Context,
    *,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Print what training would take; write and train nothing."
        ),
    ] = False,
) -> None:
    """Train the tagger."""

    def work(params: "Params", paths: "Paths") -> None:
        from pipeline.train import run

        run(params.train, paths)

    def print_plan(params: "Params", paths: "Paths") -> None:
        from pipeline.training_plan import run

        run(params.train, paths)

    if plan:
        inspect_stage(context, "train", print_plan)
        return
    with exit_on_failure(debug=context.obj):
        from pipeline.train.hosts import stage_name

        name = stage_name("train")
    run_stage(context, name, work)


@app.command()
def evaluate(context: typer.Context) -> None:
    """Compare the tagger with its image-blind baselines."""

    def work(params: "Params", paths: "Paths") -> None:
        from pipeline.evaluate import run

        run(params.evaluate, paths, shard=params.shard)

    run_stage(context, "evaluate", work)


@app.command()
def mine(context: typer.Context) -> None:
    """Propose labels that are likely missing or wrong."""

    def work(params: "Params", paths: "Paths") -> None:
        from pipeline.mine import run

        run(params.mine, paths, site=params.site)

    run_stage(context, "mine", work)


@app.command()
def export(context: typer.Context) -> None:
    """Package the tagger as ONNX with its tags, thresholds and model card."""

    def work(params: "Params", paths: "Paths") -> None:
        from pipeline.export import run

        run(params.export, paths, shard=params.shard)

    run_stage(context, "export", work)


@app.command()
def report(context: typer.Context) -> None:
    """Write the page that a person reads."""

    def work(params: "Params", paths: "Paths") -> None:
        from pipeline.report import run

        run(params, paths)

    run_stage(context, "report", work)


@app.command()
def validate(context: typer.Context, dataset: Dataset) -> None:
    """Check a dataset at its gate; fails when a critical expectation does not hold."""

    def work(params: "Params", paths: "Paths") -> None:
        from pipeline.validate import run

        run(dataset, params, paths)

    run_stage(context, f"validate@{dataset}", work)


@app.command()
def regression(
    context: typer.Context,
    table: Annotated[
        Path,
        typer.Argument(
            help="A CSV file with the columns post_id,value or md5,value.",
            metavar="CSV",
        ),
    ],
    model: Annotated[
        Path, typer.Option(help="Folder with model.keras and training.json.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist.")],
) -> None:
    """Fit a number per image, such as a quality score, on what a tagger knows."""

    def work(params: "Params", paths: "Paths") -> None:  # noqa: ARG001
        from pipeline.regression import run

        run(table, model, out, paths)

    run_stage(context, "regression", work)


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

    def work(params: "Params", paths: "Paths") -> None:
        from pipeline.refresh import run

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

    This includes images that were taken down.
    """
    # In a process of its own: the stages know nothing of DVC, and nothing here imports
    # it.
    command = [sys.executable, "-m", "ops.purge"]
    if dry_run:
        command.append("--dry-run")
    command += [f"--remote={name}" for name in remote or []]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command()
def status(
    context: typer.Context,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print it for programs.")
    ] = False,
) -> None:
    """Say what is there, what is stale and why, and what is unfinished."""
    arguments = ["--json"] if as_json else []
    _become(context, "ops.status", arguments)


@app.command()
def diff(
    context: typer.Context,
    before: Annotated[
        str,
        typer.Argument(
            help="A commit, branch or tag whose dvc.lock names a run.",
            metavar="REVISION",
        ),
    ],
    after: Annotated[
        str | None,
        typer.Argument(
            help="Another; by default the files in this folder.",
            metavar="REVISION",
            show_default=False,
        ),
    ] = None,
    *,
    resamplings: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=10_000,
            help="Of the test images, behind each interval; by default 200, 0: none.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all of it for programs.")
    ] = False,
) -> None:
    """Compare two runs: tags, posts, labels and metrics."""
    arguments = [] if resamplings is None else [f"--resamplings={resamplings}"]
    if as_json:
        arguments.append("--json")
    arguments += ["--", before]
    if after is not None:
        arguments.append(after)
    _become(context, "ops.diff", arguments)


@app.command()
def clean(
    context: typer.Context,
    kinds: Annotated[
        list[str] | None,
        typer.Argument(
            help="temporary, checkpoints, cache (these three by default), notes, "
            "fetched.",
            metavar="KIND...",
            show_default=False,
        ),
    ] = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would go; remove nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove what can go: unfinished work, unused files of DVC's cache."""
    arguments = list(kinds or [])
    if dry_run:
        arguments.append("--dry-run")
    if yes:
        arguments.append("--yes")
    _become(context, "ops.clean", arguments)


@app.command()
def ablation(
    context: typer.Context,
    factor: Annotated[
        list[str] | None,
        typer.Option(help="Only this factor of ablation.yaml; may be repeated."),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Instead of ablation.yaml's, such as 1,2,3.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time; by default one per GPU, else one."),
    ] = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs and their hours only.")
    ] = False,
) -> None:
    """Measure what each choice of train is worth, by the runs of ablation.yaml."""
    arguments = [f"--factor={name}" for name in factor or []]
    if seeds is not None:
        arguments.append(f"--seeds={seeds}")
    if jobs is not None:
        arguments.append(f"--jobs={jobs}")
    if dry_run:
        arguments.append("--dry-run")
    _become(context, "ops.ablation", arguments)


def _become(context: typer.Context, module: str, arguments: list[str]) -> NoReturn:
    """Replaces this process by a command of `ops`, which knows DVC.

    It is not the parent of that command: a signal is for it.
    """
    command = [sys.executable, "-m", module]
    if context.obj:
        command.append("--debug")
    command += arguments
    os.execv(sys.executable, command)  # noqa: S606


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
        if found.damaged:
            names = " ".join(str(path) for path in found.damaged)
            progress.log(
                f"Delete what is damaged (rm {names}), then run dvc repro: download "
                "fetches these images again."
            )
        elif found.problems:
            progress.log(
                "Run dvc repro --single-item --force download, which writes the "
                "outcomes anew, then dvc repro."
            )
        print(
            f"{found.packs:,} packs of {found.bytes / 1e6:,.1f} MB read in full, "
            f"{found.images:,} sound images, {found.unlisted:,} of them not in the "
            f"present sample, {len(found.problems):,} problems"
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
