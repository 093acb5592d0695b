"""Fetches the pinned exports.

Streamed to disk, resumed only with a validator, verified by SHA-256 as they come.

The exports are overwritten in place at the site, so a resumed download may splice two
days (contract section 1.3): a range is asked for only with `If-Range`, what comes must
say that it continues the same file, and nothing is trusted before its checksum is
right. The checksum is worked out as the bytes come; a file that is here already is not
read again for it, two gigabytes each time, but when it turns out that it cannot be read
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
from pipeline.params import Site
from pipeline.paths import Paths
from pipeline.pin import ExportFile, Pin
from pipeline.site import responses
from pipeline.site.client import Client, PermanentFailure, TransientFailure
from pipeline.site.session import open_site

_PIECE = 1 << 20  # bytes
_NO_SUCH_RANGE = 416
_GZIP = b"\x1f\x8b"  # how every gzip file starts (RFC 1952)


async def fetch(pinned: Pin, site: Site, paths: Paths) -> dict[str, Path]:
    """Returns a file per export, named by its checksum.

    Fetched and verified, or here by that name in the right size.

    Files of other pins are removed at the end.
    """
    folder = paths.work("harvest") / "exports"
    files = {
        name: folder / f"{export.checksum}.csv.gz"
        for name, export in pinned.exports.items()
    }
    missing = {
        name: export
        for name, export in pinned.exports.items()
        if _size(files[name]) != export.file_size
    }
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        async with open_site(site, paths, "harvest") as client:
            for name, export in missing.items():
                await fetch_one(client, name, export, files[name])
    kept = set(files.values())
    for path in sorted(folder.iterdir()):
        if path not in kept:
            path.unlink()
    return files


def drop_damaged(files: dict[str, Path], pinned: Pin) -> bool:
    """Removes those files, by name of the export, that are not what was fetched.

    Returns whether there were any.
    """
    damaged = {
        name: path
        for name, path in files.items()
        if _sha256(path) != pinned.exports[name].checksum
    }
    for name, path in damaged.items():
        path.unlink()
        progress.log(
            f"the export {name} was damaged on this disk: {path} no longer has the "
            "SHA-256 of what was fetched. "
            "It is fetched again."
        )
    return bool(damaged)


async def fetch_one(
    client: Client, name: str, export: ExportFile, target: Path
) -> None:
    """Fetches one export; where its checksum is wrong, reads the index again and tries once more (contract 1.3)."""
    for attempt in ("first", "last"):
        url = await _url_of(client, name, export)
        part = target.with_suffix(".part")
        checksum = await client.request_or_fail(
            partial(_download, client, url, part, export), url
        )
        if checksum == export.checksum:
            part.replace(target)
            _validator_file(part).unlink(missing_ok=True)
            return
        part.unlink()
        _validator_file(part).unlink(missing_ok=True)
        if attempt == "last":
            raise BadExport(
                f"{export.file_name} has SHA-256 {checksum[:12]}..., but the index and "
                "snapshot.json say "
                f"{export.checksum[:12]}..., also after the index was read again. "
                "Nothing was written. "
                "The site may be making a new export: run e6tag refresh in an hour."
            )


async def _url_of(client: Client, name: str, export: ExportFile) -> str:
    """Returns where the index says the export lies.

    Raises ExportChanged when it lists another one than is pinned.
    """
    index = await client.json("/db_exports.json")
    listed = pin.read_index(index)[name]
    if listed.checksum != export.checksum:
        raise ExportChanged(
            f"the site serves {name} of {listed.updated_at}, snapshot.json pins that "
            f"of {export.updated_at}, which is "
            "gone. Run e6tag refresh, review git diff snapshot.json, then run dvc "
            "repro."
        )
    return str(next(row["url"] for row in index if row["name"] == name))


async def _download(client: Client, url: str, part: Path, export: ExportFile) -> str:
    """Appends to `part` what it lacks, if the site can prove that the file is still the same; else starts over.

    Returns the SHA-256 of the whole. Of a body longer than the index says no more is read: it is another file.
    """
    validator, offset = _kept(part)
    if offset == export.file_size:
        return await asyncio.to_thread(
            _sha256, part
        )  # killed just before the end: no range is left to ask for
    if offset > export.file_size:
        validator, offset = "", 0
    headers = {"Range": f"bytes={offset}-", "If-Range": validator} if offset else {}
    # Before asking: while two gigabytes are read the answer would wait, and be taken
    # for a stall.
    known = await asyncio.to_thread(_digest, part) if offset else hashlib.sha256()
    async with _asking_for_part(client, url, headers, part) as response:
        if response.status == 206 and not _continues(response, validator, offset):
            part.unlink(missing_ok=True)
            raise TransientFailure("it answers with a part of another file")
        offset = offset if response.status == 206 else 0
        head = await response.content.read(len(_GZIP))
        if not offset and not _GZIP.startswith(head):
            page = bytearray(head)
            await responses.read_start(response, page)
            if responses.looks_like_html(page):  # whatever type it is said to be
                responses.raise_for_challenge(
                    response.url.authority, response.status, bytes(page)
                )
            raise TransientFailure(
                f"it answers {response.content_type} that is not gzip"
            )  # what is here stays as it is
        if offset and not head:
            raise TransientFailure(
                "it answers with an empty part"
            )  # what is here stays as it is
        digest = known if offset else hashlib.sha256()
        _remember_validator(part, response)
        with (
            part.open("ab" if offset else "wb") as file,
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
    return digest.hexdigest()


@asynccontextmanager
async def _asking_for_part(
    client: Client, url: str, headers: dict[str, str], part: Path
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Yields the answer; where the site has no such range (416), raises Unavailable.

    The next try asks for the whole.

    That it has not is no word on the export: it is made anew, or a cache between holds
    a shorter one.
    """
    try:
        async with client.stream(url, headers=headers) as response:
            yield response
    except PermanentFailure as error:
        if error.status != _NO_SUCH_RANGE or "Range" not in headers:
            raise
        part.unlink(missing_ok=True)
        _validator_file(part).unlink(missing_ok=True)
        raise TransientFailure(
            f"it has no bytes from {headers['Range'].removeprefix('bytes=')} on (416)"
        ) from error


def _kept(part: Path) -> tuple[str, int]:
    """Returns the validator of a partial file and how many bytes of it are there.

    "" and 0 where it is of no use.
    """
    try:
        validator = json.loads(_validator_file(part).read_text())["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        return "", 0
    offset = _size(part) or 0
    return (str(validator), offset) if validator and offset else ("", 0)


def _continues(response: aiohttp.ClientResponse, validator: str, offset: int) -> bool:
    """Tells whether a partial answer is the rest of the file that was begun, for servers that ignore If-Range."""
    return _validator(response) in (validator, None) and response.headers.get(
        "Content-Range", ""
    ).startswith(f"bytes {offset}-")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _remember_validator(part: Path, response: aiohttp.ClientResponse) -> None:
    note: dict[str, Any] = {"validator": _validator(response)}
    files.write_text(_validator_file(part), json.dumps(note))


def _validator(response: aiohttp.ClientResponse) -> str | None:
    etag = response.headers.get("ETag", "")
    return (
        etag
        if etag and not etag.startswith("W/")
        else response.headers.get("Last-Modified")
    )


def _validator_file(part: Path) -> Path:
    return part.with_suffix(".validator.json")


def _sha256(path: Path) -> str:
    return _digest(path).hexdigest()


def _digest(path: Path) -> "hashlib._Hash":
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")
