"""The overlay: corrections of labels that people wrote into data/overlay.csv.

A row adds a tag to a post or removes one. The closure under implications is kept within
the vocabulary: what an added tag implies is added with it, and a tag stays that another
one implies which stays. A row never makes a record: of posts without one it is only
listed with the reason.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline import files, os_errors, parquet, policy
from pipeline.errors import BadInput
from pipeline.paths import Paths
from pipeline.schemas.manifest import OVERLAY
from pipeline.schemas.reasons import OverlayOutcome
from pipeline.tag_graph import TagGraph

COLUMNS = ("post_id", "tag", "action")
"""Columns that the file must have; others, such as note, are for people."""

ADD, REMOVE = "add", "remove"

_POST_ID = re.compile("0*[0-9]{1,19}", re.ASCII)  # of more digits none is below 2**63

_ROWS = pl.Schema(OVERLAY)
_PENDING = pl.col("outcome").is_null()


@dataclass(frozen=True, slots=True)
class Overlay:
    """The overlay as it was applied to the records of a manifest.

    records: with their labels corrected; forbidden: post_id and detail, of records that
    must be rejected; rows: schemas.OVERLAY; sha256: None where there is no file.
    """

    records: pl.DataFrame
    forbidden: pl.DataFrame
    rows: pl.DataFrame
    sha256: str | None

    def lineage(self) -> dict[str, str | int | None]:
        """Returns what the lineage says of it."""
        applied = self.rows.filter(outcome=OverlayOutcome.APPLIED.value)
        return {"sha256": self.sha256, "applied": applied.height}

    def summary(self) -> str | None:
        """Returns a line about the rows, None where there is none."""
        if self.rows.is_empty():
            return None
        counts = Counter(self.rows["outcome"].to_list())
        applied = counts.pop(OverlayOutcome.APPLIED.value, 0)
        line = f"{applied:,} of {self.rows.height:,} rows of data/overlay.csv applied"
        others = [f"{count:,} {outcome}" for outcome, count in sorted(counts.items())]
        if not others:
            return line
        return f"{line}, {', '.join(others)} (see data/manifest/overlay.parquet)"


def apply(paths: Paths, records: pl.DataFrame) -> Overlay:
    """Applies data/overlay.csv to records.

    records: post_id, rating, label_ids and explicit_label_ids, among others. Raises
    BadInput where the file is not CSV or lacks a column.
    """
    if not paths.overlay.exists():
        nothing = pl.DataFrame(schema=_ROWS)
        return Overlay(records, _forbidden(nothing), nothing, None)
    rows = read(paths.overlay)
    sha256 = files.sha256(paths.overlay)
    if rows.is_empty():
        return Overlay(records, _forbidden(rows), rows, sha256)
    rows = _settle_posts(paths, rows, records)
    rows = _settle_forbidding(paths, rows, records)
    forbidden = _forbidden(rows)
    is_forbidden = pl.col("post_id").is_in(forbidden["post_id"].implode())
    rows = _settle(rows, is_forbidden, OverlayOutcome.REJECTED_POST)
    graph = _graph(paths)
    vocabulary = parquet.read(paths.sample / "vocabulary.parquet")
    rows = _settle_tags(rows, graph, vocabulary)
    rows = _settle_opposites(rows)
    kept = records.join(forbidden, on="post_id", how="anti")
    corrected, rows = _correct_labels(kept, rows, _implied_labels(graph, vocabulary))
    return Overlay(corrected, forbidden, rows.select(OVERLAY.names), sha256)


def read(path: Path) -> pl.DataFrame:
    """Returns the rows of the file as schemas.OVERLAY, malformed ones with an outcome.

    The others have no outcome yet. Raises BadInput.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_parsed(file, path))
    except (UnicodeDecodeError, csv.Error) as error:
        why = " ".join(str(error).split())
        raise BadInput(f"{path} is not CSV in UTF-8: {why}. {_remedy()}") from error
    except OSError as error:
        os_errors.raise_for_machine(error, path)
        raise BadInput(f"{path} cannot be read: {error}. {_remedy()}") from error
    return pl.DataFrame(rows, schema=_ROWS, orient="row")


