"""Fetches the pinned exports.

They are streamed to disk, resumed only with a validator, and verified by SHA-256 as
they arrive.

The site overwrites its exports in place, so that a resumed download may splice two days
(contract section 1.3): a range is requested only with `If-Range`, the response must
state that it continues the same file, and nothing is trusted before its checksum is
right. The checksum is computed as the bytes arrive. A file that is here already is not
read again for it, two gigabytes each time, unless it turns out to be unreadable
(`drop_damaged`).
"""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from pipeline import files, pin, progress
from pipeline.errors import BadExport, ExportChanged
from pipeline.params.site import Site
from pipeline.paths import Paths
from pipeline.pin import ExportFile, Pin
from pipeline.site import responses
from pipeline.site.client import Client, PermanentFailure, TransientFailure
from pipeline.site.session import open_site

_PIECE = 1 << 20  # bytes
_ATTEMPTS = 2  # for one export
_PARTIAL = 206
_NO_SUCH_RANGE = 416
_GZIP = b"\x1f\x8b"  # how every gzip file starts (RFC 1952)


async def fetch(pinned: Pin, site: Site, paths: Paths) -> dict[str, Path]:
    """Returns a file per export, by the name of the export.

    A file is named by its checksum. It is fetched and verified, unless it is here by
    that name in the right size. Files of other pins are removed at the end.
    """
    folder = paths.work("harvest") / "exports"
    targets = {}
    missing = {}
    for name, export in pinned.exports.items():
        targets[name] = folder / f"{export.checksum}.csv.gz"
        if _size(targets[name]) != export.file_size:
            missing[name] = export
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        async with open_site(site, paths, "harvest") as client:
            for name, export in missing.items():
                await fetch_one(client, name, export, targets[name])
    kept = set(targets.values())
    for path in sorted(folder.iterdir()):
        if path not in kept:
            path.unlink()
    return targets


def drop_damaged(fetched: dict[str, Path], pinned: Pin) -> bool:
    """Removes the files, by name of the export, that are not what was fetched.

    Returns whether there were any.
    """
    any_damaged = False
    for name, path in fetched.items():
        if files.sha256(path) == pinned.exports[name].checksum:
            continue
        any_damaged = True
        path.unlink()
        progress.log(
            f"the export {name} was damaged on this disk: {path} no longer has the "
            "SHA-256 of what was fetched. It is fetched again."
        )
    return any_damaged


async def fetch_one(
    client: Client, name: str, export: ExportFile, target: Path
) -> None:
    """Fetches one export.

    If its checksum is wrong, the index is read again and the export fetched once more
    (contract section 1.3).
    """
    part = target.with_suffix(".part")
    checksum = ""
    for _ in range(_ATTEMPTS):
        url = await _url_of(client, name, export)
        download = partial(_download, client, url, part, export)
        checksum = await client.request_or_fail(download, url)
        if checksum == export.checksum:
            part.replace(target)
            _validator_file(part).unlink(missing_ok=True)
            return
        _remove_part(part)
    raise BadExport(
        f"{export.file_name} has SHA-256 {checksum[:12]}..., but the index and "
        f"snapshot.json say {export.checksum[:12]}..., also after the index was read "
        "again. Nothing was written. "
        "The site may be making a new export: run e6tag refresh in an hour."
    )


async def _url_of(client: Client, name: str, export: ExportFile) -> str:
    """Returns the address of the export in the index.

    Raises ExportChanged if the index lists another export than is pinned.
    """
    index = await client.json("/db_exports.json")
    listed = pin.read_index(index)[name]
    if listed.checksum != export.checksum:
        raise ExportChanged(
            f"the site serves {name} of {listed.updated_at}, snapshot.json pins that "
            f"of {export.updated_at}, which is gone. Run e6tag refresh, review git "
            "diff snapshot.json, then run dvc repro."
        )
    urls = {row["name"]: row["url"] for row in index}
    return str(urls[name])


