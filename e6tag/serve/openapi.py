"""The description of the API in OpenAPI 3.1: what clients are made from and tested by.

Codes, bounds and content types are those of the modules that check them.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from e6tag import bundle
from e6tag.selection import ImplicationMode
from e6tag.serve import metrics, parameters, refusals, uploads
from e6tag.serve.limits import MEBIBYTE, Limits
from e6tag.serve.refusals import Code

Json = dict[str, Any]

SCORE = {"type": "number", "minimum": 0, "maximum": 1}
COUNT = {"type": "integer", "minimum": 0}
TEXT = {"type": "string"}
TAG_NAME = {"type": "string", "minLength": 1, "maxLength": parameters.MAX_TAG}
YES_OR_NO = {"type": "boolean"}

ANY_REQUEST = (
    Code.BAD_REQUEST,
    Code.BAD_PARAMETER,
    Code.FOREIGN_ORIGIN,
    Code.FOREIGN_HOST,
    Code.INTERNAL_ERROR,
)
"""Refusals of every path."""

ANY_UPLOAD = (
    *ANY_REQUEST,
    Code.NO_IMAGE,
    Code.NOT_AN_IMAGE,
    Code.DAMAGED_IMAGE,
    Code.TOO_MANY_BYTES,
    Code.TOO_MANY_PIXELS,
    Code.TOO_MANY_IMAGES,
    Code.TOO_MUCH_MEMORY,
    Code.DECODING_TOOK_TOO_LONG,
    Code.DECODER_CRASHED,
    Code.UPLOAD_TOOK_TOO_LONG,
    Code.UNSUPPORTED_MEDIA_TYPE,
    Code.BUSY,
)
"""Refusals of every path that takes images."""


def describe(limits: Limits, *, example: str, has_index: bool) -> Json:
    """Returns the description.

    example: a tag. has_index: whether the paths of an index are there.
    """
    paths = {
        "/healthz": {"get": _health()},
        "/metrics": {"get": _metrics()},
        "/openapi.json": {"get": _openapi()},
        "/v1/model": {"get": _model()},
        "/v1/tag": {"post": _tag(limits)},
        "/v1/heatmap": {"post": _heatmap(limits, example)},
        "/v1/heatmap.png": {"post": _heatmap_png(limits, example)},
    }
    if has_index:
        paths["/v1/similar"] = {"post": _similar(limits)}
        paths["/v1/thumbnails/{number}"] = {"get": _thumbnail()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "e6tag",
            "summary": "Tags for images.",
            "version": version("e6tag"),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {"schemas": _schemas()},
    }


def _health() -> Json:
    answer = _object({"status": {"const": "ok"}})
    return _operation(
        "getHealth", "Whether the server answers.", ANY_REQUEST, _json(answer)
    )


def _metrics() -> Json:
    # What is sent has the version of the format as a parameter of its own.
    content = {metrics.MEDIA_TYPE.partition(";")[0]: {"schema": TEXT}}
    return _operation(
        "getMetrics", "Counters in the format of Prometheus.", ANY_REQUEST, content
    )


def _openapi() -> Json:
    answer = {"type": "object"}
    return _operation("getDescription", "This document.", ANY_REQUEST, _json(answer))


def _model() -> Json:
    return _operation(
        "getModel",
        "The bundle: its tags, their thresholds, and the limits of the server.",
        ANY_REQUEST,
        _json(_reference("Model")),
    )


def _tag(limits: Limits) -> Json:
    answer = _object({"images": _images("TaggedImage")})
    operation = _operation(
        "tagImages",
        "The tags of images, highest score first. Of several images, one that cannot "
        "be read has an error in place of tags; where none can, the request fails.",
        ANY_UPLOAD,
        _json(answer),
    )
    number = {"type": "integer", "minimum": 1, "maximum": parameters.MAX_TOP}
    operation["parameters"] = [
        _parameter("threshold", SCORE, "One threshold in place of each tag's own."),
        _parameter("top", number, "At most so many tags."),
        _repeated("include", _pattern(), "Only tags that match one of these patterns."),
        _repeated("exclude", _pattern(), "No tags that match one of these patterns."),
        _categories(),
        _parameter(
            "implications",
            {"enum": [mode.value for mode in ImplicationMode], "default": "off"},
            "Whether tags that others imply are added, dropped, or cap those others.",
        ),
    ]
    operation["requestBody"] = _body(limits, limits.max_images)
    return operation


def _pattern() -> Json:
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": parameters.MAX_PATTERN,
        "pattern": f"^{parameters.PATTERN.pattern}$",
    }


def _categories() -> Json:
    names = {"enum": list(parameters.CATEGORIES)}
    parameter = _repeated("category", names, "Only tags of these categories.")
    parameter["schema"]["maxItems"] = len(parameters.CATEGORIES)
    return parameter


def _heatmap(limits: Limits, example: str) -> Json:
    operation = _operation(
        "makeHeatmaps",
        "Where in an image its tags are: grids over the square that the network sees.",
        (*ANY_UPLOAD, Code.UNKNOWN_TAG),
        _json(_reference("Heatmaps")),
    )
    names = _repeated("tag", TAG_NAME, "Names of tags.")
    names.update(required=True, example=[example])
    names["schema"].update(minItems=1, maxItems=parameters.MAX_HEATMAPS)
    operation["parameters"] = [names]
    operation["requestBody"] = _body(limits, 1)
    return operation


def _heatmap_png(limits: Limits, example: str) -> Json:
    operation = _operation(
        "drawHeatmap",
        "Where in an image a tag is: the square that the network sees, as a PNG, with "
        "the heat map over it.",
        (*ANY_UPLOAD, Code.UNKNOWN_TAG),
        {"image/png": {}},
    )
    name = _parameter("tag", TAG_NAME, "Name of a tag.")
    name.update(required=True, example=example)
    operation["parameters"] = [name]
    operation["requestBody"] = _body(limits, 1)
    return operation


def _similar(limits: Limits) -> Json:
    answer = _object({"images": _images("SimilarImages")})
    operation = _operation(
        "findSimilar",
        "The images of the index that are most similar.",
        ANY_UPLOAD,
        _json(answer),
    )
    number = {
        "type": "integer",
        "minimum": 1,
        "maximum": parameters.MAX_NEIGHBOURS,
        "default": parameters.NEIGHBOURS,
    }
    operation["parameters"] = [_parameter("count", number, "At most so many.")]
    operation["requestBody"] = _body(limits, limits.max_images)
    return operation


def _thumbnail() -> Json:
    operation = _operation(
        "getThumbnail",
        "A small JPEG of an image of the index.",
        (*ANY_REQUEST, Code.NOT_FOUND, Code.BUSY),
        {"image/jpeg": {}},
    )
    number = _parameter("number", COUNT, "Of the image, as in a neighbour's thumbnail.")
    number.update({"in": "path", "required": True})
    operation["parameters"] = [number]
    return operation


def _schemas() -> Json:
    refused = {"name": _nullable(TEXT), "error": _reference("Error")}
    error = {"code": {"enum": [code.value for code in Code]}, "message": TEXT}
    return {
        "Error": _object(error),
        "Heatmaps": _heatmaps_schema(),
        "Model": _model_schema(),
        "RefusedImage": _object(refused),
        "SimilarImages": _similar_schema(),
        "TaggedImage": _tagged_schema(),
    }


def _tagged_schema() -> Json:
    interval = {"type": "array", "items": SCORE, "minItems": 2, "maxItems": 2}
    tag = {
        "name": TEXT,
        "category": {"enum": [*parameters.CATEGORIES, None]},
        "score": SCORE,
        "threshold": _nullable(SCORE),
        "uncertainty": _nullable({"type": "number", "minimum": 0}),
        "interval": _nullable(interval),
        "is_implied": YES_OR_NO,
    }
    ratings = {
        "type": "object",
        "propertyNames": {"enum": list(bundle.RATINGS)},
        "additionalProperties": SCORE,
    }
    return _object(
        {
            "name": _nullable(TEXT),
            "is_first_frame": YES_OR_NO,
            "rating": {"enum": [*bundle.RATINGS, None]},
            "ratings": ratings,
            "tags": _list(_object(tag)),
        }
    )


def _similar_schema() -> Json:
    neighbour = {
        "path": TEXT,
        "similarity": {"type": "number", "minimum": -1, "maximum": 1},
        "width": COUNT,
        "height": COUNT,
        "thumbnail": TEXT,
    }
    return _object(
        {
            "name": _nullable(TEXT),
            "is_first_frame": YES_OR_NO,
            "neighbours": _list(_object(neighbour)),
        }
    )


def _heatmaps_schema() -> Json:
    values = _list(_list({"type": "number"}))
    return _object(
        {
            "height": COUNT,
            "width": COUNT,
            "heatmaps": _list(_object({"name": TEXT, "values": values})),
        }
    )


def _model_schema() -> Json:
    tag = {
        "name": TEXT,
        "category": {"enum": list(parameters.CATEGORIES)},
        "threshold": SCORE,
        "count": COUNT,
    }
    limits = {"bytes": COUNT, "pixels": COUNT, "images": COUNT}
    return _object(
        {
            "version": TEXT,
            "bundle_version": {"const": bundle.VERSION},
            "fit": {"enum": list(bundle.FITS)},
            "ratings": _list({"enum": list(bundle.RATINGS)}),
            "has_uncertainty": YES_OR_NO,
            "has_index": YES_OR_NO,
            "limits": _object(limits),
            "tags": _list(_object(tag)),
        }
    )


def _operation(name: str, text: str, codes: Sequence[Code], content: Json) -> Json:
    responses: Json = {"200": {"description": "The answer.", "content": content}}
    for status in sorted({refusals.STATUSES[code] for code in codes}):
        own = [code for code in codes if refusals.STATUSES[code] == status]
        responses[str(status)] = _refused(status, own)
    return {"operationId": name, "description": text, "responses": responses}


def _refused(status: int, codes: Sequence[Code]) -> Json:
    error = _object({"code": {"enum": [code.value for code in codes]}, "message": TEXT})
    response: Json = {
        "description": " or ".join(codes),
        "content": _json(_object({"error": error})),
    }
    if status == refusals.STATUSES[Code.BUSY]:
        seconds = {"schema": COUNT, "required": True}
        response["headers"] = {"Retry-After": seconds}
    return response


def _body(limits: Limits, most: int) -> Json:
    """Returns the body of a request of at most so many images."""
    file = {"type": "string", "format": "binary"}
    field = {"type": "array", "items": file, "minItems": 1, "maxItems": most}
    form = _object({uploads.FIELD: field})
    content: Json = {uploads.MULTIPART: {"schema": form}}
    for media_type in uploads.RAW:
        content[media_type] = {}
    text = (
        f"Images of at most {limits.max_bytes / MEBIBYTE:g} MiB each and "
        f"{limits.buffered_bytes / MEBIBYTE:g} MiB together, without Content-Encoding."
    )
    return {"description": text, "required": True, "content": content}


def _images(name: str) -> Json:
    """Returns a list of answers, or errors in their place."""
    either = {"oneOf": [_reference(name), _reference("RefusedImage")]}
    return {**_list(either), "minItems": 1}


def _parameter(name: str, schema: Json, text: str) -> Json:
    return {"name": name, "in": "query", "description": text, "schema": dict(schema)}


def _repeated(name: str, schema: Json, text: str) -> Json:
    parameter = _parameter(name, _list(schema), text)
    parameter["schema"]["maxItems"] = parameters.MAX_PATTERNS
    return parameter


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _object(properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
