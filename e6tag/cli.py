"""The command `e6tag`: in a checkout of the project, also the project's commands.

Imports nothing heavy before it is known which command runs: `e6tag --help` must answer
in 0.3 s.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from e6tag.commands.embed import embed
from e6tag.commands.explain_image import explain_image
from e6tag.commands.serve import serve
from e6tag.commands.similar import similar
from e6tag.commands.tag import tag
from e6tag.errors import E6tagError


class _Commands(TyperGroup):
    """The group of all commands: prints their expected failures as one line."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; an E6tagError becomes a line and exit status 1."""
        try:
            return super().invoke(ctx)
        except E6tagError as error:
            if ctx.obj:  # --debug
                raise
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Commands,
    help="e6tag: tags for images, and the pipeline that trains the tagger.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Rich help would take longer to import than all the rest together.
    rich_markup_mode=None,
)


app.command()(tag)
app.command()(explain_image)
app.command()(embed)
app.command()(similar)
app.command()(serve)


def main(name: str = "e6tag") -> None:
    """Entry point of the console script. name: of the program, in its help."""
    if is_checkout():
        # By name: this package is also installed without the pipeline.
        project = importlib.import_module("pipeline.cli")
        project.disable_telemetry()
        app.add_typer(project.app)
    app(prog_name=name)


def is_checkout() -> bool:
    """Returns whether the project's package `pipeline` lies beside this package."""
    spec = importlib.util.find_spec("pipeline")
    if spec is None or spec.origin is None:
        return False
    return Path(spec.origin).parents[1] == Path(__file__).parents[1]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("e6tag"))
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option(help="Show the traceback of an expected failure.")
    ] = False,
) -> None:
    """Reads the options that all commands share."""
    del version  # its callback did the work
    context.obj = debug
