"""Download: the images of the sampled posts, politely, each once.

Reads       data/sample/posts.parquet       which images
            data/snapshot/*.parquet         which posts the policy permits today
            snapshot.json                   which state of the site that is
            the site                        /data/...
Writes      data/images/pack-*.parquet      schemas.PACK
            data/images/outcomes.parquet    schemas.OUTCOMES: what became of each image
                                            wanted
            data/images/takedowns.parquet   schemas.TAKEDOWNS: what was here and had to
                                            go
            data/ledger.sqlite              every attempt; not an output
            .work/download/                 unfinished work, and which packs were
                                            verified; not an output
            nothing in a dry run, which logs the plan that a run would follow
Guarantees  every image wanted has exactly one outcome; an image that is here is never
            requested again, and a kill loses only those in flight; images that the
            policy no longer permits leave the packs, also where there is no sample;
            packs that were changed since they were verified are read in full, and
            damaged ones named and fetched anew; temporary failures are
            retried by every run, or after the unfinished one where their pack is
            sealed; from empty, same sample and same responses, same bytes.
"""

import asyncio
import shutil

from pipeline import packs, parquet, pin, policy, progress
from pipeline.download import plan, spool, takedowns, verified_packs
from pipeline.download.fetch import Fetcher, recover_spooled
from pipeline.download.ledger import Failures, Ledger
from pipeline.download.plan import RunPlan
from pipeline.download.variants import ImageRequest
from pipeline.errors import SiteUnreachable, TooManyRejects
from pipeline.params.download import Download
from pipeline.params.site import Site
from pipeline.paths import Paths
from pipeline.schemas.images import OUTCOMES
from pipeline.schemas.reasons import KEPT, DownloadFailure
from pipeline.site.circuit_breaker import retry_hint
from pipeline.site.client import LOCAL_TIMEOUTS, Timeouts

Outcome = dict[str, str | None]
"""A row of outcomes.parquet."""


def run(params: Download, paths: Paths, *, site: Site, dry_run: bool = False) -> None:
    """Plans the run, then removes what must go and fetches what is missing.

    dry_run: logs the plan that a run would follow, and writes nothing.
    """
    open_ledger = Ledger.snapshot if dry_run else Ledger.open
    with open_ledger(paths.ledger, _ledger_site(site)) as ledger:
        planned = plan.plan_run(params, paths, ledger.failures())
        if not dry_run:
            execute(planned, params, paths, ledger, site)
        elif planned.problem is not None:
            raise planned.problem
        else:
            plan.log_plan(planned, site)


def execute(
    planned: RunPlan, params: Download, paths: Paths, ledger: Ledger, site: Site
) -> None:
    """Carries a plan out: removals first, then the packs, then the outcomes.

    Raises the plan's problem only after the removals: where sample cannot succeed,
    images that must go are gone all the same.
    """
    for pack in planned.unrecorded:
        verified_packs.record(paths, pack)
    takedowns.remove(params, paths, planned.removals)
    if planned.problem is not None:
        raise planned.problem
    ledger.forget(sorted(planned.retried))
    if planned.to_save is not None:
        plan.save_plan(plan.plan_path(paths), planned.fingerprint, planned.to_save)
    _log_start(planned, site)
    if planned.packs:
        recovered = recover_spooled(paths, planned.recovered)
        fetcher = Fetcher(params, paths, ledger, recovered)
        asyncio.run(fetcher.fetch(list(planned.packs), site))
    outcomes = _outcomes(params, paths, planned, ledger.failures())
    table = paths.images / "outcomes.parquet"
    parquet.write(table, outcomes, OUTCOMES, order_by="md5")
    plan.plan_path(paths).unlink(missing_ok=True)
    shutil.rmtree(spool.folder(paths), ignore_errors=True)
    _check_failures(params, outcomes, site)


def _ledger_site(site: Site) -> str:
    """Returns what a failure holds for.

    Another site, or another place for its files, may answer differently.
    """
    return f"{pin.site_key(site)} {site.static_url or ''}".strip()


def _log_start(planned: RunPlan, site: Site) -> None:
    if planned.spoilt:
        spooled = planned.spoilt + len(planned.recovered)
        progress.log(
            f"download: {planned.spoilt:,} of {spooled:,} spooled images are not "
            "whole and are fetched again"
        )
    plan.log_plan(planned, site)


def _outcomes(
    params: Download, paths: Paths, planned: RunPlan, failures: Failures
) -> list[Outcome]:
    """Returns what became of each image wanted, ordered by md5."""
    index = packs.index(paths.images)
    rows = index.select("md5", "variant", "pack").iter_rows()
    packed = {(md5, variant): pack for md5, variant, pack in rows}
    outcomes = []
    for one in planned.wanted:
        pack = packed.get(one.key)
        if pack is not None:
            outcome, detail = KEPT, None
        else:
            outcome, detail = _failure(one, params, failures)
        row = {
            "md5": one.md5,
            "variant": one.variant,
            "outcome": outcome,
            "pack": pack,
            "detail": detail,
        }
        outcomes.append(row)
    return outcomes


def _failure(
    one: ImageRequest, params: Download, failures: Failures
) -> tuple[str, str | None]:
    """Returns why an image is not in a pack: the reason, and its detail."""
    if plan.is_listed_too_large(one, params):
        detail = (
            f"listed with {one.file_size:,} bytes, limit {params.max_bytes:,}: "
            "not asked for"
        )
        return DownloadFailure.TOO_LARGE.value, detail
    if one.key not in failures:
        return DownloadFailure.UNAVAILABLE.value, "not settled"
    failure, detail = failures[one.key]
    return failure.value, detail


def _check_failures(params: Download, outcomes: list[Outcome], site: Site) -> None:
    """Raises TooManyRejects where more images failed than download.max_rejected.

    Raises SiteUnreachable instead where the other failures, without the temporary
    ones, are within the limit.
    """
    failed = [row for row in outcomes if row["outcome"] != KEPT]
    total = len(outcomes)
    limit = params.max_rejected * total
    progress.log(
        f"download: {total - len(failed):,} of {total:,} images are here, "
        f"{len(failed):,} refused"
    )
    if len(failed) <= limit:
        return
    first = failed[0]
    share = (
        f"{len(failed):,} of {total:,} images are not here "
        f"(limit {params.max_rejected:.1%})"
    )
    example = f"first {first['md5']}: {first['outcome']}, {first['detail']}"
    temporary = sum(row["outcome"] == DownloadFailure.UNAVAILABLE for row in failed)
    if len(failed) - temporary <= limit:
        timeouts = Timeouts() if policy.is_remote(site) else LOCAL_TIMEOUTS
        raise SiteUnreachable(
            f"{share}, {temporary:,} of them after temporary errors only, {example}. "
            f"What is here is kept. {retry_hint(timeouts.pause)}"
        )
    raise TooManyRejects(
        f"{share}, {example}. See data/images/outcomes.parquet, "
        "or raise download.max_rejected."
    )
