"""Cover: few posts that give every tag its positives in every split.

Tags are served from the rarest up, and each takes the posts that serve the most other open tags too. A plain greedy
cover would fill the sample with posts of very many tags, which look unlike the board; a post's worth is therefore
counted only up to the 75th percentile of tags per post.
"""

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.params import Sample

EVALUATED = ("validation", "test")
ROUNDS = 8  # a tag's missing positives are taken in so many steps, worths being counted anew after each


def select(params: Sample, records: pl.DataFrame, tags: int) -> pl.DataFrame:
    """Returns the chosen rows of `records`, ordered by post_id.

    records: post_id, split, label_ids (ids below `tags`). Every tag reaches its positives plus params.reserve wherever
    the split has them; all of `fresh` is chosen. If params.size asks for more posts, the rest follows the natural
    distribution: posts in an order that only the seed and their ids decide.
    """
    wanted = {"train": params.min_positives, **dict.fromkeys(EVALUATED, params.min_eval_positives)}
    chosen = records.filter(pl.col("split") == "fresh")["post_id"].to_list()
    for split, positives in wanted.items():
        part = records.filter(pl.col("split") == split)
        target = int(np.ceil(positives * (1 + params.reserve)))
        order = _order(part["post_id"].to_list(), params.seed)
        rows = cover(incidence(part["label_ids"].to_list(), tags), target, order)
        chosen += part["post_id"].gather(rows).to_list()
    chosen += _fill(params, records, set(chosen))
    return records.filter(pl.col("post_id").is_in(chosen)).sort("post_id")


def cover(incidence: csr_array, target: int, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns ascending row numbers that give each column `target` ones, or all it has where that is fewer.

    incidence: [posts, tags], ones where a post has a tag. order: [posts], ties go to the smaller.
    """
    by_tag = incidence.tocsc()
    available = np.asarray(incidence.sum(axis=0)).ravel()
    missing = np.minimum(available, target)
    taken = np.zeros(incidence.shape[0], dtype=bool)
    cap = _cap(incidence)
    for tag in np.argsort(available, kind="stable"):
        posts = by_tag.indices[by_tag.indptr[tag] : by_tag.indptr[tag + 1]]
        while missing[tag] > 0:
            free = posts[~taken[posts]]
            worth = np.minimum(incidence[free] @ (missing > 0).astype(np.int64), cap)
            step = max(1, -(-int(missing[tag]) // ROUNDS))
            best = free[np.lexsort((order[free], -worth))[:step]]
            taken[best] = True
            gained = np.asarray(incidence[best].sum(axis=0)).ravel()
            missing = np.maximum(missing - gained, 0)
    return np.flatnonzero(taken)


def incidence(label_ids: list[list[int]], tags: int) -> csr_array:
    """Returns the [posts, tags] matrix of ones for lists of label ids."""
    lengths = np.array([len(ids) for ids in label_ids], dtype=np.int64)
    indices = np.fromiter((one for ids in label_ids for one in ids), dtype=np.int64, count=int(lengths.sum()))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return csr_array((np.ones(len(indices), dtype=np.int64), indices, starts), shape=(len(label_ids), tags))


def _cap(incidence: csr_array) -> int:
    per_post = np.diff(incidence.indptr)
    return max(1, int(np.percentile(per_post, 75))) if len(per_post) else 1


def _fill(params: Sample, records: pl.DataFrame, chosen: set[int]) -> list[int]:
    if params.size is None or params.size <= len(chosen):
        return []
    rest = [post for post in records["post_id"].to_list() if post not in chosen]
    order = _order(rest, params.seed)
    return [rest[row] for row in np.argsort(order, kind="stable")[: params.size - len(chosen)]]


def _order(post_ids: list[int], seed: int) -> NDArray[np.int64]:
    """Returns a place per post that depends on its id and the seed alone, so that it survives the board's growth."""
    digests = (hashlib.blake2b(f"{seed}/{post}".encode(), digest_size=8).digest() for post in post_ids)
    return np.array([int.from_bytes(digest, "big") >> 1 for digest in digests], dtype=np.int64)
