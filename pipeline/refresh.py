"""Refresh: requests what is newest on the site and rewrites the pin if it changed.

Reads       the site's /db_exports.json; or /posts.json, if harvest.source is api;
            with --delta also the feed of changes
Writes      snapshot.json, a diff that people review and commit
            .work/refresh/changes/<sha256>.parquet
                with --delta: see pipeline.harvest.changes
"""

import asyncio
from dataclasses import replace

from pipeline import pin, progress
from pipeline.errors import BadInput
from pipeline.harvest import api, changes, delta
from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.pin import Pin
from pipeline.site.session import open_site


def run(params: Params, paths: Paths, *, delta: bool = False) -> bool:
    """Returns whether the pin changed; if not, it keeps its bytes."""
    pinned = _pinned(paths, delta=delta)
    if delta:
        newest = asyncio.run(_newest_delta(params, paths, pinned))
    elif params.harvest.query is not None:
        newest = asyncio.run(_newest_search(params, paths, params.harvest.query))
    else:
        exports = asyncio.run(_newest_exports(params, paths))
        newest = _keep_delta(pinned, exports, paths)
    if pinned == newest:
        progress.log(
            f"{paths.pin.name} is up to date: {newest.site}, posts of {newest.moment}."
        )
        return False
    pin.save(paths.pin, newest)
    _prune_changes(paths, pinned, newest)
    for line in _news(pinned, newest):
        progress.log(line)
    progress.log(
        f"{paths.pin.name} now pins {newest.site}. Review git diff {paths.pin.name}, "
        "then run dvc repro."
    )
    return True


def _prune_changes(paths: Paths, *pins: Pin | None) -> None:
    """Removes the files of changes that none of the pins names."""
    deltas = [one.delta for one in pins if one is not None and one.delta is not None]
    changes.prune(paths, *deltas)


def _pinned(paths: Paths, *, delta: bool) -> Pin | None:
    """Returns the present pin, or None if there is none that can be read.

    A full refresh replaces a damaged pin; a delta needs a sound one.
    """
    if not paths.pin.exists():
        return None
    try:
        return pin.load(paths.pin)
    except BadInput as error:
        if delta:
            raise
        progress.log(f"{error} It is pinned anew.")
        return None


async def _newest_exports(params: Params, paths: Paths) -> Pin:
    async with open_site(params.site, paths, "refresh") as client:
        exports = pin.read_index(await client.json("/db_exports.json"))
    return Pin(pin.site_key(params.site), exports)


def _keep_delta(pinned: Pin | None, newest: Pin, paths: Paths) -> Pin:
    """Returns the newest pin, with the pinned delta if that is still the newer moment.

    It is, if the export of posts is still the one that the delta builds on. The delta
    is dropped if its changes are not here, as in a clone: a full refresh is then the
    remedy, and must not pin them again.
    """
    if pinned is None or pinned.delta is None or pinned.site != newest.site:
        return newest
    try:
        changes.pinned_file(pinned, paths)
    except BadInput as error:
        progress.log(f"the delta is not pinned any more: {error}")
        return newest
    is_base = pinned.exports["posts"].checksum == newest.exports["posts"].checksum
    if not is_base:
        return newest
    return replace(newest, delta=pinned.delta)


async def _newest_search(params: Params, paths: Paths, query: str) -> Pin:
    async with open_site(params.site, paths, "refresh") as client:
        search = await api.newest(client, query)
    return Pin(pin.site_key(params.site), {}, search=search)


async def _newest_delta(params: Params, paths: Paths, pinned: Pin | None) -> Pin:
    """Keeps the pinned export of posts, and pins everything else as it is now."""
    base = _base(params, paths, pinned)
    async with open_site(params.site, paths, "refresh") as client:
        exports = pin.read_index(await client.json("/db_exports.json"))
        newest = await delta.fetch(client, base, paths, login=params.site.login)
    exports["posts"] = base.exports["posts"]
    return Pin(base.site, exports, newest)


def _base(params: Params, paths: Paths, pinned: Pin | None) -> Pin:
    """Returns the pin that a delta can build on.

    Raises BadInput before anything is requested.
    """
    if params.harvest.source == "api" or pinned is None or pinned.search is not None:
        raise BadInput(
            f"--delta builds on a pinned export of posts, and {paths.pin.name} or "
            "harvest.source names none. Run e6tag refresh without --delta."
        )
    if pinned.site != pin.site_key(params.site):
        raise BadInput(
            f"{paths.pin.name} pins {pinned.site} but site.name is "
            f"{pin.site_key(params.site)}: there is nothing to build a delta on. "
            "Run e6tag refresh without --delta."
        )
    delta.base_export(pinned, paths)
    return pinned


def _news(pinned: Pin | None, newest: Pin) -> list[str]:
    """Returns what changed in the pin, a line each."""
    lines = _news_of_exports(pinned, newest)
    if newest.search is not None:
        found = newest.search
        lines.append(
            f"search {found.query}: posts up to {found.newest_id}, at change "
            f"{found.change}"
        )
    if newest.delta is not None:
        changed = newest.delta
        lines.append(
            f"posts: {changed.changed:,} changed or new and {changed.gone:,} gone "
            f"since the export, to change {changed.change}"
        )
    return lines


def _news_of_exports(pinned: Pin | None, newest: Pin) -> list[str]:
    before = {}
    if pinned is not None and pinned.site == newest.site:
        before = pinned.exports
    lines = []
    for name, export in newest.exports.items():
        earlier = before.get(name)
        if earlier == export:
            continue
        moment = "not pinned" if earlier is None else earlier.updated_at
        lines.append(
            f"{name}: {moment} -> {export.updated_at}, {export.file_size:,} bytes"
        )
    return lines
