"""The JSON API: what it answers."""

import io

import pytest
from aiohttp import ClientSession, FormData
from PIL import Image

from tests.builders import toy_images
from tests.builders.toy_images import BLUE, GREEN, RED, TAG_OF, WHITE


def form(*files: bytes) -> FormData:
    """Returns a multi-part body."""
    data = FormData()
    for number, file in enumerate(files):
        data.add_field("image", file, filename=f"{number}.png")
    return data


def names(image: dict) -> list[str]:
    return [tag["name"] for tag in image["tags"]]


async def ask(client: ClientSession, path: str, data: object) -> dict:
    """Returns the JSON of a response that must be good."""
    async with client.post(path, data=data) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def refused(client: ClientSession, path: str, data: object) -> tuple[int, str]:
    """Returns status and code of a response that must be none."""
    async with client.post(path, data=data) as response:
        error = (await response.json())["error"]
        assert error["message"].endswith(".")
        return response.status, error["code"]


@pytest.mark.parametrize("colour", [RED, GREEN, BLUE, WHITE])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
async def test_raw_image_has_its_tag(
    client: ClientSession, colour: str, kind: str
) -> None:
    answer = await ask(client, "/v1/tag", toy_images.image(colour, kind))
    (image,) = answer["images"]
    assert TAG_OF[colour] in names(image)
    assert image["name"] is None
    assert image["rating"] is None  # the toy knows none
    assert not image["is_first_frame"]


async def test_tag_tells_score_threshold_and_uncertainty(client: ClientSession) -> None:
    answer = await ask(client, "/v1/tag", toy_images.image(BLUE))
    (tag,) = answer["images"][0]["tags"]
    low, high = tag.pop("interval")
    assert 0 < low < tag["score"] < high < 1
    assert tag.pop("score") > 0.9
    assert tag.pop("uncertainty") > 0.9
    assert tag == {
        "name": "blue_fox",
        "category": "species",
        "threshold": 0.5,
        "is_implied": False,
    }


async def test_images_of_a_form_are_answered_in_their_order(
    client: ClientSession,
) -> None:
    colours = [RED, BLUE, GREEN, BLUE, RED] * 4
    files = [toy_images.image(colour) for colour in colours]
    answer = await ask(client, "/v1/tag", form(*files))
    found = [names(image) for image in answer["images"]]
    assert found == [[TAG_OF[colour]] for colour in colours]
    assert [image["name"] for image in answer["images"]][:2] == ["0.png", "1.png"]


async def test_bad_image_among_others_costs_only_its_own_answer(
    client: ClientSession,
) -> None:
    files = (toy_images.image(RED), b"words", toy_images.image(BLUE))
    answer = await ask(client, "/v1/tag", form(*files))
    first, second, third = answer["images"]
    assert (names(first), names(third)) == (["red"], ["blue_fox"])
    assert second["error"]["code"] == "not_an_image"
    assert "tags" not in second


async def test_request_of_bad_images_alone_fails(client: ClientSession) -> None:
    bad = form(b"words", toy_images.image(RED)[:50])
    assert await refused(client, "/v1/tag", bad) == (422, "not_an_image")


async def test_animation_is_answered_by_its_first_frame(client: ClientSession) -> None:
    for kind in ("GIF", "PNG", "WEBP"):
        moving = toy_images.animation([RED, BLUE], kind)
        answer = await ask(client, "/v1/tag", moving)
        (image,) = answer["images"]
        assert names(image) == ["red"]
        assert image["is_first_frame"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("threshold=0.2", ["red", ":3"], id="one threshold"),
        pytest.param("threshold=0&top=1", ["red"], id="top"),
        pytest.param("threshold=0&category=species", ["blue_fox"], id="category"),
        pytest.param("threshold=0&include=*fox&include=:*", [":3", "blue_fox"],
                     id="patterns"),
        pytest.param("threshold=0.2&exclude=:3", ["red"], id="without"),
    ],
)  # fmt: skip
async def test_selection(
    client: ClientSession, query: str, expected: list[str]
) -> None:
    answer = await ask(client, f"/v1/tag?{query}", toy_images.image(RED))
    assert names(answer["images"][0]) == expected


async def test_implied_tags_can_be_added(client: ClientSession) -> None:
    answer = await ask(client, "/v1/tag?implications=add", toy_images.image(BLUE))
    tags = answer["images"][0]["tags"]
    assert [(tag["name"], tag["is_implied"]) for tag in tags] == [
        ("blue_fox", False),
        ("canine", True),
        ("fox", True),
    ]
    assert tags[1]["category"] is None


@pytest.mark.parametrize(
    "query",
    [
        "threshold=1.1",
        "threshold=nan",
        "threshold=1_0",
        "threshold=",
        "threshold=0.1&threshold=0.2",
        "top=0",
        "top=-1",
        "category=vegetable",
        "implications=maybe",
        "include=",
        "include=*a*b*c*d",
        f"include={'a' * 101}",
        "treshold=0.3",
    ],
)
async def test_parameter_out_of_bounds_is_refused(
    client: ClientSession, query: str
) -> None:
    found = await refused(client, f"/v1/tag?{query}", toy_images.image(RED))
    assert found == (400, "bad_parameter")