def _remedy() -> str:
    return (
        f"Write it with the columns {','.join(COLUMNS)},note, or take the empty one of "
        "the repository: git checkout data/overlay.csv."
    )


def _parsed(file: Iterator[str], path: Path) -> Iterator[dict[str, object]]:
    reader = csv.DictReader(file, strict=True)
    lacking = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if lacking:
        raise BadInput(f"{path} has no column {', '.join(lacking)}. {_remedy()}")
    for cells in reader:
        yield {"row": reader.line_num, **_row(cells)}


def _row(cells: Mapping[str | None, str | None]) -> dict[str, object]:
    """Returns post_id, tag, action, and outcome and detail where it is malformed."""
    post_id, tag, action = ((cells.get(name) or "").strip() for name in COLUMNS)
    row: dict[str, object] = {"tag": tag, "action": action}
    problem = None
    if None in cells:
        problem = "more cells than the header has"
    elif not _POST_ID.fullmatch(post_id) or int(post_id) >= 2**63:
        problem = f"post_id is {post_id[:40]!r}"
    elif not tag:
        problem = "no tag"
    elif action not in (ADD, REMOVE):
        problem = f"action is {action!r}"
    if problem is not None:
        return row | {"outcome": OverlayOutcome.MALFORMED.value, "detail": problem}
    return row | {"post_id": int(post_id)}


def _settle(
    rows: pl.DataFrame,
    condition: pl.Expr,
    outcome: OverlayOutcome,
    detail: pl.Expr | None = None,
) -> pl.DataFrame:
    """Gives rows without an outcome for which the condition holds this one."""
    is_settled = _PENDING & condition
    said = pl.lit(None, pl.String) if detail is None else detail
    return rows.with_columns(
        outcome=pl.when(is_settled).then(pl.lit(outcome.value)).otherwise("outcome"),
        detail=pl.when(is_settled).then(said).otherwise("detail"),
    )


def _settle_posts(
    paths: Paths, rows: pl.DataFrame, records: pl.DataFrame
) -> pl.DataFrame:
    """Settles the rows of posts that are no record."""
    excluded = parquet.read(paths.sample / "excluded_posts.parquet")
    reasons = excluded.select("post_id", why="reason").unique("post_id")
    rows = rows.join(reasons, on="post_id", how="left", maintain_order="left")
    condition = pl.col("why").is_not_null()
    rows = _settle(rows, condition, OverlayOutcome.EXCLUDED_POST, pl.col("why"))
    rows = rows.drop("why")
    named = pl.lit(rows["post_id"].drop_nulls().unique())
    in_snapshot = pl.scan_parquet(paths.snapshot / "posts.parquet").select("post_id")
    known = in_snapshot.filter(pl.col("post_id").is_in(named.implode())).collect()
    sampled = parquet.read(paths.sample / "posts.parquet", columns=["post_id"])
    for ids, outcome in (
        (known, OverlayOutcome.UNKNOWN_POST),
        (sampled, OverlayOutcome.NOT_SAMPLED),
        (records, OverlayOutcome.REJECTED_POST),
    ):
        is_among = pl.col("post_id").is_in(ids["post_id"].implode())
        rows = _settle(rows, ~is_among, outcome)
    return rows


def _settle_forbidding(
    paths: Paths, rows: pl.DataFrame, records: pl.DataFrame
) -> pl.DataFrame:
    """Settles the rows that add a tag by which the policy forbids the post."""
    aliases = parquet.read(paths.snapshot / "aliases.parquet")
    implications = parquet.read(paths.snapshot / "implications.parquet")
    names = policy.PolicyTags.read(implications, aliases)
    ratings = records.select("post_id", "rating")
    rows = rows.join(ratings, on="post_id", how="left", maintain_order="left")
    is_sensitive = pl.col("rating").is_in(sorted(policy.SENSITIVE_RATINGS))
    is_young = is_sensitive & pl.col("tag").is_in(sorted(names.young))
    others = sorted(names.opt_out | policy.ANIMATED_TAGS)
    forbids = (pl.col("action") == ADD) & (is_young | pl.col("tag").is_in(others))
    rows = _settle(rows, forbids, OverlayOutcome.FORBIDS_POST)
    return rows.drop("rating")


