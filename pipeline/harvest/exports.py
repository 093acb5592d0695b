"""Fetches the pinned exports: streamed to disk, resumed only with a validator, verified by SHA-256.

The exports are overwritten in place at the site, so a resumed download may splice two days (contract section 1.3): a
range is asked for only with `If-Range`, and nothing is trusted before its checksum is right.
"""

import asyncio
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from pipeline import atomic, pin, progress
from pipeline.errors import BadExport, ExportChanged
from pipeline.params import Site
from pipeline.paths import Paths
from pipeline.pin import Export, Pin
from pipeline.site.client import Client
from pipeline.site.opening import open_site

_PIECE = 1 << 20  # bytes


async def fetch(pinned: Pin, site: Site, paths: Paths) -> dict[str, Path]:
    """Returns a verified file per export. Files are named by checksum; those of other pins are removed at the end."""
    folder = paths.work("harvest") / "exports"
    files = {name: folder / f"{export.checksum}.csv.gz" for name, export in pinned.exports.items()}
    missing = {name: export for name, export in pinned.exports.items() if not files[name].exists()}
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
        await client.patiently(partial(_download, client, url, part, export), url)
        checksum = await asyncio.to_thread(_sha256, part)
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


async def _download(client: Client, url: str, part: Path, export: Export) -> None:
    """Appends to `part` what it lacks, if the site can prove that the file is still the same; else starts over."""
    headers, offset = _range(part)
    if offset == export.file_size:
        return  # killed between the last byte and the checksum: there is no range left to ask for
    if offset > export.file_size:
        headers, offset = {}, 0
    async with client.asking(url, headers=headers) as response:
        if response.status != 206:
            offset = 0
        _remember_validator(part, response)
        with part.open("ab" if offset else "wb") as file, progress.meter(export.file_name, unit="bytes") as meter:
            meter.total = offset + response.content_length if response.content_length else None
            meter.advance(offset)
            async for piece in response.content.iter_chunked(_PIECE):
                file.write(piece)
                meter.advance(len(piece))


def _range(part: Path) -> tuple[dict[str, str], int]:
    """Returns the headers that ask for the rest of a partial file, and how many bytes of it are there."""
    note = _validator_file(part)
    if not part.exists() or not note.exists():
        return {}, 0
    offset = part.stat().st_size
    try:
        validator = json.loads(note.read_text())["validator"]
    except (ValueError, KeyError, TypeError):
        return {}, 0
    return ({"Range": f"bytes={offset}-", "If-Range": validator}, offset) if offset and validator else ({}, 0)


def _remember_validator(part: Path, response: aiohttp.ClientResponse) -> None:
    etag = response.headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
    note: dict[str, Any] = {"validator": validator}
    atomic.write_text(_validator_file(part), json.dumps(note))


def _validator_file(part: Path) -> Path:
    return part.with_suffix(".validator.json")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
