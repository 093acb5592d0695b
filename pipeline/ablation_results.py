"""What an ablation measured: a table with a row per run, and the paired differences.

The table is ablation/<site>.csv, which is kept in git: a row per condition and seed,
in the order of ablation.yaml. A run that two conditions share has a row for each.
"""

import csv
import hashlib
import io
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pipeline import files
from pipeline.ablation import BASELINE
from pipeline.errors import BadInput

CONFIDENCE = 0.95
"""Of the intervals over seeds."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one training reached."""

    test_macro_map: float
    validation_macro_map: float
    test_macro_auc: float
    parameters: int
    best_epoch: int
    seconds: float | None
    """Of training; None where it was resumed, or restored from DVC's cache."""


@dataclass(frozen=True, slots=True)
class Result:
    """A row of the table. `factor`, `level`, `reference`: as of `Condition`.

    `run` is the fingerprint of parameters, code and shards; `shards` that of the shards
    alone; `size` and `epochs` are the budget.
    """

    factor: str
    level: str
    reference: str
    seed: int
    epochs: int
    size: int
    measured: Measurement
    run: str
    shards: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A level less its reference, over the seeds that both have.

    `low` and `high` bound the two-sided t interval of the mean paired difference; None
    for one seed, which gives no interval. `map`: the level's mean test macro mAP.
    """

    factor: str
    level: str
    reference: str
    seeds: int
    map: float
    difference: float
    low: float | None
    high: float | None
    auc_difference: float
    parameters: int
    seconds: float | None


_MEASURED = [field.name for field in fields(Measurement)]
_COLUMNS = [
    "factor",
    "level",
    "reference",
    "seed",
    "epochs",
    "size",
    *_MEASURED,
    "run",
    "shards",
]
_WHOLE = {"seed", "epochs", "size", "parameters", "best_epoch"}
_TEXT = {"factor", "level", "reference", "run", "shards"}


def file(folder: Path, site: str) -> Path:
    """Returns the table of a site's results. folder: `Paths.ablation`."""
    return folder / f"{site}.csv"


def shards_digest(sums: Iterable[str]) -> str:
    """Returns 16 hex digits of the SHA-256 of all shards, whatever their order."""
    text = "\n".join(sorted(sums))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read(path: Path) -> list[Result]:
    """Returns the rows of a table; none where there is no file.

    Raises BadInput where it is not one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
        return [_result(row) for row in rows]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise BadInput(
            f"{path} is not a table of ablation results ({error!r}). Restore it with "
            "git checkout, or delete it and run e6tag ablation."
        ) from error


def _result(row: dict[str, str]) -> Result:
    values: dict[str, str | int | float | None] = {}
    for name in _COLUMNS:
        values[name] = _value(name, row[name])
    measured = {name: values.pop(name) for name in _MEASURED}
    # The columns are the fields, and `_value` gives each its type.
    return Result(measured=Measurement(**measured), **values)  # type: ignore[arg-type]


def _value(name: str, text: str) -> str | int | float | None:
    if name in _TEXT:
        return text
    if name == "seconds" and not text:
        return None
    number = int(text) if name in _WHOLE else float(text)
    if not math.isfinite(number):
        raise ValueError(f"{name} is {text}")
    return number


def write(path: Path, results: Sequence[Result]) -> None:
    """Writes the table whole."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for result in results:
        row = asdict(result)
        row |= row.pop("measured")
        writer.writerow(row)
    files.write_text(path, text.getvalue())


def differences(results: Sequence[Result]) -> list[Difference]:
    """Returns every level that shares a seed with its reference, in the table's order.

    Levels without such a seed are left out.
    """
    measured: dict[tuple[str, str], dict[int, Measurement]] = {}
    references: dict[tuple[str, str], str] = {}
    for result in results:
        condition = (result.factor, result.level)
        measured.setdefault(condition, {})[result.seed] = result.measured
        if result.reference:
            references[condition] = result.reference
    found = []
    for (factor, level), reference in references.items():
        compared_with = (factor, reference)
        if reference == BASELINE:
            compared_with = (BASELINE, BASELINE)
        other = measured.get(compared_with, {})
        own = measured[factor, level]
        seeds = sorted(own.keys() & other.keys())
        if seeds:
            pairs = [(own[seed], other[seed]) for seed in seeds]
            found.append(_difference(factor, level, reference, pairs))
    return found


def _difference(
    factor: str,
    level: str,
    reference: str,
    pairs: list[tuple[Measurement, Measurement]],
) -> Difference:
    maps = [own.test_macro_map - other.test_macro_map for own, other in pairs]
    aucs = [own.test_macro_auc - other.test_macro_auc for own, other in pairs]
    low, high = t_interval(maps)
    times = [own.seconds for own, _ in pairs if own.seconds is not None]
    return Difference(
        factor,
        level,
        reference,
        seeds=len(pairs),
        map=statistics.fmean(own.test_macro_map for own, _ in pairs),
        difference=statistics.fmean(maps),
        low=low,
        high=high,
        auc_difference=statistics.fmean(aucs),
        parameters=pairs[0][0].parameters,
        seconds=statistics.median(times) if times else None,
    )


def t_interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Returns the bounds of the mean's two-sided t interval; None for one value.

    Student (1908), "The probable error of a mean", Biometrika 6: exact where the
    values are normal; for few values a wide interval, since their spread is unknown.
    """
    if len(values) < 2:
        return None, None
    from scipy import stats

    mean = statistics.fmean(values)
    error = statistics.stdev(values) / math.sqrt(len(values))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return mean - half, mean + half
