"""Download: the sampled posts' pictures, politely, once.

Reads       data/sample/posts.parquet       which pictures
            data/snapshot/*.parquet         which posts the policy permits today
            snapshot.json                   which moment of the site that is
            the site                        /data/...
Writes      data/images/pack-*.parquet      schemas.PACK
            data/images/outcomes.parquet    schemas.OUTCOMES: what became of each picture wanted
            data/images/takedowns.parquet   schemas.TAKEDOWNS: what was here and had to go
            data/ledger.sqlite              every attempt; not an output
Guarantees  every picture wanted has exactly one outcome; a picture that is here is never asked for again, and a kill
            loses only those in flight; pictures that the policy no longer permits leave the packs; damaged packs are
            found, named and fetched anew; from empty, same sample and same answers, same bytes.
"""

import asyncio
import shutil
from pathlib import Path

import polars as pl

from pipeline import packs, parquet, pin, policy, progress, schemas
from pipeline.download import keeping, plan, standing, waiting
from pipeline.download.fetch import Fetcher
from pipeline.download.ledger import FINAL, Ledger
from pipeline.download.variants import Wanted, wanted
from pipeline.errors import PolicyViolation, SiteUnreachable, TooManyRejects
from pipeline.params import Download, Site
from pipeline.paths import Paths
from pipeline.schemas import Refusal


def run(params: Download, paths: Paths, *, site: Site, dry_run: bool = False) -> None:
    """Fetches what is missing, pack by pack, then writes the outcomes and judges the share of refusals."""
    posts = parquet.read(paths.sample / "posts.parquet")
    found = None if dry_run else keeping.look(paths)
    asked, post_ids = (found.md5s, found.post_ids) if found else (set[str](), set[int]())
    stands = standing.look_up(paths, asked | set(posts["md5"]), post_ids)
    _refuse_forbidden(posts, stands.permitted)
    wishes = [
        wanted(post_id, md5, ext, width, height, size, params.variant)
        for post_id, md5, ext, width, height, size in posts.sort("post_id")
        .select("post_id", "md5", "ext", "width", "height", "file_size")
        .unique("md5", keep="first")
        .sort("md5")
        .iter_rows()
    ]
    if found:
        keeping.tidy(params, paths, found, stands)
    # A dry run leaves nothing behind.
    at = Path(":memory:") if dry_run and not paths.ledger.exists() else paths.ledger
    with Ledger.opened(at, _place(site)) as ledger:
        planned = _plan(params, paths, wishes, ledger, keep=not dry_run)
        _print_plan(planned, paths, len(wishes), site)
        if dry_run:
            return
        if planned:
            asyncio.run(Fetcher(params, paths, ledger).fetch(planned, site))
        outcomes = _outcomes(paths, wishes, ledger)
        parquet.write(paths.images / "outcomes.parquet", outcomes, schemas.OUTCOMES, order_by="md5")
    _plan_path(paths).unlink(missing_ok=True)
    shutil.rmtree(waiting.folder(paths), ignore_errors=True)
    _judge(params, outcomes)


def _place(site: Site) -> str:
    """Returns what a refusal holds for: another site, or another place for its files, may answer otherwise."""
    return f"{pin.site_key(site)} {site.static_url or ''}".strip()


def _refuse_forbidden(posts: pl.DataFrame, permitted: frozenset[str]) -> None:
    forbidden = posts.filter(~pl.col("md5").is_in(permitted))
    if forbidden.height:
        raise PolicyViolation(
            f"{forbidden.height:,} sampled posts may not be fetched under the snapshot's present state, first "
            f"{forbidden['post_id'][0]}. Nothing was requested. Run dvc repro, which samples anew."
        )


def _plan(
    params: Download, paths: Paths, wishes: list[Wanted], ledger: Ledger, *, keep: bool
) -> list[plan.PlannedPack]:
    """Returns the packs still to be made: those of the unfinished run, or of a new one."""
    fingerprint = plan.fingerprint(wishes, params)
    planned = plan.resume(_plan_path(paths), fingerprint, wishes)
    if planned is None:
        if keep:
            ledger.reopen()
        have = set(packs.index(paths.images).select("md5", "variant").iter_rows())
        no = {key for key, (refusal, _) in ledger.refusals().items() if refusal in FINAL}
        missing = [one for one in wishes if (one.md5, one.variant) not in have | no]
        planned = plan.make(missing, params.pack_pictures)
        if keep:
            plan.save(_plan_path(paths), fingerprint, planned)
    return [pack for pack in planned if not (paths.images / pack.name).exists()]


def _plan_path(paths: Paths) -> Path:
    return paths.work("download") / "plan.json"


def _print_plan(planned: list[plan.PlannedPack], paths: Paths, total: int, site: Site) -> None:
    here = {record.key for record in waiting.records(paths)}  # they came before the last run ended
    pictures = [one for pack in planned for one in pack.pictures if one.key not in here]
    bound = sum(one.file_size for one in pictures)
    rate = policy.requests_per_second(site)
    duration = (
        f"{len(pictures) / rate / 3600:,.1f} hours at {rate:g} requests/s" if rate else "no limit on this machine"
    )
    progress.say(
        f"download: {len(pictures):,} of {total:,} pictures to fetch in {len(planned):,} packs, one request each, "
        f"{bound / 1e6:,.0f} MB as originals, {duration}"
    )


def _outcomes(paths: Paths, wishes: list[Wanted], ledger: Ledger) -> list[dict[str, str | None]]:
    index = packs.index(paths.images)
    kept = {(md5, variant): pack for md5, variant, pack in index.select("md5", "variant", "pack").iter_rows()}
    refusals = ledger.refusals()
    rows = []
    for one in wishes:
        key = (one.md5, one.variant)
        pack = kept.get(key)
        refusal, detail = refusals.get(key, (Refusal.UNAVAILABLE, "not settled")) if pack is None else ("kept", None)
        rows.append({"md5": one.md5, "variant": one.variant, "outcome": str(refusal), "pack": pack, "detail": detail})
    return rows


def _judge(params: Download, outcomes: list[dict[str, str | None]]) -> None:
    """Raises TooManyRejects, or SiteUnreachable where most failures are temporary."""
    refused = [row for row in outcomes if row["outcome"] != "kept"]
    limit = params.max_rejected * len(outcomes)
    progress.say(
        f"download: {len(outcomes) - len(refused):,} of {len(outcomes):,} pictures are here, {len(refused):,} refused"
    )
    if len(refused) <= limit:
        return
    share = f"{len(refused):,} of {len(outcomes):,} pictures are not here (limit {params.max_rejected:.1%})"
    first = f"first {refused[0]['md5']}: {refused[0]['outcome']}, {refused[0]['detail']}"
    temporary = sum(row["outcome"] == Refusal.UNAVAILABLE for row in refused)
    if len(refused) - temporary <= limit:
        raise SiteUnreachable(
            f"{share}, {temporary:,} of them after temporary errors only, {first}. What is here is kept: "
            "run the same command later."
        )
    raise TooManyRejects(f"{share}, {first}. See data/images/outcomes.parquet, or raise download.max_rejected.")
