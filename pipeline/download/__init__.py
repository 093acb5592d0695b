"""Download: the sampled posts' pictures, politely, once.

Reads       data/sample/posts.parquet       which pictures
            data/snapshot/*.parquet         which posts the policy permits today
            snapshot.json                   which moment of the site that is
            the site                        /data/...
Writes      data/images/pack-*.parquet      schemas.PACK
            data/images/outcomes.parquet    schemas.OUTCOMES: what became of each picture wanted
            data/images/takedowns.parquet   schemas.TAKEDOWNS: what was here and had to go
            data/ledger.sqlite              every attempt; not an output
            nothing in a dry run, which prints the plan that a run would follow
Guarantees  every picture wanted has exactly one outcome; a picture that is here is
never asked for again, and a kill
            loses only those in flight; pictures that the policy no longer permits leave
            the packs, also where there is no sample; damaged packs are found, named and
            fetched anew; what failed for a passing reason is asked for again by every
            run, or after the unfinished one where its pack is sealed; from empty, same
            sample and same answers, same bytes.
"""

import asyncio
import shutil
from pathlib import Path

import polars as pl

from pipeline import packs, parquet, pin, policy, progress
from pipeline.download import inventory, permissions, plan, spool
from pipeline.download.fetch import Fetcher, recover_spooled
from pipeline.download.inventory import StoredImage
from pipeline.download.ledger import Ledger
from pipeline.download.variants import ImageRequest, image_request
from pipeline.errors import (
    CorruptFile,
    PolicyViolation,
    SiteUnreachable,
    TooManyRejects,
)
from pipeline.params import Download, Site
from pipeline.paths import Paths
from pipeline.schemas.images import OUTCOMES
from pipeline.schemas.reasons import DownloadFailure
from pipeline.site.circuit_breaker import retry_hint
from pipeline.site.client import LOCAL_TIMEOUTS, Timeouts


def run(params: Download, paths: Paths, *, site: Site, dry_run: bool = False) -> None:
    """Fetches what is missing, pack by pack.

    Then writes the outcomes and judges the share of refusals.

    dry_run: prints the plan of just this run, and writes nothing.
    """
    found = inventory.scan(paths)
    posts = _sampled(paths)
    sampled = set() if isinstance(posts, CorruptFile) else set(posts["md5"])
    stands = permissions.check_permissions(paths, found.md5s | sampled, found.post_ids)
    if dry_run:
        inventory.check_same_site(paths, found, stands)
    else:
        inventory.remove_disallowed(params, paths, found, stands)
    # Only now: where sample cannot succeed, pictures that have to go are gone all the
    # same.
    if isinstance(posts, CorruptFile):
        raise posts
    _refuse_forbidden(posts, stands.permitted)
    here = inventory.retained(params, found, stands)
    wishes = _wishes(posts, params)
    open_ledger = Ledger.snapshot if dry_run else Ledger.open
    with open_ledger(paths.ledger, _place(site)) as ledger:
        planned = _plan(
            params, paths, _worth_asking(wishes, params), ledger, here, keep=not dry_run
        )
        refused = ledger.refusals()
        pictures = [
            one for pack in planned for one in pack.pictures if one.key not in refused
        ]
        waits = {one.key for one in here if one.pack is None}.intersection(
            one.key for one in pictures
        )
        arrived = recover_spooled(
            params, paths, [one for one in pictures if one.key in waits]
        )
        if not dry_run and len(arrived) < len(waits):
            cut = len(waits) - len(arrived)
            progress.log(
                f"download: {cut:,} of {len(waits):,} waiting pictures are not whole: "
                "fetched again"
            )
        _print_plan(
            planned,
            [one for one in pictures if one.key not in arrived],
            len(wishes),
            site,
        )
        if dry_run:
            return
        if planned:
            asyncio.run(Fetcher(params, paths, ledger, arrived).fetch(planned, site))
        outcomes = _outcomes(params, paths, wishes, ledger)
        parquet.write(
            paths.images / "outcomes.parquet",
            outcomes,
            OUTCOMES,
            order_by="md5",
        )
    _plan_path(paths).unlink(missing_ok=True)
    shutil.rmtree(spool.folder(paths), ignore_errors=True)
    _judge(params, outcomes, site)


def _sampled(paths: Paths) -> pl.DataFrame | CorruptFile:
    """Returns the sampled posts, or why there are none."""
    try:
        return parquet.read(paths.sample / "posts.parquet")
    except CorruptFile as error:
        return error


def _place(site: Site) -> str:
    """Returns what a refusal holds for.

    Another site, or another place for its files, may answer otherwise.
    """
    return f"{pin.site_key(site)} {site.static_url or ''}".strip()


def _refuse_forbidden(posts: pl.DataFrame, permitted: frozenset[str]) -> None:
    forbidden = posts.filter(~pl.col("md5").is_in(permitted))
    if forbidden.height:
        raise PolicyViolation(
            f"{forbidden.height:,} sampled posts may not be fetched under the "
            "snapshot's present state, first "
            f"{forbidden['post_id'][0]}. Nothing was requested. Run dvc repro, which "
            "samples anew."
        )


