"""Writes one shard: the unit of work that a local process or a Dask worker does.

And does again without harm.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline import files, packs
from pipeline.params import Shard
from pipeline.schemas.reasons import DownloadFailure
from pipeline.shard import tfrecord
from pipeline.shard.fit import Undecodable, fit

FORMAT = 1  # version of the records' form; raise it when their bytes change


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the manifest, as far as a shard needs it."""

    post_id: int
    md5: str
    variant: str
    pack: str
    label_ids: tuple[int, ...]


@dataclass(frozen=True)
class ShardJob:
    """One shard to write: its records in order, and where everything lies."""

    name: str
    split: str
    records: tuple[Record, ...]
    params: Shard
    images: Path
    shards: Path
    work: Path

    @property
    def path(self) -> Path:
        """Where the shard lies."""
        return self.shards / self.name

    @property
    def note(self) -> Path:
        """What is remembered of a finished shard, outside the output."""
        return self.work / f"{self.name}.json"

    @cached_property
    def fingerprint(self) -> str:
        """What the shard's bytes depend on: records, form and decoder.

        Packs may be cut anew without effect.
        """
        records = [
            (record.post_id, record.md5, record.variant, record.label_ids)
            for record in self.records
        ]
        form = self.params.model_dump(mode="json", include={"size", "fit", "quality"})
        basis = json.dumps([FORMAT, version("pillow"), form, records], sort_keys=True)
        return hashlib.sha256(basis.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What a job left: the file's facts and rows of schemas.REJECTED."""

    name: str
    bytes: int
    sha256: str
    rejected: list[dict[str, Any]]


def write_shard(job: ShardJob) -> ShardResult:
    """Writes the shard and its note; raises CorruptFile where a pack cannot be read."""
    reader = packs.PackReader(job.images)
    # Packs are opened one after the other; the pictures wait, fitted, until all are
    # there and can be put in order.
    fitted: dict[str, bytes | Undecodable] = {}
    for record in sorted(job.records, key=lambda record: (record.pack, record.md5)):
        try:
            fitted[record.md5] = fit(reader.bytes(record.pack, record.md5), job.params)
        except Undecodable as error:
            fitted[record.md5] = error
    digest, size, rejected = hashlib.sha256(), 0, []
    with (
        files.open_atomic(job.path, shared=True) as temporary,
        temporary.open("wb") as file,
    ):
        for record in job.records:
            jpeg = fitted[record.md5]
            if isinstance(jpeg, Undecodable):
                rejected.append(_rejection(job, record, str(jpeg)))
                continue
            content = tfrecord.frame(_example(record, jpeg))
            file.write(content)
            digest.update(content)
            size += len(content)
    written = ShardResult(job.name, size, digest.hexdigest(), rejected)
    with files.open_atomic(job.note, shared=True) as temporary:
        temporary.write_text(
            json.dumps(
                {"fingerprint": job.fingerprint, **asdict(written)}, sort_keys=True
            )
        )
    return written


def _example(record: Record, jpeg: bytes) -> bytes:
    return tfrecord.example(
        {
            "post_id": [record.post_id],
            "md5": record.md5.encode(),
            "labels": record.label_ids,
            "jpeg": jpeg,
        }
    )


def _rejection(job: ShardJob, record: Record, detail: str) -> dict[str, Any]:
    return {
        "post_id": record.post_id,
        "md5": record.md5,
        "split": job.split,
        "reason": DownloadFailure.BROKEN_PICTURE.value,
        "detail": detail,
    }