def _forbidden(rows: pl.DataFrame) -> pl.DataFrame:
    """Returns post_id and detail of the posts that a row forbids, each once."""
    forbidding = rows.filter(outcome=OverlayOutcome.FORBIDS_POST.value)
    detail = pl.format("line {} of data/overlay.csv", "row")
    return forbidding.select("post_id", detail=detail).unique("post_id", keep="first")


def _graph(paths: Paths) -> TagGraph:
    return TagGraph.read(
        parquet.read(paths.snapshot / "tags.parquet"),
        parquet.read(paths.snapshot / "aliases.parquet"),
        parquet.read(paths.snapshot / "implications.parquet"),
    )


def _settle_tags(
    rows: pl.DataFrame, graph: TagGraph, vocabulary: pl.DataFrame
) -> pl.DataFrame:
    """Settles the rows whose tag is not learnt; gives the others their label."""
    finals = [graph.canonical.get(tag, tag) for tag in rows["tag"]]
    rows = rows.drop("label_id").with_columns(final=pl.Series(finals, dtype=pl.String))
    is_known = pl.col("final").is_in(graph.tags["name"].implode())
    rows = _settle(rows, ~is_known, OverlayOutcome.UNKNOWN_TAG)
    labels = vocabulary.select("label_id", final="name")
    rows = rows.join(labels, on="final", how="left", maintain_order="left")
    has_no_label = pl.col("label_id").is_null()
    rows = _settle(rows, has_no_label, OverlayOutcome.OUTSIDE_VOCABULARY)
    return rows.drop("final")


def _settle_opposites(rows: pl.DataFrame) -> pl.DataFrame:
    """Settles the rows that contradict or repeat another."""
    pending = rows.filter(_PENDING)
    same = pending.group_by("post_id", "label_id").agg(
        actions=pl.col("action").n_unique()
    )
    keys = ["post_id", "label_id"]
    rows = rows.join(same, on=keys, how="left", maintain_order="left")
    detail = pl.lit("another row says the opposite")
    is_opposed = pl.col("actions") > 1
    rows = _settle(rows, is_opposed, OverlayOutcome.CONTRADICTION, detail)
    is_first = pl.struct(*keys).is_first_distinct().over(_PENDING)
    return _settle(rows.drop("actions"), ~is_first, OverlayOutcome.REPEATED)


def _implied_labels(
    graph: TagGraph, vocabulary: pl.DataFrame
) -> dict[int, frozenset[int]]:
    """Returns the labels that each label implies, to any depth."""
    label_of = dict(vocabulary.select("name", "label_id").iter_rows())
    nothing: frozenset[str] = frozenset()
    implied = {}
    for name, label in label_of.items():
        names = graph.implied.get(name, nothing) & label_of.keys()
        implied[label] = frozenset(label_of[one] for one in names)
    return implied


