"""Entry point of `python -m ops.ablation`, which `e6tag ablation` runs."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from ops import ablation
from ops.ablation import estimate
from ops.ablation.options import FactorOption, JobsOption, SeedsOption, parse_seeds
from ops.ablation.plan import make_plan
from pipeline.stage_runner import exit_on_failure


def main() -> None:
    """Runs the command in the working directory's project."""

    def run(
        factor: FactorOption = None,
        seeds: SeedsOption = None,
        jobs: JobsOption = None,
        *,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="List the runs and their hours")
        ] = False,
        debug: Annotated[
            bool, typer.Option(help="Show the traceback of an expected failure")
        ] = False,
    ) -> None:
        """Measures what each choice of train is worth."""
        with exit_on_failure(debug=debug):
            chosen = parse_seeds(seeds)
            if dry_run:
                wanted = make_plan(Path(), factor, chosen)
                for line in estimate.describe(wanted, jobs):
                    print(line)
                return
            with ablation.opened(Path(), factor, chosen) as (plan, project):
                ablation.execute(plan, project, jobs)

    # A terminated ablation ends its runs, as one interrupted does.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    typer.run(run)


if __name__ == "__main__":
    main()
