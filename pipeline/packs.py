"""Image packs: a few big Parquet files of images as they were served, keyed by md5.

The schema is schemas.images.PACK. A row group holds one image, so that a reader fetches
any image without its neighbours; page checksums tell a damaged file from a good one.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import files, parquet
from pipeline.errors import BadInput, NoPermission, OutOfResources
from pipeline.parquet import corrupt_file_error
from pipeline.schemas.images import PACK, TAKEDOWNS
from pipeline.schemas.reasons import KEPT

FACTS = ["md5", "post_id", "variant", "format", "width", "height"]
"""Columns of a pack besides the bytes."""

INDEX_TYPES = {
    "md5": pl.String,
    "post_id": pl.Int64,
    "variant": pl.String,
    "format": pl.String,
    "width": pl.Int32,
    "height": pl.Int32,
    "pack": pl.String,
}
"""Columns of `index`: those above, and the pack's file name."""

# bytes written to a pack at once; no trace of it is left in the file
WRITE_BUFFER = 4 << 20


@dataclass(frozen=True, slots=True)
class PackedImage:
    """One image as it was served; sizes are pixels.

    `format` is read from the bytes: jpeg, png or webp.
    """

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


def write(path: Path, images: Iterable[PackedImage]) -> None:
    """Writes one pack and flushes it to disk.

    The images come in order of md5 and are held a few at a time. Nothing is compressed:
    images are already, and a row of the other columns is smaller without. It takes
    0.13 ms for an image of 100 kB; one at a time, through unbuffered writes and with
    compressors, it took 0.25 ms.
    """
    with (
        files.open_atomic(path) as temporary,
        pa.output_stream(str(temporary), buffer_size=WRITE_BUFFER) as sink,
        pq.ParquetWriter(
            sink,
            parquet.stored_schema(PACK),
            compression="NONE",
            use_dictionary=False,
            write_page_checksum=True,
            write_statistics=["md5"],
        ) as writer,
    ):
        for batch in _batches(images):
            rows = [_row(image) for image in batch]
            writer.write_table(parquet.cast(rows, PACK), row_group_size=1)


def _row(image: PackedImage) -> dict[str, object]:
    return {name: getattr(image, name) for name in PACK.names}


def _batches(images: Iterable[PackedImage]) -> Iterator[list[PackedImage]]:
    """Yields the images in lists of WRITE_BUFFER bytes, or of one larger image."""
    batch: list[PackedImage] = []
    size = 0
    for image in images:
        batch.append(image)
        size += len(image.bytes)
        if size >= WRITE_BUFFER:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def index(folder: Path) -> pl.DataFrame:
    """Returns the columns INDEX_TYPES of every image of a folder, ordered by md5."""
    frames = [pl.DataFrame(schema=INDEX_TYPES)]
    frames += [_facts(path) for path in pack_files(folder)]
    return pl.concat(frames).sort("md5")


def _facts(path: Path) -> pl.DataFrame:
    # Not pq.read_table: it imports pandas, and takes twelve times as long over
    # thousands of small row groups.
    try:
        file = pq.ParquetFile(path, pre_buffer=True)
        table = file.read(columns=FACTS).combine_chunks()
    except (pa.ArrowInvalid, OSError) as error:
        raise corrupt_file_error(path, error) from error
    frame = pl.from_arrow(table)
    return frame.with_columns(pack=pl.lit(path.name))  # type: ignore[union-attr]


def read_images(path: Path) -> Iterator[PackedImage]:
    """Yields the images of one pack in order of md5, checking every page.

    Raises CorruptFile.
    """
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group).to_pylist():
                yield PackedImage(**row)
    except (pa.ArrowInvalid, OSError) as error:
        raise corrupt_file_error(path, error) from error


