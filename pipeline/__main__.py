"""`python -m pipeline STAGE`, as dvc.yaml runs the stages.

The `python` of dvc.yaml is the first on PATH. Where that is not the project's, as in
cron, which activates no virtual environment, the one of .venv takes over.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

_PYTHON = Path(".venv", "bin", "python")
"""Where `make install` puts the project's Python."""


def _run() -> None:
    try:
        from e6tag.cli import main
    except ModuleNotFoundError as error:
        _start_again(error)
    main("python -m pipeline")


def _start_again(error: ModuleNotFoundError) -> NoReturn:
    """Replaces this process by the project's Python; exits where there is none."""
    python = _PYTHON.absolute()
    is_it = Path(sys.executable) == python
    if is_it or not python.exists():
        sys.exit(
            f"error: {sys.executable} lacks {error.name}: it is not the Python of this "
            "project. Put the folder of that one first on PATH, as "
            'PATH="$PWD/.venv/bin:$PATH" dvc repro.'
        )
    print(
        f"{sys.executable} lacks {error.name}: the stage runs with {_PYTHON}",
        file=sys.stderr,
        flush=True,
    )
    os.execv(python, [str(python), "-m", "pipeline", *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    _run()
