"""Fetches the pinned exports: streamed to disk, resumed only with a validator, verified by SHA-256.

The exports are overwritten in place at the site, so a resumed download may splice two days (contract section 1.3): a
range is asked for only with `If-Range`, what comes must say that it continues the same file, and nothing is trusted
before its checksum is right. The checksum is worked out as the bytes come.
"""

import asyncio
import hashlib
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from pipeline import atomic, pin, progress
from pipeline.errors import BadExport, ExportChanged
from pipeline.params import Site
from pipeline.paths import Paths
from pipeline.pin import Export, Pin
from pipeline.site.client import Client, Unavailable
from pipeline.site.opening import open_site

_PIECE = 1 << 20  # bytes
_GZIP = b"\x1f\x8b"  # how every gzip file starts (RFC 1952)


async def fetch(pinned: Pin, site: Site, paths: Paths) -> dict[str, Path]:
    """Returns a verified file per export. Files are named by checksum; those of other pins are removed at the end."""
    folder = paths.work("harvest") / "exports"
    files = {name: folder / f"{export.checksum}.csv.gz" for name, export in pinned.exports.items()}
    missing = {name: export for name, export in pinned.exports.items() if _size(files[name]) != export.file_size}
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        async with open_site(site, paths, "harvest") as client:
            for name, export in missing.items():
                await _fetch_verified(client, name, export, files[name])
    kept = set(files.values())
    for path in sorted(folder.iterdir()):
        if path not in kept:
            path.unlink()
    return files


async def _fetch_verified(client: Client, name: str, export: Export, target: Path) -> None:
    """Fetches one export; where its checksum is wrong, reads the index again and tries once more (contract 1.3)."""
    for attempt in ("first", "last"):
        url = await _url_of(client, name, export)
        part = target.with_suffix(".part")
        checksum = await client.patiently(partial(_download, client, url, part, export), url)
        if checksum == export.checksum:
            part.replace(target)
            _validator_file(part).unlink(missing_ok=True)
            return
        part.unlink()
        _validator_file(part).unlink(missing_ok=True)
        if attempt == "last":
            raise BadExport(
                f"{export.file_name} has SHA-256 {checksum[:12]}..., but the index and snapshot.json say "
                f"{export.checksum[:12]}..., also after the index was read again. Nothing was written. "
                "The site may be making a new export: run e6tag refresh in an hour."
            )


async def _url_of(client: Client, name: str, export: Export) -> str:
    """Returns where the index says the export lies; raises ExportChanged when it lists another one than is pinned."""
    index = await client.json("/db_exports.json")
    listed = pin.read_index(index)[name]
    if listed.checksum != export.checksum:
        raise ExportChanged(
            f"the site serves {name} of {listed.updated_at}, snapshot.json pins that of {export.updated_at}, which is "
            "gone. Run e6tag refresh, review git diff snapshot.json, then run dvc repro."
        )
    return str(next(row["url"] for row in index if row["name"] == name))


async def _download(client: Client, url: str, part: Path, export: Export) -> str:
    """Appends to `part` what it lacks, if the site can prove that the file is still the same; else starts over.

    Returns the SHA-256 of the whole. Of a body longer than the index says no more is read: it is another file.
    """
    validator, offset = _kept(part)
    if offset == export.file_size:
        return await asyncio.to_thread(_sha256, part)  # killed just before the end: no range is left to ask for
    if offset > export.file_size:
        validator, offset = "", 0
    headers = {"Range": f"bytes={offset}-", "If-Range": validator} if offset else {}
    # Before asking: while two gigabytes are read the answer would wait, and be taken for a stall.
    known = await asyncio.to_thread(_digest, part) if offset else hashlib.sha256()
    async with client.asking(url, headers=headers) as response:
        if response.status == 206 and not _continues(response, validator, offset):
            part.unlink(missing_ok=True)
            raise Unavailable("it answers with a part of another file")
        offset = offset if response.status == 206 else 0
        head = await response.content.read(len(_GZIP))
        if not offset and not _GZIP.startswith(head):
            raise Unavailable(f"it answers {response.content_type} that is not gzip")  # what is here stays as it is
        if offset and not head:
            raise Unavailable("it answers with an empty part")  # what is here stays as it is
        digest = known if offset else hashlib.sha256()
        _remember_validator(part, response)
        with part.open("ab" if offset else "wb") as file, progress.meter(export.file_name, unit="bytes") as meter:
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


def _kept(part: Path) -> tuple[str, int]:
    """Returns the validator of a partial file and how many bytes of it are there; "" and 0 where it is of no use."""
    try:
        validator = json.loads(_validator_file(part).read_text())["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        return "", 0
    offset = _size(part) or 0
    return (str(validator), offset) if validator and offset else ("", 0)


def _continues(response: aiohttp.ClientResponse, validator: str, offset: int) -> bool:
    """Tells whether a partial answer is the rest of the file that was begun, for servers that ignore If-Range."""
    return _validator(response) in (validator, None) and response.headers.get("Content-Range", "").startswith(
        f"bytes {offset}-"
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _remember_validator(part: Path, response: aiohttp.ClientResponse) -> None:
    note: dict[str, Any] = {"validator": _validator(response)}
    atomic.write_text(_validator_file(part), json.dumps(note))


def _validator(response: aiohttp.ClientResponse) -> str | None:
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _validator_file(part: Path) -> Path:
    return part.with_suffix(".validator.json")


def _sha256(path: Path) -> str:
    return _digest(path).hexdigest()


def _digest(path: Path) -> "hashlib._Hash":
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")
