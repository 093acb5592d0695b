"""Image packs: a few big Parquet files of pictures as they were served, keyed by md5 (schemas.PACK).

A row group holds one picture, so that a reader fetches any picture without its neighbours; page checksums tell a
damaged file from a good one.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import files, parquet
from pipeline.errors import BadInput
from pipeline.parquet import corrupt_file_error
from pipeline.schemas.images import PACK, TAKEDOWNS

FACTS = ["md5", "post_id", "variant", "format", "width", "height"]
"""Columns of a pack besides the bytes."""

WRITE_BUFFER = (
    4 << 20
)  # bytes written to a pack at once; no trace of it is left in the file


@dataclass(frozen=True, slots=True)
class PackedImage:
    """One picture as it was served. `format` is read from the bytes: jpeg, png or webp; sizes are pixels."""

    md5: str
    post_id: int
    variant: str
    bytes: bytes
    format: str
    width: int
    height: int


def pack_files(folder: Path) -> list[Path]:
    """Returns the packs of a folder, sorted by name."""
    return sorted(folder.glob("pack-*.parquet"))


def write(path: Path, pictures: Iterable[PackedImage]) -> None:
    """Writes one pack; the pictures come in order of md5 and are held a few at a time. Flushed to disk when complete.

    Nothing is compressed: pictures are already, and a row of the other columns is smaller without. 0.13 ms for a
    picture of 100 kB; one at a time, through unbuffered writes and with compressors, it took 0.25 ms.
    """
    with (
        files.open_atomic(path) as temporary,
        pa.output_stream(str(temporary), buffer_size=WRITE_BUFFER) as sink,
        pq.ParquetWriter(
            sink,
            PACK,
            compression="NONE",
            use_dictionary=False,
            write_page_checksum=True,
            write_statistics=["md5"],
        ) as writer,
    ):
        for some in _together(pictures):
            rows = [
                {name: getattr(picture, name) for name in PACK.names}
                for picture in some
            ]
            writer.write_table(parquet.cast(rows, PACK), row_group_size=1)


def _together(pictures: Iterable[PackedImage]) -> Iterator[list[PackedImage]]:
    """Yields the pictures in lists of WRITE_BUFFER bytes or one picture, whichever is more."""
    some: list[PackedImage] = []
    size = 0
    for picture in pictures:
        some.append(picture)
        size += len(picture.bytes)
        if size >= WRITE_BUFFER:
            yield some
            some, size = [], 0
    if some:
        yield some


def index(folder: Path) -> pl.DataFrame:
    """Returns md5, post_id, variant, format, width, height and pack (file name) of every picture, ordered by md5."""
    frames = [_facts(path) for path in pack_files(folder)]
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


def read_images(path: Path) -> Iterator[PackedImage]:
    """Yields the pictures of one pack, in order of md5, checking every page; raises CorruptFile."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        for group in range(file.num_row_groups):
            yield from (
                PackedImage(**row) for row in file.read_row_group(group).to_pylist()
            )
    except (pa.ArrowInvalid, OSError) as error:
        raise corrupt_file_error(path, error) from error


class PackReader:
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
                self._file = pq.ParquetFile(
                    pa.memory_map(str(path)), page_checksum_verification=True
                )
                self._rows = {
                    name: row
                    for row, name in enumerate(
                        self._file.read(columns=["md5"])["md5"].to_pylist()
                    )
                }
                self._name = pack
            return bytes(
                self._file.read_row_group(self._rows[md5], columns=["bytes"])["bytes"][
                    0
                ].as_py()
            )
        except (pa.ArrowInvalid, OSError) as error:
            raise corrupt_file_error(path, error) from error
        except KeyError as error:
            raise corrupt_file_error(
                path, ValueError(f"picture {md5} is not in it")
            ) from error


def verify(
    path: Path, see: Callable[[PackedImage], object] = lambda _: None
) -> str | None:
    """Returns what is wrong with a pack, reading all of it, or null. Shows each sound picture to `see` on the way.

    Raises what says nothing about the pack, such as no permission, no memory or too many open files: who would remove
    a damaged pack must not remove that one.
    """
    try:
        previous = ""
        for picture in read_images(path):
            if picture.md5 <= previous:
                return f"md5 {picture.md5} is out of order"
            previous = picture.md5
            see(picture)
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes the reader raise, the answer is the same
        cause = error.__cause__ or error
        if (
            isinstance(cause, OSError) and cause.errno is not None
        ):  # the system's word, not the reader's
            raise cause from error
        return " ".join(str(error.__cause__ or error).split())[:200]
    return None


