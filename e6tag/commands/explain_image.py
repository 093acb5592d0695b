"""`e6tag explain-image`: where in an image the network sees a tag."""

import os
import re
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from e6tag.commands.options import (
    AllowUrls,
    BundleOption,
    Device,
    DeviceOption,
    find_bundle,
)
from e6tag.errors import E6tagError
from e6tag.files import is_stream, write_whole
from e6tag.inputs import STANDARD_INPUT, Finder, Input
from e6tag.outputs import BadOutput
from e6tag.records import printable
from e6tag.streams import print_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from e6tag.bundle import Tag
    from e6tag.stills import Prepared
    from e6tag.tagger import Tagger

ImagePath = Annotated[
    str,
    typer.Argument(
        help="An image, or - for its bytes on standard input.", metavar="PATH"
    ),
]
TagOption = Annotated[
    str, typer.Option("--tag", help="The tag, with underscores or spaces.")
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="The PNG to write; - for standard output. [default: ./NAME.TAG.png]",
        metavar="FILE",
        show_default=False,
    ),
]


class NotOneImage(E6tagError):
    """What was named is no image that can be read."""


def explain_image(
    path: ImagePath,
    *,
    tag: TagOption,
    output: OutputOption = None,
    bundle: BundleOption = None,
    device: DeviceOption = Device.CPU,
    allow_urls: AllowUrls = False,
) -> None:
    """Draw a heat map over an image: where the network sees a tag."""
    from e6tag import heatmaps
    from e6tag.devices import open_tagger
    from e6tag.tag_lookup import find_tag

    source = _find(path, Finder(allows_urls=allow_urls))
    if output is not None:
        _check_output(output, source)
    tagger = open_tagger(find_bundle(bundle), gpu=device is Device.GPU)
    wanted = find_tag(tagger.bundle, tag)
    model = heatmaps.HeatmapModel(tagger)
    decoded = _decode(source, tagger)
    image, pixels = decoded.result
    outputs = tagger.run(pixels[None])
    grid = model.grid(outputs.features, wanted)
    drawn = heatmaps.overlay(image, grid, tagger.bundle.fit)
    target = output or _default_output(source, wanted)
    _write(target, heatmaps.to_png(drawn))
    score = float(outputs.scores[0, tagger.bundle.tags.index(wanted)])
    for line in _lines(wanted, score, target, decoded.note, is_lit=grid.max() > 0):
        print(line, file=sys.stderr)


def _lines(
    tag: "Tag", score: float, target: str, note: str | None, *, is_lit: bool
) -> Iterator[str]:
    verdict = "applies" if score >= tag.threshold else "does not apply"
    yield (
        f"{tag.name}: {verdict}, score {score:.3f}, threshold {tag.threshold:.3f}; "
        f"heat map: {printable(target)}"
    )
    if note is not None:
        yield f"note: {note}"
    if not is_lit:
        yield "note: no position speaks for the tag, so nothing is lit"


def _find(path: str, finder: Finder) -> Input:
    """Returns the one input that is meant; raises NotOneImage."""
    found = list(islice(finder.find([path]), 2))
    if len(found) != 1:
        raise NotOneImage(f"{printable(path)} is not one image: name the file of one")
    return found[0]


def _check_output(output: str, source: Input) -> None:
    """Raises BadOutput where the output would replace an image that is no PNG."""
    path = Path(os.path.realpath(output))
    if is_stream(output) or not path.is_file():
        return
    if source.path is not None and source.path.samefile(path):
        raise BadOutput(f"the output {output} is the image itself. Name another file.")
    if path.suffix.lower() != ".png":
        raise BadOutput(
            f"the output {output} is there and is no .png, which is what would be "
            "written. Name another file, or remove it."
        )


def _decode(
    source: Input, tagger: "Tagger"
) -> "Prepared[tuple[Image.Image, NDArray[np.uint8]]]":
    """Returns an image, and what the network takes of it; raises NotOneImage."""
    from e6tag import images, inputs

    try:
        return inputs.decode(
            source, lambda body: (images.decode(body), tagger.prepare(body))
        )
    except inputs.Unreadable as error:
        raise NotOneImage(f"{printable(source.name)}: {error}") from error


def _default_output(source: Input, tag: "Tag") -> str:
    stem = "image"
    if source.name != STANDARD_INPUT:
        stem = Path(source.name).stem
    # Names of tags hold what names of files cannot, such as slashes.
    name = re.sub(r"[^\w()-]+", "-", tag.name)
    return f"{stem}.{name}.png"


def _write(target: str, png: bytes) -> None:
    if target == STANDARD_INPUT:
        print_bytes(png)
    else:
        write_whole(Path(target), png)
