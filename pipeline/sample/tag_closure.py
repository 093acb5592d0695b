"""Tags of posts closed over implications, as a sparse product.

Posts by tags, times tags by what they imply to any depth: the product holds each tag of
a post once, and marks which tags were given.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.tag_graph import ImplicationIndex

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# More than the tags of one post that can imply a tag.
GIVEN = 1 << 16


def closure_matrix(closure: ImplicationIndex, codes: int) -> "csr_array":
    """Returns [codes, codes]: GIVEN on the diagonal, 1 where a tag implies another."""
    from scipy.sparse import csr_array

    others = np.full(codes + 1 - len(closure.starts), closure.starts[-1])
    lengths = np.diff(closure.starts, append=others)
    starts = np.concatenate([[0], np.cumsum(lengths + 1)])
    is_itself = np.zeros(starts[-1], dtype=bool)
    is_itself[starts[:-1]] = True
    columns = np.empty(len(is_itself), dtype=np.int32)
    columns[is_itself] = np.arange(codes)
    columns[~is_itself] = closure.codes
    values = np.where(is_itself, GIVEN, 1).astype(np.int32)
    entries = (values, columns, starts.astype(np.int32))
    return csr_array(entries, shape=(codes, codes))


def close_tags(
    starts: NDArray[np.int64], codes: NDArray[np.int64], closure: "csr_array"
) -> "csr_array":
    """Returns the closed tags of posts as a matrix [posts, codes].

    At least GIVEN where given, else smaller. Post n has codes[starts[n] : starts[n +
    1]]; closure: see `closure_matrix`.
    """
    from scipy.sparse import csr_array

    ones = np.ones(len(codes), dtype=np.int32)
    entries = (ones, codes.astype(np.int32), starts.astype(np.int32))
    tagged = csr_array(entries, shape=(len(starts) - 1, closure.shape[0]))
    return tagged @ closure
