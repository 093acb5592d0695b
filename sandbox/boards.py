"""The boards there are, by name."""

from sandbox.records import Board

NAMES = ("sandbox", "openclipart")


def open_board(
    name: str, *, posts: int | None = None, seed: int | None = None, day: int = 1
) -> Board:
    """Opens a board; None stands for its default.

    `openclipart` is what its packages hold, whatever the rest says.
    """
    if name == "sandbox":
        from sandbox.board.drawn import SandboxBoard

        given = {"posts": posts, "seed": seed}
        chosen = {key: value for key, value in given.items() if value is not None}
        return SandboxBoard(**chosen, day=day)
    if name == "openclipart":
        from sandbox.openclipart.board import OpenclipartBoard

        return OpenclipartBoard()
    raise ValueError(f"there is no board {name!r}; choose one of {', '.join(NAMES)}")
