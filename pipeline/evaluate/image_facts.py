"""What is known of an image beside its labels, for slices and the informed baseline."""

import numpy as np
import polars as pl

from pipeline import parquet
from pipeline.errors import BadInput
from pipeline.paths import Paths

COLUMNS = ("post_id", "rating", "created_at", "width", "height")
"""Of the manifest."""

DARK = 32  # of 255: below it in red, green and blue, a pixel is almost black
NEAR_BLACK = 0.8  # share of such pixels from which an image is near-black


def read(paths: Paths, split: str, post_ids: np.ndarray) -> pl.DataFrame:
    """Returns COLUMNS of the images, in their order; raises BadInput.

    That is where the manifest lacks an image that the shards have.
    """
    manifest = parquet.read(paths.manifest / f"{split}.parquet", columns=list(COLUMNS))
    wanted = pl.DataFrame({"post_id": post_ids}, schema={"post_id": pl.Int64})
    found = wanted.join(manifest, on="post_id", how="left", maintain_order="left")
    lacking = int(found["rating"].null_count())
    if lacking:
        raise BadInput(
            f"data/manifest/{split}.parquet lacks {lacking:,} of the {len(post_ids):,} "
            "posts of the shards. Run dvc repro, which makes the shards anew."
        )
    return found


def dark_shares(images: np.ndarray) -> np.ndarray:
    """Returns the share of almost black pixels, float64 [n].

    images: uint8 [n, height, width, 3]. Borders that `shard.fit: pad` adds are counted
    as pixels that are not black: see `of_the_image`.
    """
    is_dark = images.max(axis=-1) < DARK
    return np.asarray(is_dark.mean(axis=(1, 2)))


def of_the_image(shares: np.ndarray, facts: pl.DataFrame, fit: str) -> np.ndarray:
    """Returns shares of the pixels of the images themselves, without the borders.

    shares: of the squares that the network looks at; fit: `shard.fit`.
    """
    if fit != "pad":
        return shares
    sides = facts.select("width", "height")
    narrow = sides.min_horizontal().to_numpy() / sides.max_horizontal().to_numpy()
    return np.minimum(shares / narrow, 1.0)
