"""Ratings: a linear model on the embedding, since a network of tags does not know them.

A logistic regression (scikit-learn, L2) on the embeddings of training images to the
site's ratings. Import only after `backend.start`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipeline import parquet, progress
from pipeline.data import loader
from pipeline.data.shards import Split
from pipeline.export.graphs import Ratings
from pipeline.model import embeddings
from pipeline.paths import Paths

if TYPE_CHECKING:
    import keras

NAMES = {"s": "general", "q": "questionable", "e": "explicit"}
"""What the WD taggers call the site's ratings. `sensitive` has no counterpart."""

# Their embeddings are computed again. With 5,000 the coefficients of some hundred
# channels are known, with 2,000 the accuracy within 0.02.
TRAIN_IMAGES = 5_000
TEST_IMAGES = 2_000
_BATCH = 32  # images; bounds memory only


@dataclass(frozen=True, slots=True)
class RatingModel:
    """What was fitted.

    counts: training images by name of the rating, in the order of the model's outputs.
    accuracy: on test images; most_common: that of always the most common rating.
    """

    model: Ratings
    counts: dict[str, int]
    images: int  # of the test split
    accuracy: float
    most_common: float


def fit(
    network: "keras.Model", size: int, train: Split, test: Split, paths: Paths
) -> RatingModel | None:
    """Returns the model; None where the training images have one rating alone.

    size: pixels, the network's input. Of a large split, only the first TRAIN_IMAGES are
    looked at.
    """
    rating_of = _ratings(paths, "train")
    if len(set(rating_of.values())) < 2:
        return None
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    pooled = embeddings.pooled(network)
    features, ratings = _embed(pooled, size, train, rating_of, TRAIN_IMAGES)
    known = [rating for rating in NAMES if rating in set(ratings)]
    if len(known) < 2:
        return None
    scaler = StandardScaler().fit(features)
    regression = LogisticRegression(max_iter=1_000)
    regression.fit(scaler.transform(features), ratings)
    model = _unscaled(regression, scaler, known)
    given = list(rating_of.values())
    counts = {NAMES[rating]: given.count(rating) for rating in known}
    of_test = _embed(pooled, size, test, _ratings(paths, "test"), TEST_IMAGES)
    fitted = _evaluated(model, counts, *of_test)
    progress.log(
        f"export: ratings of {fitted.images:,} test images: accuracy "
        f"{fitted.accuracy:.4f}, always the most common {fitted.most_common:.4f}"
    )
    return fitted


def _evaluated(
    model: Ratings, counts: dict[str, int], features: np.ndarray, ratings: np.ndarray
) -> RatingModel:
    """Returns the model with its accuracy on the embeddings and ratings of a split."""
    logits = features @ model.weights + model.bias
    predicted = np.array(list(counts))[logits.argmax(axis=1)]
    expected = np.array([NAMES[rating] for rating in ratings])
    most_common = max(counts, key=lambda name: counts[name])
    return RatingModel(
        model=model,
        counts=counts,
        images=len(expected),
        accuracy=float((predicted == expected).mean()),
        most_common=float((expected == most_common).mean()),
    )


def _ratings(paths: Paths, split: str) -> dict[int, str]:
    """Returns the site's rating by post id, of the images in the shards."""
    columns = ["post_id", "rating"]
    manifest = parquet.read(paths.manifest / f"{split}.parquet", columns=columns)
    rejected = paths.shards / "rejected.parquet"
    lost = parquet.read(rejected, columns=["post_id"])["post_id"]
    known = manifest.filter(
        pl.col("rating").is_in(list(NAMES)), ~pl.col("post_id").is_in(lost.to_list())
    )
    return dict(known.iter_rows())


def _embed(
    pooled: "keras.Model",
    size: int,
    split: Split,
    rating_of: dict[int, str],
    most: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns embeddings, float32 [n, D], and ratings of the first records.

    pooled: embeddings.pooled. most: records, but for a batch that goes beyond.
    """
    features, ratings = [], []
    total = 0
    for batch in loader.batches(split, size, _BATCH):
        features.append(np.asarray(pooled.predict_on_batch(batch.images)))
        ratings += [rating_of[post_id] for post_id in batch.post_ids.tolist()]
        total += len(batch.md5s)
        if total >= most:
            break
    return np.concatenate(features), np.array(ratings)


def _unscaled(regression: object, scaler: object, known: list[str]) -> Ratings:
    """Returns the regression as a function of embeddings that are not standardised.

    Of two classes scikit-learn has the weights of the second alone.
    """
    weights = regression.coef_.T / scaler.scale_[:, None]  # type: ignore[attr-defined]
    bias = regression.intercept_ - scaler.mean_ @ weights  # type: ignore[attr-defined]
    if weights.shape[1] == 1:
        weights = np.hstack([np.zeros_like(weights), weights])
        bias = np.hstack([np.zeros(1), bias])
    classes = list(regression.classes_)  # type: ignore[attr-defined]
    order = [classes.index(rating) for rating in known]
    return Ratings(
        weights=np.ascontiguousarray(weights[:, order], np.float32),
        bias=np.asarray(bias[order], np.float32),
    )
