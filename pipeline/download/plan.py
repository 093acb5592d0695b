"""The plan of a run: what must go, which images go into which pack, what is requested.

It is complete before anything is changed or requested. Pack boundaries depend on the
md5s that are missing and on nothing else, so kills, retries and the order of arrival
leave no trace in the bytes. The packs of an unfinished run are saved and completed by
the next one.
"""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from e6tag.images import ImageInfo
from pipeline import files, parquet, policy, progress
from pipeline.download import inventory, permissions, spool, takedowns, verify
from pipeline.download.ledger import FINAL, Failures
from pipeline.download.permissions import Permissions
from pipeline.download.takedowns import Removals
from pipeline.download.variants import ImageKey, ImageRequest, image_request
from pipeline.download.verified_packs import VerifiedPack
from pipeline.errors import CorruptFile, E6tagError, PolicyViolation
from pipeline.params.download import Download
from pipeline.params.site import Site
from pipeline.paths import Paths

_COLUMNS = {
    "post_id": pl.Int64,
    "md5": pl.String,
    "ext": pl.String,
    "width": pl.Int64,
    "height": pl.Int64,
    "file_size": pl.Int64,
}
"""What a run reads of the sampled posts."""


@dataclass(frozen=True, slots=True)
class PlannedPack:
    """One pack to be written: its file name and its images, ordered by md5."""

    name: str
    images: tuple[ImageRequest, ...]


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What one run of the stage will do.

    removals: what must go, before all else.
    unrecorded: packs that were read in full for this plan and are sound.
    problem: why nothing can be fetched afterwards, or None.
    wanted: a request for each md5 of the sample, ordered by md5.
    packs: what is written in this run.
    to_save: the packs to save for a run that follows if this one is killed; None where
    those saved already hold.
    fingerprint: of the wanted images, for `to_save`.
    retried: recorded failures to be forgotten, since a retry may succeed.
    recovered: images that an earlier run spooled whole.
    missing: what is requested, in order.
    spoilt: images of the spool that are not whole, and so are requested again.
    """

    removals: Removals
    unrecorded: tuple[VerifiedPack, ...] = ()
    problem: E6tagError | None = None
    wanted: tuple[ImageRequest, ...] = ()
    packs: tuple[PlannedPack, ...] = ()
    to_save: tuple[PlannedPack, ...] | None = None
    fingerprint: str = ""
    retried: frozenset[ImageKey] = frozenset()
    recovered: dict[ImageKey, ImageInfo] = field(default_factory=dict)
    missing: tuple[ImageRequest, ...] = ()
    spoilt: int = 0


@dataclass(frozen=True, slots=True)
class _PackLayout:
    """Packs of a run, and the failures that it retries; as in RunPlan."""

    packs: list[PlannedPack]
    to_save: tuple[PlannedPack, ...] | None
    fingerprint: str
    retried: frozenset[ImageKey]


def plan_run(params: Download, paths: Paths, failures: Failures) -> RunPlan:
    """Returns what a run will do; changes nothing.

    failures: from the ledger. Raises BadInput where images of another site, a real one,
    would be removed.
    """
    found = inventory.scan(paths)
    posts, problem = _sampled_posts(paths)
    md5s = found.md5s | set(posts["md5"])
    permitted = permissions.check_permissions(paths, md5s, found.post_ids)
    removals = takedowns.plan_removals(params, paths, found, permitted)
    reason = problem or _forbidden_sample(posts, permitted)
    if reason is not None:
        return RunPlan(removals, found.unrecorded, reason)
    planned = _plan_fetch(params, paths, posts, failures, removals)
    return replace(planned, unrecorded=found.unrecorded)


def _plan_fetch(
    params: Download,
    paths: Paths,
    posts: pl.DataFrame,
    failures: Failures,
    removals: Removals,
) -> RunPlan:
    """Returns the plan for a sample whose images may all be fetched."""
    wanted = _image_requests(posts, params)
    fetchable = [one for one in wanted if not is_listed_too_large(one, params)]
    layout = _lay_out_packs(params, paths, fetchable, failures, removals)
    settled = failures.keys() - layout.retried
    open_images = [
        one for pack in layout.packs for one in pack.images if one.key not in settled
    ]
    spooled = _spooled(open_images, removals)
    recovered = _recover(params, paths, spooled, removals)
    missing = [one for one in open_images if one.key not in recovered]
    return RunPlan(
        removals=removals,
        wanted=tuple(wanted),
        packs=tuple(layout.packs),
        to_save=layout.to_save,
        fingerprint=layout.fingerprint,
        retried=layout.retried,
        recovered=recovered,
        missing=tuple(missing),
        spoilt=len(spooled) - len(recovered),
    )


def _sampled_posts(paths: Paths) -> tuple[pl.DataFrame, CorruptFile | None]:
    """Returns the sampled posts; none, and the error, where they cannot be read."""
    try:
        return parquet.read(paths.sample / "posts.parquet"), None
    except CorruptFile as error:
        return pl.DataFrame(schema=_COLUMNS), error


def _forbidden_sample(
    posts: pl.DataFrame, permitted: Permissions
) -> PolicyViolation | None:
    forbidden = posts.filter(~pl.col("md5").is_in(permitted.permitted))
    if forbidden.is_empty():
        return None
    return PolicyViolation(
        f"{forbidden.height:,} sampled posts may not be fetched under the snapshot's "
        f"present state, first {forbidden['post_id'][0]}. Nothing was requested. "
        "Run dvc repro, which samples anew."
    )


def _image_requests(posts: pl.DataFrame, params: Download) -> list[ImageRequest]:
    """Returns the request for each md5, in order of md5."""
    oldest = posts.sort("post_id").select(*_COLUMNS).unique("md5", keep="first")
    return [
        image_request(post_id, md5, ext, width, height, size, params.variant)
        for post_id, md5, ext, width, height, size in oldest.sort("md5").iter_rows()
    ]


def is_listed_too_large(one: ImageRequest, params: Download) -> bool:
    """Returns whether an image is beyond download.max_bytes without a request.

    Other variants than the original are smaller than the listed size.
    """
    return one.variant == "original" and one.file_size > params.max_bytes


def _lay_out_packs(
    params: Download,
    paths: Paths,
    fetchable: list[ImageRequest],
    failures: Failures,
    removals: Removals,
) -> _PackLayout:
    """Returns the packs still to be written.

    They are those of an unfinished run, and those of what it did not plan for. Failures
    that may succeed now are retried, unless their pack is sealed: such a pack stays as
    it is until the saved plan is finished.
    """
    packed = [one for one in removals.retained if one.pack is not None]
    sealed = {one.pack.name for one in packed if one.pack is not None}
    current = fingerprint(fetchable, params)
    resumed = load_plan(plan_path(paths), current, fetchable)
    unfinished: list[PlannedPack] = []
    sealed_keys: set[ImageKey] = set()
    for pack in resumed or ():
        if pack.name in sealed:
            sealed_keys.update(one.key for one in pack.images)
        else:
            unfinished.append(pack)

    retried = _retried(failures, sealed_keys)
    settled = {one.key for one in packed} | (failures.keys() - retried)
    more = _further_packs(params, fetchable, unfinished, settled)
    to_save = None
    if more or resumed is None:
        to_save = (*(resumed or ()), *more)
    return _PackLayout([*unfinished, *more], to_save, current, retried)


def _further_packs(
    params: Download,
    fetchable: list[ImageRequest],
    unfinished: list[PlannedPack],
    settled: set[ImageKey],
) -> list[PlannedPack]:
    """Returns the packs of what is neither settled nor planned in unfinished packs."""
    planned = set(settled)
    for pack in unfinished:
        planned.update(one.key for one in pack.images)
    rest = [one for one in fetchable if one.key not in planned]
    return make_plan(rest, params.pack_images)


def _retried(failures: Failures, sealed: set[ImageKey]) -> frozenset[ImageKey]:
    return frozenset(
        key
        for key, (failure, _) in failures.items()
        if failure not in FINAL and key not in sealed
    )


def _spooled(images: list[ImageRequest], removals: Removals) -> list[ImageRequest]:
    """Returns those of the images that are in the spool."""
    keys = {one.key for one in removals.retained if one.pack is None}
    return [one for one in images if one.key in keys]


def _recover(
    params: Download, paths: Paths, spooled: list[ImageRequest], removals: Removals
) -> dict[ImageKey, ImageInfo]:
    """Returns those of the images of the spool that are whole."""
    records = {
        record.key: record
        for record in spool.records(paths)
        if removals.stays_spooled(record)
    }
    return verify.verify_all_spooled(spooled, records, params.max_pixels)


def log_plan(plan: RunPlan, site: Site) -> None:
    """Logs what will be requested."""
    count = len(plan.missing)
    megabytes = sum(one.file_size for one in plan.missing) / 1e6
    rate = policy.requests_per_second(site)
    duration = "no limit on this machine"
    if rate:
        hours = count / rate / 3600
        duration = f"{hours:,.1f} hours at {rate:g} requests/s"
    progress.log(
        f"download: {count:,} of {len(plan.wanted):,} images to fetch in "
        f"{len(plan.packs):,} packs, one request each, {megabytes:,.0f} MB as "
        f"originals, {duration}"
    )


def make_plan(missing: list[ImageRequest], pack_images: int) -> list[PlannedPack]:
    """Splits the missing images, sorted by md5, into packs of a fixed count."""
    ordered = sorted(missing, key=lambda one: one.md5)
    planned = []
    for start in range(0, len(ordered), pack_images):
        images = tuple(ordered[start : start + pack_images])
        planned.append(PlannedPack(_pack_name(images), images))
    return planned


def load_plan(
    path: Path, fingerprint: str, wanted: list[ImageRequest]
) -> list[PlannedPack] | None:
    """Returns the packs of an unfinished run with the same fingerprint, or None."""
    if not path.exists():
        return None
    by_md5 = {one.md5: one for one in wanted}
    try:
        tree = json.loads(path.read_text())
        if tree["fingerprint"] != fingerprint:
            return None
        return [_planned_pack(name, md5s, by_md5) for name, md5s in tree["packs"]]
    except (ValueError, KeyError, TypeError):
        # A damaged plan is no plan: a new one is made from what is missing.
        return None


def _planned_pack(
    name: str, md5s: list[str], by_md5: dict[str, ImageRequest]
) -> PlannedPack:
    return PlannedPack(name, tuple(by_md5[md5] for md5 in md5s))


def save_plan(path: Path, fingerprint: str, packs: tuple[PlannedPack, ...]) -> None:
    """Saves the packs until the run has ended."""
    entries = []
    for pack in packs:
        md5s = [one.md5 for one in pack.images]
        entries.append([pack.name, md5s])
    tree = {"fingerprint": fingerprint, "packs": entries}
    files.write_text(path, json.dumps(tree))


def plan_path(paths: Paths) -> Path:
    """Returns where the packs of an unfinished run are saved."""
    return paths.work("download") / "plan.json"


def fingerprint(wanted: list[ImageRequest], params: Download) -> str:
    """Returns a hash of the images, variants, limits and the size of packs."""
    limits = [params.pack_images, params.max_bytes, params.max_pixels]
    keys = sorted(one.key for one in wanted)
    return hashlib.sha256(json.dumps([limits, keys]).encode()).hexdigest()


def _pack_name(images: tuple[ImageRequest, ...]) -> str:
    names = " ".join(f"{one.md5}/{one.variant}" for one in images)
    digest = hashlib.sha256(names.encode()).hexdigest()
    return f"pack-{digest[:16]}.parquet"
