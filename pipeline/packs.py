"""Image packs: a few big Parquet files of pictures as they were served, keyed by md5 (schemas.PACK).

A row group holds one picture, so that a reader fetches any picture without its neighbours; page checksums tell a
damaged file from a good one.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import atomic, schemas
from pipeline.parquet import damaged

FACTS = ["md5", "post_id", "variant", "format", "width", "height"]
"""Columns of a pack besides the bytes."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as it was served. `format` is read from the bytes: jpeg, png or webp; sizes are pixels."""

    md5: str
    post_id: int
    variant: str
    bytes: bytes
    format: str
    width: int
    height: int


def files(folder: Path) -> list[Path]:
    """Returns the packs of a folder, sorted by name."""
    return sorted(folder.glob("pack-*.parquet"))


def write(path: Path, pictures: Iterable[Picture]) -> None:
    """Writes one pack; the pictures come in order of md5 and are held one at a time."""
    with (
        atomic.writing(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schemas.PACK,
            compression={name: "NONE" if name == "bytes" else "ZSTD" for name in schemas.PACK.names},
            use_dictionary=False,
            write_page_checksum=True,
            write_statistics=["md5"],
        ) as writer,
    ):
        for picture in pictures:
            columns = [[getattr(picture, name)] for name in schemas.PACK.names]
            writer.write_batch(pa.record_batch(columns, schema=schemas.PACK), row_group_size=1)


def index(folder: Path) -> pl.DataFrame:
    """Returns md5, post_id, variant, format, width, height and pack (file name) of every picture, ordered by md5."""
    frames = [_facts(path) for path in files(folder)]
    empty = pl.DataFrame(
        schema={
            **dict.fromkeys(("md5", "variant", "format", "pack"), pl.String),
            "post_id": pl.Int64,
            "width": pl.Int32,
            "height": pl.Int32,
        }
    )
    columns = [*FACTS, "pack"]
    return pl.concat([empty.select(columns), *frames]).sort("md5")


def pictures(path: Path) -> Iterator[Picture]:
    """Yields the pictures of one pack, in order of md5, checking every page; raises CorruptFile."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        for group in range(file.num_row_groups):
            yield from (Picture(**row) for row in file.read_row_group(group).to_pylist())
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(path, error) from error


class Reader:
    """Random access to the pictures of a folder. Holds one open pack at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name: str | None = None
        self._file: pq.ParquetFile | None = None
        self._rows: dict[str, int] = {}

    def bytes(self, pack: str, md5: str) -> bytes:
        """Returns the stored bytes of a picture; raises CorruptFile where the pack is damaged or lacks it."""
        path = self._folder / pack
        try:
            if pack != self._name or self._file is None:
                # Opened from memory-mapped bytes: thousands of row groups make seeks through a buffered file slow.
                self._file = pq.ParquetFile(pa.memory_map(str(path)), page_checksum_verification=True)
                self._rows = {name: row for row, name in enumerate(self._file.read(columns=["md5"])["md5"].to_pylist())}
                self._name = pack
            return bytes(self._file.read_row_group(self._rows[md5], columns=["bytes"])["bytes"][0].as_py())
        except (pa.ArrowInvalid, OSError) as error:
            raise damaged(path, error) from error
        except KeyError as error:
            raise damaged(path, ValueError(f"picture {md5} is not in it")) from error


def verify(path: Path) -> str | None:
    """Returns what is wrong with a pack, reading all of it, or null."""
    try:
        previous = ""
        for picture in pictures(path):
            if picture.md5 <= previous:
                return f"md5 {picture.md5} is out of order"
            previous = picture.md5
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes the reader raise, the answer is the same
        return " ".join(str(error.__cause__ or error).split())[:200]
    return None


def _facts(path: Path) -> pl.DataFrame:
    try:
        table = pq.read_table(io.BytesIO(path.read_bytes()) if path.stat().st_size < 1 << 16 else path, columns=FACTS)
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(path, error) from error
    frame = pl.from_arrow(table)
    return frame.with_columns(pack=pl.lit(path.name))  # type: ignore[union-attr]
