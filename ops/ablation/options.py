"""Options of the command, and of the flow that does the same."""

from typing import Annotated

import typer

from pipeline import ablation
from pipeline.errors import BadParameter

FactorOption = Annotated[
    list[str] | None, typer.Option(help="Only this factor; may be repeated")
]
SeedsOption = Annotated[
    str | None, typer.Option(help="Instead of ablation.yaml's, such as 1,2,3")
]
JobsOption = Annotated[
    int | None, typer.Option(min=1, help="Runs at a time; one per GPU")
]


def parse_seeds(text: str | None) -> list[int] | None:
    """Returns the seeds of an option such as 1,2,3; raises BadParameter."""
    if text is None:
        return None
    seeds = []
    for part in text.split(","):
        if not part.strip().isdecimal():
            raise BadParameter(
                f"--seeds {text} is not a list of whole numbers, such as 1,2,3."
            )
        seeds.append(int(part))
    ablation.check_seeds(seeds)
    return list(dict.fromkeys(seeds))
