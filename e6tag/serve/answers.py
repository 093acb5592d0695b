"""What the network says of images, as the API's JSON."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from e6tag.records import DIGITS, tag_json
from e6tag.selection import Answer, SelectedTag
from e6tag.serve.refusals import Refusal
from e6tag.serve.uploads import Upload
from e6tag.tag_names import Spelling


async def of_each(
    uploads: Sequence[Upload],
    answer: Callable[[Upload], Awaitable[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """Returns an answer for each image, in their order.

    An image that is refused has an `error` in place of an answer. Where all are, the
    first Refusal is raised.
    """
    waiting = [_of_one(upload, answer) for upload in uploads]
    results = await asyncio.gather(*waiting)
    refusals = [result for result in results if isinstance(result, Refusal)]
    if len(refusals) == len(results):
        raise refusals[0]
    images = []
    for upload, result in zip(uploads, results, strict=True):
        if isinstance(result, Refusal):
            images.append({"name": upload.name, "error": result.to_json()})
        else:
            images.append({"name": upload.name, **result})
    return images


async def _of_one(
    upload: Upload, answer: Callable[[Upload], Awaitable[dict[str, Any]]]
) -> dict[str, Any] | Refusal:
    try:
        return await answer(upload)
    except Refusal as refusal:
        return refusal


def describe(answer: Answer, *, is_first_frame: bool) -> dict[str, Any]:
    """Returns rating and tags of one image."""
    ratings = {}
    for name, probability in answer.ratings.items():
        ratings[name] = round(probability, DIGITS)
    return {
        "is_first_frame": is_first_frame,
        "rating": answer.rating,
        "ratings": ratings,
        "tags": [_describe_tag(tag) for tag in answer.tags],
    }


def _describe_tag(tag: SelectedTag) -> dict[str, Any]:
    interval = None
    if tag.uncertainty is not None:
        interval = _interval(tag.score, tag.uncertainty)
    return {**tag_json(tag, Spelling()), "interval": interval}


def _interval(score: float, uncertainty: float) -> list[float]:
    """Returns the scores one standard deviation of the logit below and above."""
    if not 0 < score < 1:
        return [score, score]
    logit = math.log(score / (1 - score))
    return [_sigmoid(logit - uncertainty), _sigmoid(logit + uncertainty)]


def _sigmoid(logit: float) -> float:
    # As tanh: exp overflows for what a network may say.
    return round(0.5 + 0.5 * math.tanh(logit / 2), DIGITS)