def half(left: str, right: str) -> bytes:
    """Returns a picture of two colours, twice as wide as high."""
    picture = Image.new("RGB", (80, 40), left)
    picture.paste(right, (40, 0, 80, 40))
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    return encoded.getvalue()


async def test_heatmap_is_where_the_tag_is(client: ClientSession) -> None:
    answer = await ask(client, "/v1/heatmap?tag=red&tag=blue_fox", half(RED, BLUE))
    red, blue = answer["heatmaps"]
    assert (red["name"], blue["name"]) == ("red", "blue_fox")
    assert (answer["height"], answer["width"]) == (7, 7)
    for place in (0, 1, 2):
        assert red["values"][3][place] > blue["values"][3][place]
        assert red["values"][3][6 - place] < blue["values"][3][6 - place]


async def test_heatmap_as_a_png_is_bright_where_the_tag_is(
    client: ClientSession,
) -> None:
    async with client.post("/v1/heatmap.png?tag=red", data=half(RED, BLUE)) as response:
        assert response.content_type == "image/png"
        png = await response.read()
    picture = Image.open(io.BytesIO(png))
    assert picture.size == (448, 448)
    left, right = picture.getpixel((50, 224)), picture.getpixel((400, 224))
    assert sum(left) > 2 * sum(right)


async def test_heatmap_of_an_unknown_tag_suggests_others(client: ClientSession) -> None:
    async with client.post(
        "/v1/heatmap?tag=blue_fax", data=toy_images.image(RED)
    ) as response:
        error = (await response.json())["error"]
    assert response.status == 404
    assert error["code"] == "unknown_tag"
    assert "blue_fox" in error["message"]


async def test_heatmap_takes_one_image(client: ClientSession) -> None:
    two = form(toy_images.image(RED), toy_images.image(RED))
    found = await refused(client, "/v1/heatmap?tag=red", two)
    assert found == (400, "too_many_images")


async def test_model_is_described(client: ClientSession) -> None:
    async with client.get("/v1/model") as response:
        model = await response.json()
    assert [tag["name"] for tag in model["tags"]][:2] == ["red", "green_(colour)"]
    assert model["fit"] == "pad"
    assert model["has_uncertainty"]
    assert not model["has_index"]
    assert model["limits"]["images"] == 32


async def test_similar_without_an_index_says_so(client: ClientSession) -> None:
    found = await refused(client, "/v1/similar", toy_images.image(RED))
    assert found == (404, "no_index")


async def test_description_has_every_path_and_no_other(client: ClientSession) -> None:
    async with client.get("/openapi.json") as response:
        description = await response.json()
    assert description["openapi"].startswith("3.1")
    assert set(description["paths"]) == {
        "/healthz",
        "/metrics",
        "/openapi.json",
        "/v1/heatmap",
        "/v1/heatmap.png",
        "/v1/model",
        "/v1/tag",
    }
    for path, methods in description["paths"].items():
        for method in methods:
            async with client.request(method, path) as response:
                assert response.status != 404, path


async def metrics(client: ClientSession) -> dict[str, float]:
    async with client.get("/metrics") as response:
        assert response.content_type == "text/plain"
        lines = (await response.text()).splitlines()
    samples = {}
    for line in lines:
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            samples[name] = float(value)
    return samples


async def test_metrics_count_requests_and_images(client: ClientSession) -> None:
    before = await metrics(client)
    await ask(client, "/v1/tag", form(toy_images.image(RED), b"words"))
    after = await metrics(client)
    for name in (
        'e6tag_requests_total{method="POST",path="/v1/tag",status="200"}',
        'e6tag_images_total{outcome="read"}',
        'e6tag_images_total{outcome="not_an_image"}',
        'e6tag_request_seconds_count{path="/v1/tag"}',
    ):
        assert after[name] == before.get(name, 0) + 1, name
    assert after["e6tag_pending_requests"] == 0


async def test_many_at_once_share_batches(client: ClientSession) -> None:
    before = await metrics(client)
    colours = [RED, BLUE, GREEN, WHITE] * 8
    files = [toy_images.image(colour) for colour in colours]
    answer = await ask(client, "/v1/tag", form(*files))
    assert len(answer["images"]) == 32
    after = await metrics(client)
    count = "e6tag_batch_images_count"
    assert after[count] - before.get(count, 0) < 32


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/tag", 405, "method_not_allowed"),
        ("DELETE", "/", 405, "method_not_allowed"),
        ("GET", "/page/../page.js.map", 404, "not_found"),
        ("GET", "/../../etc/passwd", 404, "not_found"),
        ("GET", "/healthz?deep=1", 400, "bad_parameter"),
    ],
)
async def test_wrong_paths_and_methods_are_refused_in_json(
    client: ClientSession, method: str, path: str, status: int, code: str
) -> None:
    async with client.request(method, path) as response:
        assert response.status == status
        assert (await response.json())["error"]["code"] == code
        assert status != 405 or response.headers["Allow"]
