"""Matrices of a split that live on disk while the stage runs.

Of 50,000 images and 8,000 tags, the scores are 1.6 GB. float32, and not half of it as
float16: published scores, thresholds and the bundle's scores must be the same numbers,
and float16 has no number between 0.9995 and 1, where many images of a sure model lie.
"""

import mmap
import os
import tempfile
from pathlib import Path

import numpy as np


def new(folder: Path, tags: int, images: int) -> np.ndarray:
    """Returns a float32 matrix [tags, images] on the disk of a folder.

    Its file has no name: it is gone with the process, however that ends. Raises OSError
    where the disk is full.
    """
    size = tags * images * np.dtype(np.float32).itemsize
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        # Now, and not as a signal that ends the process at the first write.
        os.posix_fallocate(file.fileno(), 0, max(size, 1))
        mapped = mmap.mmap(file.fileno(), max(size, 1))
    flat = np.frombuffer(mapped, np.float32, count=tags * images)
    return flat.reshape(tags, images)