async def _download(client: Client, url: str, part: Path, export: ExportFile) -> str:
    """Appends to `part` the bytes that it lacks; returns the SHA-256 of the whole.

    Starts over unless the site can prove that the file is still the same. Stops reading
    a body that is longer than the index states: it is another file.
    """
    validator, offset = _resumable(part)
    if offset == export.file_size:
        # The last run was killed just before the end: no range is left to request.
        return await asyncio.to_thread(files.sha256, part)
    if offset > export.file_size:
        validator, offset = "", 0
    # Before the request: while two gigabytes are read the response would wait, and be
    # taken for a stall.
    digest = hashlib.sha256()
    if offset:
        digest = await asyncio.to_thread(_digest, part)
    async with _stream(client, url, part, validator, offset) as response:
        if response.status != _PARTIAL:
            offset, digest = 0, hashlib.sha256()
        elif not _continues(response, validator, offset):
            part.unlink(missing_ok=True)
            raise TransientFailure("it answers with a part of another file")
        head = await _read_head(response, offset)
        _write_validator(part, response)
        await _write_body(response, head, part, export, offset, digest)
    return digest.hexdigest()


@asynccontextmanager
async def _stream(
    client: Client, url: str, part: Path, validator: str, offset: int
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Yields the response to a request for the bytes from `offset` on.

    Raises TransientFailure if the site has no such range (416); the next try requests
    the whole. That response is no proof that the export is gone: it is being made anew,
    or a cache in between holds a shorter one.
    """
    headers = {}
    if offset:
        headers = {"Range": f"bytes={offset}-", "If-Range": validator}
    try:
        async with client.stream(url, headers=headers) as response:
            yield response
    except PermanentFailure as error:
        if error.status != _NO_SUCH_RANGE or not offset:
            raise
        _remove_part(part)
        raise TransientFailure(f"it has no bytes from {offset}- on (416)") from error


async def _read_head(response: aiohttp.ClientResponse, offset: int) -> bytes:
    """Returns the first bytes of the body, before anything on disk is changed.

    Raises TransientFailure for an empty part and for a body that is not gzip;
    ChallengePage where that body is a challenge page.
    """
    head = await response.content.read(len(_GZIP))
    if offset:
        if not head:
            raise TransientFailure("it answers with an empty part")
        return head
    if _GZIP.startswith(head):
        return head
    page = bytearray(head)
    await responses.read_start(response, page)
    if responses.looks_like_html(page):  # whatever its Content-Type
        authority = response.url.authority
        responses.raise_for_challenge(authority, response.status, bytes(page))
    raise TransientFailure(f"it answers {response.content_type} that is not gzip")


async def _write_body(
    response: aiohttp.ClientResponse,
    head: bytes,
    part: Path,
    export: ExportFile,
    offset: int,
    digest: "hashlib._Hash",
) -> None:
    """Writes the body to `part` from `offset` on, and adds it to the digest."""
    mode = "ab" if offset else "wb"
    with (
        part.open(mode) as file,
        progress.meter(export.file_name, unit="bytes") as meter,
    ):
        meter.total = export.file_size
        meter.advance(offset)
        piece = head
        while piece and meter.done <= export.file_size:
            file.write(piece)
            digest.update(piece)
            meter.advance(len(piece))
            piece = await response.content.read(_PIECE)
        file.flush()
        os.fsync(file.fileno())


def _resumable(part: Path) -> tuple[str, int]:
    """Returns the validator of a partial file and how many bytes of it are there.

    "" and 0 if it cannot be resumed.
    """
    try:
        validator = json.loads(_validator_file(part).read_text())["validator"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return "", 0
    offset = _size(part)
    if not validator or not offset:
        return "", 0
    return str(validator), offset


def _continues(response: aiohttp.ClientResponse, validator: str, offset: int) -> bool:
    """Returns whether a partial response is the rest of the file that was begun.

    Some servers ignore If-Range.
    """
    content_range = response.headers.get("Content-Range", "")
    if not content_range.startswith(f"bytes {offset}-"):
        return False
    return _validator(response) in (validator, None)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _write_validator(part: Path, response: aiohttp.ClientResponse) -> None:
    note: dict[str, Any] = {"validator": _validator(response)}
    files.write_text(_validator_file(part), json.dumps(note))


def _validator(response: aiohttp.ClientResponse) -> str | None:
    """Returns the strong ETag of a response, else its Last-Modified."""
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified")


def _validator_file(part: Path) -> Path:
    return part.with_suffix(".validator.json")


def _remove_part(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _digest(path: Path) -> "hashlib._Hash":
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")
