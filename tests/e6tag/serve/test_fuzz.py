"""Damaged uploads: an answer or a refusal in JSON to each, and a server that stays up.

bench/serve_fuzz.py sends 10,000.
"""

import asyncio
from itertools import islice

from aiohttp import ClientSession

from tests.builders import bad_uploads, toy_images
from tests.builders.toy_images import RED

UPLOADS = 200


async def test_every_damaged_upload_is_answered_or_refused(
    client: ClientSession,
) -> None:
    together = asyncio.Semaphore(8)

    async def send(content_type: str, body: bytes) -> int:
        headers = {"Content-Type": content_type}
        async with (
            together,
            client.post("/v1/tag", data=body, headers=headers) as response,
        ):
            answer = await response.json()
        assert ("error" in answer) == (response.status != 200), answer
        return response.status

    damaged = islice(bad_uploads.uploads(seed=621), UPLOADS)
    statuses = await asyncio.gather(*[send(*upload) for upload in damaged])
    assert {status for status in statuses if status >= 500} == set()
    assert 200 in statuses
    assert 422 in statuses
    async with client.post("/v1/tag", data=toy_images.image(RED)) as response:
        answer = await response.json()
    assert answer["images"][0]["tags"][0]["name"] == "red"