class PackReader:
    """Random access to the images of a folder. Holds one open pack at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name: str | None = None
        self._file: pq.ParquetFile | None = None
        self._rows: dict[str, int] = {}

    def bytes(self, pack: str, md5: str) -> bytes:
        """Returns the stored bytes of an image.

        Raises CorruptFile where the pack is damaged or lacks the image.
        """
        path = self._folder / pack
        try:
            file = self._open(path)
            group = file.read_row_group(self._rows[md5], columns=["bytes"])
            return bytes(group["bytes"][0].as_py())
        except (pa.ArrowInvalid, OSError) as error:
            raise corrupt_file_error(path, error) from error
        except KeyError as error:
            lacking = ValueError(f"image {md5} is not in it")
            raise corrupt_file_error(path, lacking) from error

    def _open(self, path: Path) -> pq.ParquetFile:
        if path.name == self._name and self._file is not None:
            return self._file
        # Opened from memory-mapped bytes: thousands of row groups make seeks through a
        # buffered file slow.
        mapped = pa.memory_map(str(path))
        self._file = pq.ParquetFile(mapped, page_checksum_verification=True)
        names = self._file.read(columns=["md5"])["md5"].to_pylist()
        self._rows = {name: row for row, name in enumerate(names)}
        self._name = path.name
        return self._file


def sampling_key(md5: str) -> str:
    """Returns what orders images at random, and always the same way, for samples."""
    return hashlib.sha256(md5.encode()).hexdigest()


def _ignore(_: PackedImage) -> None:
    """Does nothing with an image."""


def verify(path: Path, see: Callable[[PackedImage], object] = _ignore) -> str | None:
    """Returns what is wrong with a pack, reading all of it, or None.

    see: called with each sound image on the way.

    Raises errors that do not come from the pack itself, such as no permission, no
    memory or too many open files: a caller that removes damaged packs must not remove
    that one.
    """
    try:
        previous = ""
        for image in read_images(path):
            if image.md5 <= previous:
                return f"md5 {image.md5} is out of order"
            previous = image.md5
            see(image)
    except (MemoryError, OutOfResources, NoPermission):
        raise
    except Exception as error:  # a damaged file can make the reader raise anything
        cause = error.__cause__ or error
        # An error number comes from the operating system, not from the reader.
        if isinstance(cause, OSError) and cause.errno is not None:
            raise cause from error
        return " ".join(str(cause).split())[:200]
    return None


@dataclass(frozen=True, slots=True)
class PackAudit:
    """What `audit` found.

    bytes: of all packs. images: the sound ones. unlisted: those of them that
    outcomes.parquet does not list, since they remain from an earlier sample. damaged:
    packs that are not sound. problems: a line for each, what is wrong with which pack
    or image.
    """

    packs: int
    bytes: int
    images: int
    unlisted: int
    damaged: tuple[Path, ...]
    problems: tuple[str, ...]


_Outcome = tuple[str, str, str | None, str | None]
"""Variant, outcome, pack and detail of an image, as in outcomes.parquet."""


@dataclass
class _Contents:
    """What is in the packs of a folder.

    packs: file name of the pack by md5 and variant. damaged: file names.
    """

    packs: dict[tuple[str, str], str] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def read(self, path: Path) -> None:
        """Adds the images of one pack."""

        def see(image: PackedImage) -> None:
            self.packs[image.md5, image.variant] = path.name

        problem = verify(path, see)
        if problem:
            self.damaged.add(path.name)
            self.problems.append(f"{path}: {problem}")

    def trusted(self) -> dict[tuple[str, str], str]:
        """Returns `packs` without those damaged: their one line covers their images."""
        return {
            key: pack for key, pack in self.packs.items() if pack not in self.damaged
        }


def audit(folder: Path) -> PackAudit:
    """Reads every pack in full and compares the images with outcomes.parquet.

    Raises BadInput where there is nothing to read. Images that were taken down since
    the outcomes were written are no problem.
    """
    paths = pack_files(folder)
    if not paths and not (folder / "outcomes.parquet").exists():
        raise BadInput(
            f"there are no packs in {folder}. Run from the folder that holds dvc.yaml, "
            "or run dvc repro download first."
        )
    contents = _Contents()
    for path in paths:
        contents.read(path)
    outcomes = _outcomes(folder)
    taken_down = set(_takedowns(folder)["md5"])
    problems = [*contents.problems, *_contradictions(contents, outcomes, taken_down)]
    unlisted = 0
    for md5, variant in contents.trusted():
        if md5 not in outcomes or outcomes[md5][0] != variant:
            unlisted += 1
    damaged = [path for path in paths if path.name in contents.damaged]
    return PackAudit(
        packs=len(paths),
        bytes=sum(path.stat().st_size for path in paths),
        images=len(contents.packs),
        unlisted=unlisted,
        damaged=tuple(damaged),
        problems=tuple(problems),
    )


def _contradictions(
    contents: _Contents, outcomes: dict[str, _Outcome], taken_down: set[str]
) -> Iterator[str]:
    """Yields a line for each image whose outcome is not what the packs hold."""
    here = contents.trusted()
    for md5, (variant, outcome, pack, _) in sorted(outcomes.items()):
        found = here.get((md5, variant))
        if outcome != KEPT:
            if found:
                yield (
                    f"{md5}: its outcome in outcomes.parquet is {outcome}, but its "
                    f"{variant} is in {found}"
                )
        elif found != pack and pack not in contents.damaged and md5 not in taken_down:
            yield (
                f"{md5}: outcomes.parquet has its {variant} in {pack}, where it is not"
            )


def get(folder: Path, md5: str) -> PackedImage:
    """Returns an image by its md5.

    Raises BadInput with what became of the image where no pack holds it.
    """
    rows = index(folder).filter(pl.col("md5") == md5)
    outcome = _outcomes(folder).get(md5)
    if not rows.height:
        fate = _fate(outcome)
        taken_down = _takedown(folder, md5)
        raise BadInput(
            f"{md5} is in none of the packs of {folder}: {fate}.{taken_down}"
        )
    wanted = rows.filter(pl.col("variant") == outcome[0]) if outcome else rows
    row = (wanted if wanted.height else rows).row(0, named=True)
    content = PackReader(folder).bytes(row["pack"], md5)
    facts = {name: row[name] for name in FACTS}
    return PackedImage(bytes=content, **facts)


def _fate(outcome: _Outcome | None) -> str:
    if outcome is None:
        return "no sample has selected it"
    _, reason, _, detail = outcome
    text = f"its outcome in outcomes.parquet is {reason}"
    if detail:
        text += f", {detail}"
    return text


def _outcomes(folder: Path) -> dict[str, _Outcome]:
    """Returns the outcomes by md5; none where no run has ended yet."""
    path = folder / "outcomes.parquet"
    if not path.exists():
        return {}
    return {md5: tuple(rest) for md5, *rest in parquet.read(path).iter_rows()}


def _takedowns(folder: Path) -> pl.DataFrame:
    path = folder / "takedowns.parquet"
    if not path.exists():
        return parquet.frame([], TAKEDOWNS)
    return parquet.read(path)


def _takedown(folder: Path, md5: str) -> str:
    rows = _takedowns(folder).filter(pl.col("md5") == md5)
    if not rows.height:
        return ""
    return f" It was taken down: {rows['reason'][0]}, as of {rows['snapshot'][0]}."