def _correct_labels(
    records: pl.DataFrame, rows: pl.DataFrame, implied: Mapping[int, frozenset[int]]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the records with corrected labels, and the rows all with an outcome."""
    pending = rows.filter(_PENDING)
    touched = records.filter(pl.col("post_id").is_in(pending["post_id"].implode()))
    columns = ("post_id", "label_ids", "explicit_label_ids")
    wanted = _wanted(pending)
    corrected, settled = [], []
    for post_id, labels, given in touched.select(columns).iter_rows():
        actions = wanted[post_id]
        correction = correct(
            set(labels), set(given), actions[ADD], actions[REMOVE], implied
        )
        corrected.append((post_id, correction.labels, correction.given))
        for label, outcome, because_of in correction.outcomes:
            settled.append((post_id, label, outcome.value, because_of))
    return (
        _replaced(records, corrected, columns),
        _with_outcomes(rows, settled),
    )


def _wanted(pending: pl.DataFrame) -> dict[int, dict[str, set[int]]]:
    """Returns the labels by action, by post."""
    wanted: dict[int, dict[str, set[int]]] = {}
    rows = pending.select("post_id", "label_id", "action").iter_rows()
    for post_id, label, action in rows:
        actions = wanted.setdefault(post_id, {ADD: set(), REMOVE: set()})
        actions[action].add(label)
    return wanted


def _replaced(
    records: pl.DataFrame,
    corrected: list[tuple[int, list[int], list[int]]],
    columns: tuple[str, ...],
) -> pl.DataFrame:
    """Returns the records with these values of the columns where there are some."""
    schema = {name: records.schema[name] for name in columns}
    values = pl.DataFrame(corrected, schema=schema, orient="row")
    return records.update(values, on="post_id", how="left")


def _with_outcomes(
    rows: pl.DataFrame, settled: list[tuple[int, int, str, int | None]]
) -> pl.DataFrame:
    """Gives pending rows their outcome. settled: with the label that it is due to."""
    schema = {
        "post_id": pl.Int64,
        "label_id": pl.Int32,
        "found": pl.String,
        "because_of": pl.Int32,
    }
    found = pl.DataFrame(settled, schema=schema, orient="row")
    keys = ["post_id", "label_id"]
    joined = rows.join(found, on=keys, how="left", maintain_order="left")
    reason = pl.format("implied by label {}, which stays", "because_of")
    return joined.with_columns(
        detail=pl.when(_PENDING).then(reason).otherwise("detail"),
        outcome=pl.coalesce("outcome", "found"),
    )


@dataclass(frozen=True, slots=True)
class Correction:
    """Labels of a record after its rows, both lists ascending.

    outcomes: of each row its label, the outcome, and the label that it is due to.
    """

    labels: list[int]
    given: list[int]
    outcomes: list[tuple[int, OverlayOutcome, int | None]]


def correct(
    labels: set[int],
    given: set[int],
    added: set[int],
    removed: set[int],
    implied: Mapping[int, frozenset[int]],
) -> Correction:
    """Adds labels to a record and removes labels from it.

    given: those of the labels that are not only implied; implied: by label, all that it
    implies. A removal is refused while a label stays that implies it.
    """
    outcomes: list[tuple[int, OverlayOutcome, int | None]] = []
    new = added - labels
    grown = labels | new
    for label in new:
        grown |= implied[label]
    unchanged = (added & labels) | (removed - grown)
    outcomes += [(label, OverlayOutcome.UNCHANGED, None) for label in unchanged]
    going, refused = _removable(grown, removed & grown, implied)
    for label, because_of in refused.items():
        outcomes.append((label, OverlayOutcome.CONTRADICTION, because_of))
    outcomes += [(label, OverlayOutcome.APPLIED, None) for label in new | going]
    final = grown - going
    now_given = (given | new) - going
    return Correction(
        sorted(final),
        sorted(now_given | _orphans(going & given, final, now_given, implied)),
        outcomes,
    )


def _removable(
    labels: set[int], removed: set[int], implied: Mapping[int, frozenset[int]]
) -> tuple[set[int], dict[int, int]]:
    """Returns what can go, and what cannot with the label that stays and implies it."""
    going = set(removed)
    refused: dict[int, int] = {}
    while True:
        blocked: dict[int, int] = {}
        for staying in sorted(labels - going, reverse=True):
            blocked |= dict.fromkeys(going & implied[staying], staying)
        if not blocked:
            return going, refused
        refused |= blocked
        going -= blocked.keys()


def _orphans(
    gone: set[int],
    labels: set[int],
    given: set[int],
    implied: Mapping[int, frozenset[int]],
) -> set[int]:
    """Returns labels that stay though nothing given implies them any longer.

    A site keeps the parents of a tag that is removed: they count as given.
    """
    parents: set[int] = set()
    for label in gone:
        parents |= implied[label]
    for label in given:
        parents -= implied[label]
    return parents & labels
