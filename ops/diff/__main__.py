"""Entry point of `python -m ops.diff`, which `e6tag diff` runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ops import diff, runs
from ops.diff import metrics, text
from ops.dvc import StageFailed
from pipeline.stage_runner import exit_on_failure


def main(
    before: str,
    after: Annotated[str, typer.Argument()] = runs.WORKSPACE,
    resamplings: Annotated[
        int, typer.Option(min=0, max=10_000, help="Behind each interval; 0: none.")
    ] = metrics.RESAMPLINGS,
    *,
    json_: Annotated[
        bool, typer.Option("--json", help="Print all of it for programs.")
    ] = False,
    debug: Annotated[
        bool, typer.Option(help="Show the traceback of an expected failure")
    ] = False,
) -> None:
    """Compares two runs: tags, posts, labels and metrics."""
    try:
        with exit_on_failure(debug=debug):
            report = diff.compare(
                runs.at(Path(), before), runs.at(Path(), after), resamplings
            )
            if json_:
                print(diff.to_json(report), end="")
            else:
                _print(report)
    except StageFailed as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_status) from error


def _print(report: diff.Report) -> None:
    """Prints for people: in colours on a terminal, plain elsewhere."""
    # Names of tags, such as `:x:`, are no markup and no emoji.
    console = Console(highlight=False, markup=False, emoji=False)
    for part in text.render(report):
        console.print(part)


if __name__ == "__main__":
    typer.run(main)
