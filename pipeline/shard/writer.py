"""Writes one shard: the unit of work of a local process or a Dask worker.

Writing a shard again does no harm.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from e6tag import images
from e6tag.images import Undecodable
from pipeline import files, packs, progress
from pipeline.params.shard import Shard
from pipeline.schemas.reasons import DownloadFailure
from pipeline.shard import tfrecord

FORMAT = 2  # version of the records' form; raise it when their bytes change


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
        """Where the shard is written."""
        return self.shards / self.name

    @property
    def note(self) -> Path:
        """What is recorded of a finished shard, outside the output."""
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
    fitted = _fit_images(job)
    rejected = []
    digest = hashlib.sha256()
    size = 0
    with (
        files.open_atomic(job.path, shared=True) as temporary,
        temporary.open("wb") as file,
    ):
        for record in job.records:
            jpeg = fitted[record.md5]
            if isinstance(jpeg, Undecodable):
                rejected.append(_rejection(job, record, jpeg.damage.value))
                continue
            content = tfrecord.frame(_example(record, jpeg))
            file.write(content)
            digest.update(content)
            size += len(content)
    written = ShardResult(job.name, size, digest.hexdigest(), rejected)
    note = {"fingerprint": job.fingerprint, **asdict(written)}
    with files.open_atomic(job.note, shared=True) as temporary:
        temporary.write_text(json.dumps(note, sort_keys=True))
    return written


def _fit_images(job: ShardJob) -> dict[str, bytes | Undecodable]:
    """Returns the JPEG of every record by md5, or why it cannot be decoded.

    Packs are opened one after the other. The JPEGs stay in memory until all are there
    and can be put in the order of the shard.
    """
    reader = packs.PackReader(job.images)
    params = job.params
    fitted: dict[str, bytes | Undecodable] = {}
    for record in sorted(job.records, key=lambda record: (record.pack, record.md5)):
        body = reader.bytes(record.pack, record.md5)
        try:
            fitted[record.md5] = images.fit_jpeg(
                body, size=params.size, fit=params.fit, quality=params.quality
            )
        except Undecodable as error:
            progress.log_undecodable("shard", record.md5, error)
            fitted[record.md5] = error
    return fitted


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
        "reason": DownloadFailure.BROKEN_IMAGE.value,
        "detail": detail,
    }
