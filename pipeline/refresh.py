"""Refresh: asks the site what is newest and rewrites the pin only when there is news.

Reads       the site's /db_exports.json
Writes      snapshot.json, a diff that people review and commit
"""

import asyncio

from pipeline import pin, progress
from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.site.opening import open_site


def run(params: Params, paths: Paths) -> bool:
    """Returns whether there was news. The pin's bytes do not change when there was none."""
    exports = asyncio.run(_newest(params, paths))
    newest = pin.Pin(pin.site_key(params.site), exports)
    pinned = pin.load(paths.pin) if paths.pin.exists() else None
    if pinned == newest:
        progress.say(f"{paths.pin.name} is up to date: {newest.site}, posts of {exports['posts'].updated_at}.")
        return False
    pin.save(paths.pin, newest)
    for name, export in exports.items():
        before = pinned.exports[name].updated_at if pinned and pinned.site == newest.site else "not pinned"
        if pinned is None or pinned.site != newest.site or pinned.exports[name] != export:
            progress.say(f"{name}: {before} -> {export.updated_at}, {export.file_size:,} bytes")
    progress.say(f"{paths.pin.name} now pins {newest.site}. Review git diff {paths.pin.name}, then run dvc repro.")
    return True


async def _newest(params: Params, paths: Paths) -> dict[str, pin.Export]:
    async with open_site(params.site, paths, "refresh") as client:
        return pin.read_index(await client.json("/db_exports.json"))
