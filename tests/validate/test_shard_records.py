"""The gates' own reader of shards."""

from pathlib import Path

import pytest

from pipeline.shard import tfrecord
from pipeline.validate.shard_records import Damaged, identities
from tests.builders.posts import md5


def frame(post_id: int) -> bytes:
    """Returns a record as the stage `shard` writes it."""
    features = {
        "post_id": [post_id],
        "md5": md5(post_id).encode(),
        "labels": [1, 2],
        "jpeg": b"\xff\xd8\xff" * 100,
    }
    return tfrecord.frame(tfrecord.example(features))


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return tmp_path / "shard.tfrecord"


# The largest number takes ten bytes: the longest that the format has.
@pytest.mark.parametrize("post_id", [0, 1, 127, 128, 300, 4_210_337, 2**63 - 1])
def test_numbers_of_all_lengths_are_read(shard: Path, post_id: int) -> None:
    shard.write_bytes(frame(post_id))

    assert list(identities(shard)) == [(post_id, md5(post_id))]


def test_all_records_are_read_in_their_order(shard: Path) -> None:
    shard.write_bytes(frame(3) + frame(1) + frame(2))

    assert [post_id for post_id, _ in identities(shard)] == [3, 1, 2]


def test_an_empty_file_has_no_records(shard: Path) -> None:
    shard.write_bytes(b"")

    assert list(identities(shard)) == []


def test_every_cut_within_a_record_is_noticed(shard: Path) -> None:
    content = frame(1)
    for length in range(1, len(content)):
        shard.write_bytes(content[:length])
        with pytest.raises(Damaged, match="cut short"):
            list(identities(shard))


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff", id="ends within a number"),
        pytest.param(b"\x0d\x00\x00\x00\x00", id="wire type that an Example lacks"),
        pytest.param(b"\x0a\x05\x00", id="field longer than the record"),
        pytest.param(tfrecord.example({"md5": b"0"}), id="without post_id"),
        pytest.param(tfrecord.example({"post_id": [1]}), id="without md5"),
        pytest.param(tfrecord.example({"post_id": [], "md5": b"0"}), id="no number"),
    ],
)
def test_a_record_that_is_no_example_is_damaged(shard: Path, record: bytes) -> None:
    shard.write_bytes(tfrecord.frame(record))
    with pytest.raises(Damaged):
        list(identities(shard))
