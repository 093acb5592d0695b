"""`e6tag similar`: the nearest images of an image, and pairs that are alike."""

import os
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from e6tag.commands.options import (
    AllowUrls,
    BundleOption,
    Device,
    DeviceOption,
    find_bundle,
)
from e6tag.inputs import Finder, NoImages
from e6tag.records import DIGITS, counted, encode_json, printable
from e6tag.streams import print_bytes, print_lines

if TYPE_CHECKING:
    from e6tag.index import Neighbour, Pair, SimilarImages
    from e6tag.tagger import Tagger

_INTERVAL = 10.0  # seconds between lines of progress


class Format(StrEnum):
    """The formats of answers."""

    TEXT = "text"
    JSONL = "jsonl"


def similar(
    context: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Images whose neighbours are wanted, folders of such, or - for the "
            "bytes of one image on standard input. With --duplicates: folders to which "
            "the pairs are limited.",
            metavar="PATH...",
            show_default=False,
        ),
    ] = None,
    *,
    embeddings: Annotated[
        Path,
        typer.Option(
            "--embeddings",
            "-e",
            help="The file that e6tag embed wrote. Its index is beside it.",
            metavar="FILE.parquet",
        ),
    ],
    bundle: BundleOption = None,
    device: DeviceOption = Device.CPU,
    allow_urls: AllowUrls = False,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="Neighbours of an image.")
    ] = 10,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Compare with every image, without an index."),
    ] = False,
    duplicates: Annotated[
        bool,
        typer.Option("--duplicates", help="Find pairs of images that are alike."),
    ] = False,
    min_similarity: Annotated[
        float | None,
        typer.Option(
            min=-1,
            max=1,
            help="Leave out what is less similar. [default: 0.95 with --duplicates]",
            show_default=False,
        ),
    ] = None,
    answer_format: Annotated[
        Format, typer.Option("--format", help="Of the answers.")
    ] = Format.TEXT,
) -> None:
    """Find the images of a file of embeddings that are most like an image."""
    _check_usage(context, paths or [], duplicates=duplicates)
    from e6tag.embeddings.file import EmbeddingsFile
    from e6tag.index import MIN_SIMILARITY, SimilarImages

    file = EmbeddingsFile(embeddings)
    if duplicates:
        images = SimilarImages(file)
        least = MIN_SIMILARITY if min_similarity is None else min_similarity
        _print_pairs(
            images, paths or [], least, exact=exact, answer_format=answer_format
        )
        return
    from e6tag import bundle as bundles
    from e6tag.devices import open_tagger
    from e6tag.embeddings import model_identity

    folder = find_bundle(bundle)
    # Before the network is loaded: an error comes at once.
    file.require_model(model_identity(bundles.read(folder)))
    images = SimilarImages(file)
    if not exact:
        images.open_index(_progress("index", "images"))
    tagger = open_tagger(folder, gpu=device is Device.GPU)
    least = -1.0 if min_similarity is None else min_similarity
    answers = _Answers(images, count, least, exact, answer_format)
    finder = Finder(allows_urls=allow_urls)
    failures = answers.print_all(tagger, finder, paths or [])
    for name, reason in failures:
        print(f"error: {printable(name)}: {reason}", file=sys.stderr)
    if failures:
        raise typer.Exit(1)


def _check_usage(context: typer.Context, paths: list[str], *, duplicates: bool) -> None:
    """Raises BadParameter where nothing is asked, or options would be ignored."""
    if not duplicates:
        if not paths:
            raise typer.BadParameter("name at least one PATH, or give --duplicates")
        return
    for name in ("bundle", "device", "allow_urls", "count"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise typer.BadParameter(
                f"{option} says nothing of pairs: leave it out, or --duplicates"
            )


class _Answers:
    """What is printed of queries."""

    def __init__(
        self,
        images: "SimilarImages",
        count: int,
        min_similarity: float,
        exact: bool,
        answer_format: Format,
    ) -> None:
        self._images = images
        self._count = count
        self._min_similarity = min_similarity
        self._exact = exact
        self._format = answer_format

    def print_all(
        self, tagger: "Tagger", finder: Finder, arguments: list[str]
    ) -> list[tuple[str, str]]:
        """Prints the neighbours of each image; returns what cannot be read, and why.

        Raises NoImages.
        """
        from e6tag.inference import infer

        failures = []
        is_empty = True
        for inferred in infer(tagger, finder.find(arguments)):
            is_empty = False
            source = inferred.source
            if inferred.outputs is None:
                failures.append((source.name, inferred.failure or ""))
                continue
            found = self._images.nearest(
                inferred.outputs.embeddings[0],
                self._count,
                exact=self._exact,
                without=source.place,
            )
            near = [one for one in found if one.similarity >= self._min_similarity]
            self._print(source.name, near)
        if is_empty:
            raise NoImages(", ".join(arguments))
        return failures

    def _print(self, name: str, neighbours: "list[Neighbour]") -> None:
        if self._format is Format.JSONL:
            similar = [_neighbour_json(one) for one in neighbours]
            print_bytes(encode_json({"path": name, "similar": similar}))
            return
        near = [
            f"{one.similarity:.{DIGITS}f}  {printable(one.path)}" for one in neighbours
        ]
        print_lines(printable(name), *(f"  {line}" for line in near))


def _neighbour_json(one: "Neighbour") -> dict[str, Any]:
    return {
        "path": one.path,
        "similarity": round(one.similarity, DIGITS),
        "width": one.width,
        "height": one.height,
    }


def _print_pairs(
    images: "SimilarImages",
    folders: list[str],
    min_similarity: float,
    *,
    exact: bool,
    answer_format: Format,
) -> None:
    """Prints the pairs that are alike, and how many there are."""
    from e6tag.embeddings import EmbeddingsError
    from e6tag.embeddings.update import is_below
    from e6tag.index import SMALL

    if not exact and len(images) > SMALL:
        images.open_index(_progress("index", "images"))
    places = [os.path.abspath(folder) for folder in folders]  # noqa: PTH100
    for folder, place in zip(folders, places, strict=True):
        if not any(is_below(path, place) for path in images.paths):
            raise EmbeddingsError(f"{images.file.path} has no images in {folder}")

    def is_wanted(path: str) -> bool:
        return any(is_below(path, place) for place in places)

    pairs = images.pairs(
        min_similarity,
        exact=exact,
        is_wanted=is_wanted if places else None,
        progress=_progress("duplicates", "images"),
    )
    for pair in pairs:
        _print_pair(pair, answer_format)
    print(
        f"{counted(len(pairs), 'pair')} of a similarity of {min_similarity} or more",
        file=sys.stderr,
    )


def _print_pair(pair: "Pair", answer_format: Format) -> None:
    if answer_format is Format.JSONL:
        similarity = round(pair.similarity, DIGITS)
        content = {"paths": [pair.first, pair.second], "similarity": similarity}
        print_bytes(encode_json(content))
        return
    paths = "\t".join(printable(path) for path in (pair.first, pair.second))
    print_lines(f"{pair.similarity:.{DIGITS}f}\t{paths}")


def _progress(label: str, unit: str) -> Callable[[int, int], None]:
    """Returns what prints a line every ten seconds: how many of how many are done."""
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last < _INTERVAL:
            return
        last = time.monotonic()
        print(f"{label}: {done:,} of {total:,} {unit}", file=sys.stderr)

    return show
