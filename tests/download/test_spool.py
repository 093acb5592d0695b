"""The spool: whole records, whatever the disk does."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.download import spool
from pipeline.download.variants import ImageRequest
from pipeline.errors import NoSpace
from pipeline.paths import Paths


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A disk on which a file may have so many bytes: more are cut off."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_record_that_does_not_fit_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    place = spool.Spool(paths)
    images = [ImageRequest(c * 32, 1, "original", "jpg", 1, 1, 9) for c in "abc"]
    first, large, last = images
    place.append("pack", first, b"1" * 5_000)
    with largest_file(8_000), pytest.raises(NoSpace, match="Make room"):
        place.append("pack", large, b"2" * 5_000)
    place.append("pack", last, b"3" * 5_000)
    place.close()
    found = spool.records(paths)
    assert [record.md5 for record in found] == [first.md5, last.md5]
    assert spool.read_bytes(found[1]) == b"3" * 5_000
