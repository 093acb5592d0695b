"""The boards that are part of the project: served here, and what is true of them.

The one place of `pipeline` that imports `sandbox`.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from pipeline.errors import MissingPackage
from pipeline.params.site import Site

if TYPE_CHECKING:
    from sandbox.records import Board
    from sandbox.server.app import Site as ServedSite


def open_board(site: Site) -> "Board":
    """Opens the board that the parameters name, `sandbox` or `openclipart`.

    Raises MissingPackage where its images are not installed.
    """
    from sandbox import boards

    try:
        return boards.open_board(
            site.name, posts=site.sandbox_posts, day=site.sandbox_day
        )
    except RuntimeError as error:
        raise MissingPackage(str(error)) from error


def serve(board: "Board") -> "AbstractAsyncContextManager[ServedSite]":
    """Serves a board while the block runs."""
    from sandbox.server import app

    return app.serve(board)


def open_truth(site: Site) -> Callable[[int], frozenset[str] | None] | None:
    """Returns what gives all tags that are true of a post's image, by its id.

    None where nobody knows: only the drawn board does. For a post that the board does
    not have on this day, it returns None.
    """
    from sandbox.board.drawn import SandboxBoard

    if site.name != "sandbox":
        return None
    board = open_board(site)
    if not isinstance(board, SandboxBoard):
        return None

    def truth(post_id: int) -> frozenset[str] | None:
        try:
            return board.truth(post_id)
        except KeyError:
            return None

    return truth
