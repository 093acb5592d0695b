"""Options that several commands share: the bundle, the device."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from e6tag.errors import E6tagError

VARIABLE = "E6TAG_BUNDLE"
"""The environment variable that names the folder of the bundle."""

PROJECT_BUNDLE = Path("data/bundle")
"""Where the project's pipeline writes its bundle, seen from the project's folder."""


class NoBundle(E6tagError):
    """No option, variable or folder says where the bundle is."""


class Device(StrEnum):
    """What the network runs on."""

    CPU = "cpu"
    GPU = "gpu"


BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        help=f"Folder of the bundle. [default: ${VARIABLE}, else ./{PROJECT_BUNDLE}]",
        metavar="FOLDER",
        show_default=False,
    ),
]

AllowUrls = Annotated[
    bool,
    typer.Option(
        "--allow-urls", help="Fetch paths that start with http:// or https://."
    ),
]

Recursive = Annotated[bool, typer.Option(help="Search folders in folders too.")]

DeviceOption = Annotated[
    Device,
    typer.Option("--device", help="What the network runs on; gpu fails if unusable."),
]


def find_bundle(option: Path | None) -> Path:
    """Returns the folder of the bundle; raises NoBundle where nothing names one."""
    if option is not None:
        return option
    variable = os.environ.get(VARIABLE)
    if variable:
        return Path(variable)
    if PROJECT_BUNDLE.is_dir():
        return PROJECT_BUNDLE
    raise NoBundle(
        f"no bundle: there is no folder ./{PROJECT_BUNDLE}. Name the folder of one "
        f"with --bundle or with the environment variable {VARIABLE}."
    )
