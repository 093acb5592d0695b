"""`python -m sandbox`: serve a board, draw its contact sheet, rebuild its catalogue."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sandbox.boards import NAMES, open_board
from sandbox.records import Board

if TYPE_CHECKING:
    from sandbox.server.service import Fault

app = typer.Typer(
    add_completion=False, no_args_is_help=False, pretty_exceptions_enable=False
)

BoardName = Annotated[str, typer.Option("--board", help=f"One of: {', '.join(NAMES)}.")]
Posts = Annotated[int | None, typer.Option(help="Number of posts of the drawn board.")]
Seed = Annotated[int | None, typer.Option(help="What the drawn board is drawn from.")]
Day = Annotated[
    int, typer.Option(min=1, max=2, help="2 is the same board a day later.")
]
Faults = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="NAME[:ARG,...]",
        help="A fault, such as down:/data/,retry_after=5,times=3; may be repeated. "
        "The word help lists all.",
    ),
]


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    board: BoardName = "sandbox",
    port: Annotated[
        int, typer.Option(help="Of the site; 0 takes any free one.")
    ] = 8621,
    static_port: Annotated[
        int, typer.Option(help="Of the static host; 0 takes any free one.")
    ] = 0,
    posts: Posts = None,
    seed: Seed = None,
    day: Day = 1,
    log: Annotated[
        Path | None,
        typer.Option(help="File to append the requests to, one JSON object a line."),
    ] = None,
    fault: Faults = None,
) -> None:
    """Serves a board on 127.0.0.1 until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    from sandbox.faults import parse

    if "help" in (fault or ()):
        typer.echo(parse.described())
        return
    with _one_line():
        today = open_board(board, posts=posts, seed=seed, day=day)
        tomorrow = partial(open_board, board, posts=posts, seed=seed, day=2)
        opened, spoiling = parse.spoil(today, tomorrow, fault or [])
        asyncio.run(_serve(opened, spoiling, port, static_port, log))


@app.command()
def catalogue() -> None:
    """Draws every picture of the default board and writes down their md5s and sizes.

    Takes minutes.
    """
    from sandbox.board.catalogue import rebuild

    rebuild()


@app.command()
def contact(
    file: Annotated[Path, typer.Argument(help="Picture to write, such as sheet.png.")],
    board: BoardName = "sandbox",
    number: Annotated[
        int, typer.Option("-n", min=1, help="How many posts to show.")
    ] = 64,
    posts: Posts = None,
    seed: Seed = None,
    day: Day = 1,
) -> None:
    """Writes a contact sheet: pictures of the board with their tags."""
    from sandbox.contact_sheet import contact_sheet

    with _one_line():
        opened = open_board(board, posts=posts, seed=seed, day=day)
        contact_sheet(opened, number, seed or 0).save(file)


@contextmanager
def _one_line() -> Iterator[None]:
    """Says in one line what is wrong and exits with status 1.

    Such as a port in use, an unknown board, packages that are missing.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        typer.echo(f"sandbox: {error}", err=True)
        raise typer.Exit(1) from error


async def _serve(
    board: Board, fault: "Fault | None", port: int, static_port: int, log: Path | None
) -> None:
    from sandbox.server.app import serve as serving

    async with serving(
        board, port=port, static_port=static_port, log=log, fault=fault
    ) as site:
        typer.echo(
            f"site    {site.base_url}\nstatic  {site.static_url}\nCtrl-C ends it."
        )
        await asyncio.Event().wait()


if __name__ == "__main__":
    app()
