"""Which runs an ablation wants, and which of them are in the table already."""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ops.ablation import table
from pipeline import ablation, ablation_results, params, train
from pipeline.ablation import Condition
from pipeline.ablation_results import Measurement, Result
from pipeline.data import shards
from pipeline.data.shards import Split
from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.train import code, initial
from pipeline.train.initial import Initial

_MEASURING = (
    "pipeline/evaluate/evaluators/ranking.py",
    "pipeline/evaluate/predicting.py",
    "pipeline/metrics/tag_ranking.py",
    "pipeline/metrics/tag_scores.py",
)
"""The code, beside that of `train`, that the metrics of the table come from."""


@dataclass(frozen=True, slots=True)
class Run:
    """A condition with a seed.

    fingerprint: of what decides the result; equal ones are one run.
    """

    condition: Condition
    seed: int
    fingerprint: str

    @property
    def params(self) -> Params:
        """Returns the parameters of the run."""
        return self.condition.with_seed(self.seed)

    @property
    def label(self) -> str:
        """Returns the run as people read it."""
        return f"{self.condition.label}, seed {self.seed}"


@dataclass
class Plan:
    """The runs that are wanted, and the table they belong to.

    every: all conditions with all seeds, of ablation.yaml and of earlier rows, so that
    the table keeps rows that are not wanted at the moment. shards: digest of all
    shards. known: measurements by fingerprint. timed: the rows as they were read, also
    outdated ones, to estimate from.
    """

    paths: Paths
    site: str
    shards: str
    every: list[Run]
    runs: list[Run]
    known: dict[str, Measurement]
    timed: list[Result]
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def table(self) -> Path:
        """Returns the path of the table."""
        return ablation_results.file(self.paths.ablation, self.site)

    def todo(self) -> list[Run]:
        """Returns the runs that are not measured, each once."""
        missing: dict[str, Run] = {}
        for run in self.runs:
            if run.fingerprint not in self.known:
                missing.setdefault(run.fingerprint, run)
        return list(missing.values())

    def add(self, run: Run, measured: Measurement) -> None:
        """Writes a result into the table; may be called from several threads."""
        with self.lock:
            self.known[run.fingerprint] = measured
            self.write()

    def write(self) -> None:
        """Writes the table, and the page of differences."""
        results = self.results()
        ablation_results.write(self.table, results)
        page = self.table.with_suffix(".md")
        table.write(page, self.site, results)

    def results(self) -> list[Result]:
        """Returns a row for every condition and seed that is measured."""
        rows = []
        for run in self.every:
            measured = self.known.get(run.fingerprint)
            if measured is not None:
                rows.append(_row(run, measured, self.shards))
        return rows


def make_plan(
    root: Path, factors: Sequence[str] | None, seeds: Sequence[int] | None
) -> Plan:
    """Returns what to run in a project. None: all factors, the seeds of ablation.yaml.

    Raises BadParameter, and BadInput where the shards are not there.
    """
    paths = Paths(root)
    given = params.load(paths.params)
    wanted = ablation.load(paths.ablation_plan)
    conditions = ablation.conditions(wanted, given, paths.ablation_plan)
    selected = ablation.select(conditions, factors)
    splits = shards.read_splits(paths)
    shards.require(splits, "train", "validation", "test")
    timed = ablation_results.read(
        ablation_results.file(paths.ablation, given.site.name)
    )
    seeds = seeds or wanted.seeds
    others = sorted({*seeds, *(row.seed for row in timed)})
    # Those of the file first, so that the table has the same order after every command.
    every_seed = dict.fromkeys([*wanted.seeds, *others])
    sums = [digest for split in splits.values() for digest in split.sums]
    return Plan(
        paths,
        given.site.name,
        ablation_results.shards_digest(sums),
        every=_with_seeds(conditions, list(every_seed), splits, paths),
        runs=_with_seeds(selected, seeds, splits, paths),
        known={row.run: row.measured for row in timed},
        timed=timed,
    )


def _with_seeds(
    conditions: Sequence[Condition],
    seeds: Sequence[int],
    splits: dict[str, Split],
    paths: Paths,
) -> list[Run]:
    """Returns each condition with each seed.

    Seed by seed: a killed ablation then has whole comparisons for the first ones.
    """
    tag_names = initial.read_tag_names(paths)
    trained = [condition.params.train for condition in conditions]
    starts = [initial.read(given, tag_names, paths) for given in trained]
    runs = []
    for seed in seeds:
        for condition, start in zip(conditions, starts, strict=True):
            name = fingerprint(condition.with_seed(seed), splits, start)
            runs.append(Run(condition, seed, name))
    return runs


def fingerprint(given: Params, splits: dict[str, Split], start: Initial | None) -> str:
    """Returns 32 hex digits: `train`'s fingerprint, then that of the test.

    start: the model that train.init names.
    """
    trained = train.fingerprint(
        given.train, splits["train"], splits["validation"], start
    )
    measuring = [(code.ROOT / name).read_bytes() for name in _MEASURING]
    digests = [hashlib.sha256(content).hexdigest() for content in measuring]
    tested = ablation_results.shards_digest([*splits["test"].sums, *digests])
    return f"{trained}{tested}"


def _row(run: Run, measured: Measurement, digest: str) -> Result:
    condition = run.condition
    return Result(
        condition.factor,
        condition.level,
        condition.reference,
        run.seed,
        condition.params.train.epochs,
        condition.params.train.size,
        measured,
        run.fingerprint,
        digest,
    )
