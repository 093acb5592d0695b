"""Tags that are new, gone or renamed between two runs.

Reads       data/sample/                        vocabulary and excluded_tags, of both
            data/snapshot/aliases.parquet       of the later run
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from ops.runs import Run
from pipeline import parquet, tag_graph
from pipeline.schemas.reasons import TagExclusion

VOCABULARY = "data/sample/vocabulary.parquet"


@dataclass(frozen=True, slots=True)
class ChangedTag:
    """A tag of one run alone.

    reason: why the other run did not take it, as its excluded_tags say; None where
    they do not name it.
    """

    name: str
    category: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Renamed:
    """A tag that the later run has under another name, as an alias.

    merged: whether the earlier run had that name as a tag of its own.
    """

    old: str
    new: str
    merged: bool


@dataclass(frozen=True, slots=True)
class TagDiff:
    """before, after: tags of each run. common: those that both have, renamed or not."""

    before: int
    after: int
    common: int
    new: list[ChangedTag]
    gone: list[ChangedTag]
    renamed: list[Renamed]


@dataclass(frozen=True, slots=True)
class CommonTags:
    """Tags that both runs have: the name of the later, the label id of each.

    A tag that was merged into another is not among them: its labels are those of two.
    """

    names: list[str]
    before: list[int]
    after: list[int]

    def mapping(self, *, is_before: bool) -> pl.DataFrame:
        """Returns label_id of a run, and tag: the position in `names`."""
        label_ids = self.before if is_before else self.after
        columns = {"label_id": label_ids, "tag": range(len(label_ids))}
        types = {"label_id": pl.Int32, "tag": pl.Int32}
        return pl.DataFrame(columns, schema=types)


def compare(before: Run, after: Run) -> tuple[TagDiff, CommonTags]:
    """Compares the vocabularies; both must be there."""
    old, new = _vocabulary(before), _vocabulary(after)
    now_called = _names_now(old, new, _aliases(after))
    renamed = []
    for name, target in now_called.items():
        if target != name:
            renamed.append(Renamed(name, target, merged=target in old))
    found = TagDiff(
        before=len(old),
        after=len(new),
        common=len(set(now_called.values())),
        new=_changed(new, set(now_called.values()), before),
        gone=_changed(old, set(now_called), after),
        renamed=renamed,
    )
    merged = {one.old for one in renamed if one.merged}
    kept = [name for name in now_called if name not in merged]
    common = CommonTags(
        names=[now_called[name] for name in kept],
        before=[old[name][0] for name in kept],
        after=[new[now_called[name]][0] for name in kept],
    )
    return found, common


def _names_now(
    old: Iterable[str], new: Container[str], aliases: Mapping[str, str]
) -> dict[str, str]:
    """Returns the name in the later run of each earlier tag that it still has."""
    now_called = {}
    for name in old:
        target = name if name in new else aliases.get(name, name)
        if target in new:
            now_called[name] = target
    return now_called


def _vocabulary(run: Run) -> dict[str, tuple[int, str]]:
    """Returns label id and category of a run's tags by name."""
    path = run.find(VOCABULARY)
    if path is None:
        return {}
    table = parquet.read(path, columns=["name", "label_id", "category"])
    return {
        name: (label_id, category) for name, label_id, category in table.iter_rows()
    }


def _aliases(run: Run) -> dict[str, str]:
    path = run.find("data/snapshot/aliases.parquet")
    if path is None:
        return {}
    return tag_graph.canonical_names(tag_graph.pairs_in_force(parquet.read(path)))


def _changed(
    vocabulary: dict[str, tuple[int, str]], common: set[str], other: Run
) -> list[ChangedTag]:
    """Returns the tags that are not common, and why the other run has them not."""
    path = other.find("data/sample/excluded_tags.parquet")
    reasons = {}
    if path is not None:
        table = parquet.read(path, columns=["name", "reason"])
        reasons = dict(table.iter_rows())
    changed = []
    for name, (_, category) in vocabulary.items():
        if name not in common:
            reason = reasons.get(name)
            sentence = TagExclusion(reason).sentence if reason else None
            changed.append(ChangedTag(name, category, sentence))
    return changed
