"""Refresh: asks the site what is newest and rewrites the pin only when there is news.

Reads       the site's /db_exports.json; or /posts.json, where harvest.source is api;
            with --delta also what changed
Writes      snapshot.json, a diff that people review and commit
            .work/refresh/changes/<sha256>.parquet
                with --delta: see pipeline.harvest.changes
"""

import asyncio
from dataclasses import replace

from pipeline import pin, progress
from pipeline.errors import BadInput
from pipeline.harvest import api
from pipeline.harvest import delta as deltas
from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.pin import Pin
from pipeline.site.session import open_site


def run(params: Params, paths: Paths, *, delta: bool = False) -> bool:
    """Returns whether there was news.

    The pin's bytes do not change when there was none.
    """
    pinned = _pinned(paths, delta=delta)
    if delta:
        newest = asyncio.run(_newest_delta(params, paths, pinned))
    elif params.harvest.query is not None:
        newest = asyncio.run(_newest_search(params, paths, params.harvest.query))
    else:
        newest = _keep_delta(pinned, asyncio.run(_newest_exports(params, paths)), paths)
    if pinned == newest:
        progress.log(
            f"{paths.pin.name} is up to date: {newest.site}, posts of {newest.moment}."
        )
        return False
    pin.save(paths.pin, newest)
    deltas.prune(
        paths,
        *(
            one.delta
            for one in (pinned, newest)
            if one is not None and one.delta is not None
        ),
    )
    for line in _news(pinned, newest):
        progress.log(line)
    progress.log(
        f"{paths.pin.name} now pins {newest.site}. Review git diff {paths.pin.name}, "
        "then run dvc repro."
    )
    return True


def _pinned(paths: Paths, *, delta: bool) -> Pin | None:
    """Returns the pin as it is.

    A damaged one is what a full refresh is the remedy for.
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
    """Where the export of posts is still the one that a pinned delta builds on, the delta is the newer moment.

    Unless its changes are not here, as in a clone: then a full refresh is the way out, and must not pin them again.
    """
    if pinned is None or pinned.delta is None or pinned.site != newest.site:
        return newest
    try:
        deltas.pinned_file(pinned, paths)
    except BadInput as error:
        progress.log(f"the delta is not pinned any more: {error}")
        return newest
    is_base = pinned.exports["posts"].checksum == newest.exports["posts"].checksum
    return replace(newest, delta=pinned.delta) if is_base else newest


async def _newest_search(params: Params, paths: Paths, query: str) -> Pin:
    async with open_site(params.site, paths, "refresh") as client:
        return Pin(
            pin.site_key(params.site), {}, search=await api.newest(client, query)
        )


async def _newest_delta(params: Params, paths: Paths, pinned: Pin | None) -> Pin:
    """Keeps the pinned export of posts, and takes everything else as it is now."""
    base = _base(params, paths, pinned)
    async with open_site(params.site, paths, "refresh") as client:
        exports = pin.read_index(await client.json("/db_exports.json"))
        delta = await deltas.fetch(client, base, paths, login=params.site.login)
    return Pin(base.site, {**exports, "posts": base.exports["posts"]}, delta)


def _base(params: Params, paths: Paths, pinned: Pin | None) -> Pin:
    """Returns the pin that a delta can build on.

    Raises BadInput before anything is asked.
    """
    if params.harvest.source == "api" or pinned is None or pinned.search is not None:
        raise BadInput(
            f"--delta builds on a pinned export of posts, and {paths.pin.name} or "
            "harvest.source names none. "
            "Run e6tag refresh without --delta."
        )
    if pinned.site != pin.site_key(params.site):
        raise BadInput(
            f"{paths.pin.name} pins {pinned.site} but site.name is "
            f"{pin.site_key(params.site)}: there is nothing to "
            "build a delta on. Run e6tag refresh without --delta."
        )
    deltas.base_export(pinned, paths)
    return pinned


def _news(pinned: Pin | None, newest: Pin) -> list[str]:
    """What changed in the pin, a line each."""
    before = pinned.exports if pinned is not None and pinned.site == newest.site else {}
    lines = [
        f"{name}: {before[name].updated_at if name in before else 'not pinned'} -> "
        f"{export.updated_at}, "
        f"{export.file_size:,} bytes"
        for name, export in newest.exports.items()
        if before.get(name) != export
    ]
    if newest.search is not None:
        found = newest.search
        lines.append(
            f"search {found.query}: posts up to {found.newest_id}, at change "
            f"{found.change}"
        )
    if newest.delta is not None:
        delta = newest.delta
        lines.append(
            f"posts: {delta.changed:,} changed or new and {delta.gone:,} gone since "
            "the export, "
            f"to change {delta.change}"
        )
    return lines
