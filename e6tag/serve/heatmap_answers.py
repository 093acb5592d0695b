"""Heat maps of tags, as the API's JSON."""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from e6tag import heatmaps
from e6tag.bundle import Bundle, Tag
from e6tag.records import DIGITS
from e6tag.serve.refusals import Code, Refusal
from e6tag.tag_lookup import UnknownTag, find_tag
from e6tag.tagger import Floats, Pixels


def find_tags(of: Bundle, names: Sequence[str]) -> list[Tag]:
    """Returns the tags that are meant, see find_tag; raises Refusal."""
    by_name = {tag.name: tag for tag in of.tags}
    try:
        return [by_name.get(name) or find_tag(of, name) for name in names]
    except UnknownTag as error:
        message = str(error)
        raise Refusal(
            Code.UNKNOWN_TAG, f"{message[:1].upper()}{message[1:]}"
        ) from error


def describe(grids: Floats, tags: Sequence[Tag]) -> dict[str, Any]:
    """Returns the heat maps of tags. grids: float32 [h, w, rows]."""
    height, width, _ = grids.shape
    maps = []
    for tag in tags:
        values = grids[:, :, tag.row].astype(float).round(DIGITS)
        maps.append({"name": tag.name, "values": values.tolist()})
    return {"height": height, "width": width, "heatmaps": maps}


def draw(grids: Floats, tag: Tag, pixels: Pixels) -> bytes:
    """Returns the square that the network saw with the heat map over it, as a PNG.

    pixels: uint8 [size, size, 3], RGB.
    """
    square = Image.fromarray(pixels)
    # The grid covers all of it.
    overlay = heatmaps.overlay(square, grids[:, :, tag.row], fit="stretch")
    return heatmaps.to_png(overlay)