def _wishes(posts: pl.DataFrame, params: Download) -> list[ImageRequest]:
    """Returns what is wanted, a picture for each md5, in order of md5."""
    columns = ("post_id", "md5", "ext", "width", "height", "file_size")
    rows = (
        posts.sort("post_id")
        .select(columns)
        .unique("md5", keep="first")
        .sort("md5")
        .iter_rows()
    )
    return [
        image_request(post_id, md5, ext, width, height, size, params.variant)
        for post_id, md5, ext, width, height, size in rows
    ]


def _worth_asking(wishes: list[ImageRequest], params: Download) -> list[ImageRequest]:
    return [one for one in wishes if not _listed_too_large(one, params)]


def _listed_too_large(one: ImageRequest, params: Download) -> bool:
    """Returns whether the answer is known beforehand.

    Other variants are smaller than the listed size.
    """
    return one.variant == "original" and one.file_size > params.max_bytes


def _plan(
    params: Download,
    paths: Paths,
    wishes: list[ImageRequest],
    ledger: Ledger,
    here: list[StoredImage],
    *,
    keep: bool,
) -> list[plan.PlannedPack]:
    """Returns the packs still to be made: those of the unfinished run.

    And those of what it did not plan for.

    Reopens in the ledger what failed for a passing reason, unless its pack is sealed:
    that stays as it is until the plan is finished.
    """
    have = {one.key for one in here if one.pack}
    sealed = {one.pack.name for one in here if one.pack}
    fingerprint = plan.fingerprint(wishes, params)
    resumed = plan.load_plan(_plan_path(paths), fingerprint, wishes)
    ledger.retry_transient(
        but={
            one.key
            for pack in resumed or ()
            if pack.name in sealed
            for one in pack.pictures
        }
    )
    unfinished = [pack for pack in resumed or () if pack.name not in sealed]
    settled = (
        have
        | set(ledger.refusals())
        | {one.key for pack in unfinished for one in pack.pictures}
    )
    more = plan.make_plan(
        [one for one in wishes if one.key not in settled], params.pack_pictures
    )
    if keep and (more or resumed is None):
        plan.save_plan(_plan_path(paths), fingerprint, [*(resumed or ()), *more])
    return [*unfinished, *more]


def _plan_path(paths: Paths) -> Path:
    return paths.work("download") / "plan.json"


def _print_plan(
    planned: list[plan.PlannedPack],
    pictures: list[ImageRequest],
    total: int,
    site: Site,
) -> None:
    """Says what will be asked for.

    pictures: those of the planned packs that are neither here nor refused.
    """
    bound = sum(one.file_size for one in pictures)
    rate = policy.requests_per_second(site)
    duration = (
        f"{len(pictures) / rate / 3600:,.1f} hours at {rate:g} requests/s"
        if rate
        else "no limit on this machine"
    )
    progress.log(
        f"download: {len(pictures):,} of {total:,} pictures to fetch in "
        f"{len(planned):,} packs, one request each, "
        f"{bound / 1e6:,.0f} MB as originals, {duration}"
    )


def _outcomes(
    params: Download, paths: Paths, wishes: list[ImageRequest], ledger: Ledger
) -> list[dict[str, str | None]]:
    index = packs.index(paths.images)
    kept = {
        (md5, variant): pack
        for md5, variant, pack in index.select("md5", "variant", "pack").iter_rows()
    }
    refusals = ledger.refusals()
    rows = []
    for one in wishes:
        pack, outcome, detail = kept.get(one.key), "kept", None
        if pack is None and _listed_too_large(one, params):
            outcome = DownloadFailure.TOO_LARGE.value
            detail = f"listed with {one.file_size:,} bytes, limit {params.max_bytes:,}: not asked for"
        elif pack is None:
            outcome, detail = refusals.get(
                one.key, (DownloadFailure.UNAVAILABLE.value, "not settled")
            )
        rows.append(
            {
                "md5": one.md5,
                "variant": one.variant,
                "outcome": str(outcome),
                "pack": pack,
                "detail": detail,
            }
        )
    return rows


def _judge(params: Download, outcomes: list[dict[str, str | None]], site: Site) -> None:
    """Raises TooManyRejects, or SiteUnreachable where most failures are temporary."""
    refused = [row for row in outcomes if row["outcome"] != "kept"]
    limit = params.max_rejected * len(outcomes)
    progress.log(
        f"download: {len(outcomes) - len(refused):,} of {len(outcomes):,} pictures are "
        f"here, {len(refused):,} refused"
    )
    if len(refused) <= limit:
        return
    share = f"{len(refused):,} of {len(outcomes):,} pictures are not here (limit {params.max_rejected:.1%})"
    first = (
        f"first {refused[0]['md5']}: {refused[0]['outcome']}, {refused[0]['detail']}"
    )
    temporary = sum(row["outcome"] == DownloadFailure.UNAVAILABLE for row in refused)
    if len(refused) - temporary <= limit:
        pause = (Timeouts() if policy.is_remote(site) else LOCAL_TIMEOUTS).pause
        raise SiteUnreachable(
            f"{share}, {temporary:,} of them after temporary errors only, {first}. "
            "What is here is kept. " + retry_hint(pause)
        )
    raise TooManyRejects(
        f"{share}, {first}. See data/images/outcomes.parquet, or raise "
        "download.max_rejected."
    )
