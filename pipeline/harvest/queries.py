"""Requests to the API: a refusal is one clear line with the site's own words."""

from typing import Any

from pipeline.errors import BadAnswer
from pipeline.schemas.reasons import DownloadFailure
from pipeline.site.client import Client, PermanentFailure

CORRECT_QUERY = (
    "Correct harvest.query, site.login or site.base_url in params.yaml, then run the "
    "same command again."
)
FULL_REFRESH = "Run e6tag refresh, without --delta, for a full one."


async def ask(
    client: Client, path: str, query: dict[str, str], *, remedy: str = CORRECT_QUERY
) -> Any:
    """Returns the JSON answer.

    Raises BadAnswer if the site refuses, as with 410 and 422 (contract section 5).
    """
    try:
        return await client.json(path, query)
    except PermanentFailure as error:
        terms = [f"{key}={value}" for key, value in query.items()]
        raise BadAnswer(
            f"{path} with {', '.join(terms)[:300]} is refused ({error.detail}). What "
            f"is fetched is kept. {remedy}"
        ) from error


async def look_up(client: Client, path: str) -> Any | None:
    """Returns the JSON of one record, or None if the site does not have it (404)."""
    try:
        return await client.json(path)
    except PermanentFailure as error:
        if error.reason is DownloadFailure.NOT_FOUND:
            return None
        raise


async def is_missing(client: Client, path: str) -> bool:
    """Returns whether the site does not have a record.

    A record that it has and does not show (403) is not missing.
    """
    try:
        return await look_up(client, path) is None
    except PermanentFailure:
        return False
