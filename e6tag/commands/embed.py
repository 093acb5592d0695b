"""`e6tag embed`: the embeddings of images, in a Parquet file."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from e6tag import progress
from e6tag.commands.options import (
    BundleOption,
    Device,
    DeviceOption,
    Recursive,
    find_bundle,
)
from e6tag.commands.summary import closing_lines
from e6tag.inputs import Finder, Input, NoImages
from e6tag.records import counted

if TYPE_CHECKING:
    from e6tag.embed import Summary


URL_PROBLEM = "a URL: embeddings are kept by the paths of files"


def embed(
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Images, folders, or patterns such as '*.jpg'.", metavar="PATH..."
        ),
    ],
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The file. If it is there, only new and changed images are computed.",
            metavar="FILE.parquet",
        ),
    ],
    bundle: BundleOption = None,
    device: DeviceOption = Device.CPU,
    recursive: Recursive = True,
) -> None:
    """Compute embeddings of images, which `e6tag similar` searches."""
    finder = Finder(is_recursive=recursive, url_problem=URL_PROBLEM)
    sources = list(finder.find(paths))
    if not sources:
        raise NoImages(", ".join(paths))
    from e6tag.devices import open_tagger
    from e6tag.embed import Embedder
    from e6tag.embeddings import embedding_size, model_identity
    from e6tag.embeddings.update import Update

    tagger = open_tagger(find_bundle(bundle), gpu=device is Device.GPU)
    model = model_identity(tagger.bundle)
    with Update(output, model=model, dimension=embedding_size(tagger)) as update:
        embedder = Embedder(tagger, update)
        is_shown = progress.is_wanted(prints_answers=False)
        try:
            with progress.bar("embed", sources.__len__, is_shown=is_shown) as count_one:
                summary = embedder.run(sources, count_one)
        except KeyboardInterrupt:  # after hours there are failures to tell of too
            for line in _failure_lines(embedder.summary):
                print(line, file=sys.stderr)
            raise
        rows = update.publish(_searched(paths, sources))
    for line in _lines(summary, output, rows):
        print(line, file=sys.stderr)
    if summary.failures:
        raise typer.Exit(1)


def _searched(arguments: list[str], sources: list[Input]) -> list[Path]:
    """Returns the arguments that still hold images.

    A folder where there are none may be a disk that is not mounted: what is known of
    the images in it is kept.
    """
    found = set()
    for source in sources:
        if source.path is not None:
            found.add(source.place)
            found.update(map(str, Path(source.place).parents))
    searched = []
    for argument in arguments:
        place = os.path.abspath(argument)  # noqa: PTH100
        if place in found:
            searched.append(Path(place))
    return searched


def _lines(summary: "Summary", output: Path, rows: int) -> Iterator[str]:
    """Yields what is printed at the end."""
    yield (
        f"{output}: {counted(rows, 'image')}; {summary.computed:,} computed, "
        f"{summary.current:,} were there"
    )
    yield from _failure_lines(summary)


def _failure_lines(summary: "Summary") -> Iterator[str]:
    failed = f"{len(summary.failures):,} cannot be embedded"
    yield from closing_lines(summary.notes, summary.failures, failed)