@dataclass(frozen=True, slots=True)
class PackAudit:
    """What `audit` found. A problem is one line: what is wrong with which pack or picture."""

    packs: int
    pictures: int  # sound ones
    unlisted: int  # those of them that outcomes.parquet does not speak of: kept from an earlier sample
    problems: tuple[str, ...]


def audit(folder: Path) -> PackAudit:
    """Reads every pack in full and compares what is there with what outcomes.parquet says is kept.

    Raises BadInput where there is nothing to read. Pictures that were taken down since are no problem.
    """
    if not pack_files(folder) and not (folder / "outcomes.parquet").exists():
        raise BadInput(
            f"there are no packs in {folder}. Run from the folder that holds dvc.yaml, or run dvc repro download first."
        )
    problems, damaged_packs = [], set()
    where: dict[tuple[str, str], str] = {}
    for path in pack_files(folder):

        def see(picture: PackedImage, pack: str = path.name) -> None:
            where[picture.md5, picture.variant] = pack

        if problem := verify(path, see):
            damaged_packs.add(path.name)
            problems.append(f"{path}: {problem}")
    outcomes, taken = _outcomes(folder), set(_takedowns(folder)["md5"])
    # What a damaged pack held is not told one by one: its one line says it all.
    here = {key: pack for key, pack in where.items() if pack not in damaged_packs}
    for md5, (variant, outcome, pack, _) in sorted(outcomes.items()):
        found = here.get((md5, variant))
        if (
            outcome == "kept"
            and found != pack
            and pack not in damaged_packs
            and md5 not in taken
        ):
            problems.append(
                f"{md5}: outcomes.parquet says that its {variant} is in {pack}, where it is not"
            )
        if outcome != "kept" and found:
            problems.append(
                f"{md5}: outcomes.parquet says {outcome}, but its {variant} is in {found}"
            )
    unlisted = sum(outcomes.get(md5, ("",))[0] != variant for md5, variant in here)
    return PackAudit(len(pack_files(folder)), len(where), unlisted, tuple(problems))


def get(folder: Path, md5: str) -> PackedImage:
    """Returns a picture by its md5; raises BadInput saying what became of it where no pack holds it."""
    rows = index(folder).filter(pl.col("md5") == md5)
    variant, outcome, _, detail = _outcomes(folder).get(md5, (None, None, None, None))
    if not rows.height:
        told = (
            f"outcomes.parquet says: {outcome}{f', {detail}' if detail else ''}"
            if outcome
            else "nobody asked for it"
        )
        raise BadInput(
            f"{md5} is in none of the packs of {folder}: {told}.{_takedown(folder, md5)}"
        )
    row = next(
        (row for row in rows.iter_rows(named=True) if row["variant"] == variant),
        rows.row(0, named=True),
    )
    return PackedImage(
        bytes=PackReader(folder).bytes(row["pack"], md5),
        **{name: row[name] for name in FACTS},
    )


def _outcomes(folder: Path) -> dict[str, tuple[str, str, str | None, str | None]]:
    """Returns variant, outcome, pack and detail by md5; empty where no run has ended yet."""
    path = folder / "outcomes.parquet"
    return (
        {md5: tuple(rest) for md5, *rest in parquet.read(path).iter_rows()}
        if path.exists()
        else {}
    )


def _takedowns(folder: Path) -> pl.DataFrame:
    path = folder / "takedowns.parquet"
    return parquet.read(path) if path.exists() else parquet.frame([], TAKEDOWNS)


def _takedown(folder: Path, md5: str) -> str:
    rows = _takedowns(folder).filter(pl.col("md5") == md5)
    return (
        f" It was taken down: {rows['reason'][0]}, as of {rows['snapshot'][0]}."
        if rows.height
        else ""
    )


def _facts(path: Path) -> pl.DataFrame:
    try:
        # Not pq.read_table: it imports pandas, and takes twelve times as long over thousands of small row groups.
        table = (
            pq.ParquetFile(path, pre_buffer=True).read(columns=FACTS).combine_chunks()
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise corrupt_file_error(path, error) from error
    frame = pl.from_arrow(table)
    return frame.with_columns(pack=pl.lit(path.name))  # type: ignore[union-attr]
