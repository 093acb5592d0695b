"""Which tags are predicted where a tag is missed: confused_with of per_tag.parquet."""

import numpy as np
from scipy.sparse import csr_array

from pipeline.metrics.thresholded import Counts

MOST = 3  # tags named
FEWEST = 2  # images that a confusion is seen in
_TAGS_AT_ONCE = 256  # bounds memory only


def confused_tags(counts: Counts) -> list[list[int]]:
    """Returns, per tag, the tags that are predicted wrongly where it is missed.

    At most MOST, those first that are so on the most images beyond what chance gives.
    """
    missed = _nonzero(counts.true - counts.hits)
    wrong = _nonzero(counts.predicted - counts.hits)
    tags, images = missed.shape
    wrong_share = np.asarray(wrong.sum(axis=1, dtype=np.int64)) / max(1, images)
    by_image = csr_array(wrong.T, dtype=np.int32)
    confused = []
    for start in range(0, tags, _TAGS_AT_ONCE):
        some = csr_array(missed[start : start + _TAGS_AT_ONCE], dtype=np.int32)
        confused += _of_some(some, by_image, wrong_share)
    return confused


def _nonzero(pairs: csr_array) -> csr_array:
    kept = csr_array(pairs)
    kept.eliminate_zeros()
    return kept


def _of_some(
    missed: csr_array, wrong: csr_array, wrong_share: np.ndarray
) -> list[list[int]]:
    """Returns the confused tags of some. missed: [some, images]; wrong: [images, tags].

    wrong_share: share of all images on which each tag is predicted wrongly.
    """
    together = csr_array(missed @ wrong)
    totals = np.asarray(missed.sum(axis=1, dtype=np.int64))
    confused = []
    for row, total in enumerate(totals.tolist()):
        place = slice(*together.indptr[row : row + 2])
        tags, seen = together.indices[place], together.data[place]
        confused.append(_most(tags, seen, total * wrong_share[tags]))
    return confused


def _most(tags: np.ndarray, seen: np.ndarray, expected: np.ndarray) -> list[int]:
    """Returns the tags that are seen most beyond what is expected."""
    is_frequent = (seen >= FEWEST) & (seen > expected)
    tags, excess = tags[is_frequent], (seen - expected)[is_frequent]
    order = np.lexsort((tags, -excess))[:MOST]
    return [int(tag) for tag in tags[order]]
