"""The JSON API: its handlers. `openapi.py` describes them."""

import asyncio
from importlib.metadata import version
from typing import Any

from aiohttp import web

from e6tag import bundle
from e6tag.serve import answers, heatmap_answers, openapi, parameters
from e6tag.serve.guards import METRICS
from e6tag.serve.metrics import MEDIA_TYPE
from e6tag.serve.neighbours import THUMBNAIL_PIXELS, Neighbours
from e6tag.serve.queries import Query
from e6tag.serve.refusals import Code, Refusal
from e6tag.serve.service import Service
from e6tag.serve.uploads import Upload, Uploads
from e6tag.tagger import Floats, Pixels

SERVICE = web.AppKey("service", Service)
NEIGHBOURS = web.AppKey("neighbours", Neighbours)
"""Only of a server that was started with an index."""

routes = web.RouteTableDef()


@routes.get("/healthz")
async def health(request: web.Request) -> web.Response:
    """Answers as long as the server does."""
    Query(request).end()
    return web.json_response({"status": "ok"})


@routes.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    """Returns what the server counts."""
    Query(request).end()
    text = request.app[METRICS].text()
    return web.Response(body=text, headers={"Content-Type": MEDIA_TYPE})


@routes.get("/openapi.json")
async def description(request: web.Request) -> web.Response:
    """Describes the API."""
    Query(request).end()
    service = request.app[SERVICE]
    return web.json_response(
        openapi.describe(
            service.limits,
            example=service.tagger.bundle.tags[0].name,
            has_index=NEIGHBOURS in request.app,
        )
    )


@routes.get("/v1/model")
async def model(request: web.Request) -> web.Response:
    """Describes the bundle and the limits."""
    Query(request).end()
    service = request.app[SERVICE]
    opened = service.tagger.bundle
    limits = service.limits
    return web.json_response(
        {
            "version": version("e6tag"),
            "bundle_version": bundle.VERSION,
            "fit": opened.fit,
            "ratings": list(opened.ratings),
            "has_uncertainty": service.tagger.has_uncertainty,
            "has_index": NEIGHBOURS in request.app,
            "limits": {
                "bytes": limits.max_bytes,
                "pixels": limits.max_pixels,
                "images": limits.max_images,
            },
            "tags": [_describe_tag(tag) for tag in opened.tags],
        }
    )


def _describe_tag(tag: bundle.Tag) -> dict[str, Any]:
    return {
        "name": tag.name,
        "category": bundle.CATEGORIES.get(tag.category),
        "threshold": tag.threshold,
        "count": tag.count,
    }


@routes.post("/v1/tag")
async def tag(request: web.Request) -> web.Response:
    """Returns the tags of each image of a request."""
    service = request.app[SERVICE]
    selector = service.selector(parameters.read_selection(Query(request)))

    async def answer(upload: Upload) -> dict[str, Any]:
        inferred = await service.infer(upload.body)
        outputs = inferred.outputs
        uncertainty = outputs.uncertainty
        selected = selector.select(
            outputs.scores[0],
            outputs.ratings[0],
            None if uncertainty is None else uncertainty[0],
        )
        return answers.describe(selected, is_first_frame=inferred.is_first_frame)

    with service.admitted():
        async with Uploads(request, service.limits, service.buffer) as uploads:
            images = await answers.of_each(await uploads.read(), answer)
    return web.json_response({"images": images})


@routes.post("/v1/heatmap")
async def heatmap(request: web.Request) -> web.Response:
    """Returns where in an image its tags are, as numbers."""
    tags, grids, _ = await _heatmaps(request, most=parameters.MAX_HEATMAPS)
    return web.json_response(heatmap_answers.describe(grids, tags))


@routes.post("/v1/heatmap.png")
async def heatmap_png(request: web.Request) -> web.Response:
    """Returns where in an image a tag is, as a PNG."""
    tags, grids, pixels = await _heatmaps(request, most=1)
    png = await asyncio.to_thread(heatmap_answers.draw, grids, tags[0], pixels)
    return web.Response(body=png, content_type="image/png")


async def _heatmaps(
    request: web.Request, *, most: int
) -> tuple[list[bundle.Tag], Floats, Pixels]:
    """Returns the tags that are asked for, all heat maps, and the fitted image."""
    service = request.app[SERVICE]
    names = parameters.read_tags(Query(request), most=most)
    tags = heatmap_answers.find_tags(service.tagger.bundle, names)
    with service.admitted():
        async with Uploads(request, service.limits, service.buffer) as uploads:
            upload = await uploads.read_one()
            inferred = await service.infer(upload.body)
            grids = await service.heatmaps(inferred.outputs)
    return tags, grids, inferred.pixels


@routes.post("/v1/similar")
async def similar(request: web.Request) -> web.Response:
    """Returns the images of the index that are most similar to those of a request."""
    service = request.app[SERVICE]
    neighbours = _neighbours(request)
    count = parameters.read_count(Query(request))

    async def answer(upload: Upload) -> dict[str, Any]:
        inferred = await service.infer(upload.body)
        found = await neighbours.find(inferred.outputs.embeddings[0], count)
        return {"is_first_frame": inferred.is_first_frame, "neighbours": found}

    with service.admitted():
        async with Uploads(request, service.limits, service.buffer) as uploads:
            images = await answers.of_each(await uploads.read(), answer)
    return web.json_response({"images": images})


@routes.get("/v1/thumbnails/{number:[0-9]{1,9}}")
async def thumbnail(request: web.Request) -> web.Response:
    """Returns an image of the index as a small JPEG."""
    service = request.app[SERVICE]
    neighbours = _neighbours(request)
    Query(request).end()
    number = int(request.match_info["number"])
    with service.admitted():
        body = await neighbours.read(number, service.limits.max_bytes)
        if body is None:
            raise Refusal(Code.NOT_FOUND, "The image is not there any more.")
        try:
            small = await service.thumbnail(body, THUMBNAIL_PIXELS)
        except Refusal as refusal:
            raise Refusal(Code.NOT_FOUND, refusal.message) from refusal
    return web.Response(body=small, content_type="image/jpeg")


def _neighbours(request: web.Request) -> Neighbours:
    if NEIGHBOURS not in request.app:
        raise Refusal(Code.NO_INDEX, "The server was started without --index.")
    return request.app[NEIGHBOURS]
