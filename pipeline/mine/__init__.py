"""Labels that people should look at again: those that are likely missing or wrong.

Reads       data/model/                            model.keras and training.json
            data/shards/index.parquet              schemas.SHARDS
            data/shards/*.tfrecord                 of every split
            data/manifest/*.parquet                schemas.MANIFEST, schemas.OVERLAY
            data/sample/{vocabulary,excluded_tags}.parquet
            data/snapshot/{posts,tags,aliases,implications}.parquet
Writes      data/mining/proposals.parquet          schemas.PROPOSALS
            data/mining/proposals.csv              the same with `action`, for people
            data/mining/label_noise.parquet        schemas.LABEL_NOISE
Guarantees  only records of the manifest, and no tag that the policy is about; nothing
            that the overlay has a row for; of a tag and what it implies, one proposal.
            Memory grows with records by the labels and the features, not by records
            times tags: those arrays are on disk.

docs/mining.md says how the numbers are got.
"""

import shutil
from pathlib import Path

import polars as pl

from pipeline import files, parquet, progress
from pipeline.data import shards
from pipeline.mine import estimates, histograms, labels, proposals, regression
from pipeline.mine.labels import Labels
from pipeline.mine.network import NetworkOutputs
from pipeline.model import backend, saved
from pipeline.params.mine import Mine
from pipeline.params.site import Site
from pipeline.paths import Paths
from pipeline.schemas.mining import LABEL_NOISE, PROPOSALS


def run(params: Mine, paths: Paths, *, site: Site) -> None:
    """Predicts every record, estimates how noisy each label is, proposes, publishes.

    site: whose pages the proposals link to.
    """
    outputs = predict(paths)
    known = labels.read(params, paths, outputs.post_ids)
    folds = regression.folds_of(known, params.folds, params.seed)
    path = _arrays(paths) / "scores.npy"
    scores = regression.score(outputs.features, known, folds, path)
    counted = histograms.count(scores, known)
    estimated = estimates.estimate(counted, known.vocabulary)
    found = proposals.propose(params, known, scores, counted, estimated)
    rows = proposals.table(found, known, outputs, site)
    noise = estimates.table(estimated, counted, known)
    with files.atomic_folder(paths.mining) as folder:
        parquet.write(folder / "proposals.parquet", rows, PROPOSALS)
        files.write_text(folder / "proposals.csv", _as_csv(rows))
        parquet.write(folder / "label_noise.parquet", noise, LABEL_NOISE)
    shutil.rmtree(_arrays(paths))
    _log(rows, noise, known)


def predict(paths: Paths) -> NetworkOutputs:
    """Returns what the network makes of every record of every split."""
    splits = shards.read_splits(paths)
    found = [splits[name] for name in sorted(splits)]
    shards.require(splits, "train")
    shards.verify(*found)
    model = saved.read(paths, found[0].tags)
    backend.start(model.backend)
    from pipeline.mine import network

    return network.compute(model.network(), found, model.size, _arrays(paths))


def _arrays(paths: Paths) -> Path:
    """Returns the folder of what is as large as records times tags."""
    return paths.work("mine") / "arrays"


def _as_csv(rows: pl.DataFrame) -> str:
    """Returns proposals.csv: chosen rows of it are rows of data/overlay.csv."""
    is_to_remove = pl.col("kind") == proposals.WRONG
    action = pl.when(is_to_remove).then(pl.lit("remove")).otherwise(pl.lit("add"))
    first = ["post_id", "tag", "action", "kind", "probability"]
    return (
        rows.with_columns(action=action).select(*first, pl.exclude(first)).write_csv()
    )


def _log(rows: pl.DataFrame, noise: pl.DataFrame, known: Labels) -> None:
    counts = dict(rows["kind"].value_counts().iter_rows())
    parts = [f"{count:,} {kind}" for kind, count in sorted(counts.items())]
    progress.log(
        f"mine: {rows.height:,} proposals for {known.records.height:,} records: "
        f"{', '.join(parts) or 'none'}"
    )
    mean = noise["missing_share"].mean()
    if isinstance(mean, float):
        progress.log(f"mine: {mean:.1%} of a tag's labels are missing, in the mean")
