"""`e6tag diff`: what changed between two runs, in tags, posts, labels and metrics.

Reads       of each run data/sample, data/manifest, data/evaluation and aliases of
            data/snapshot: in this folder, or through dvc.lock of a revision in DVC's
            cache
Writes      nothing; asks no remote

    python -m ops.diff REVISION [REVISION] [--resamplings N] [--json]
"""

import dataclasses
from dataclasses import dataclass

from ops.diff import drift, metrics, posts, tags
from ops.diff.drift import LabelDrift
from ops.diff.metrics import MetricDiff
from ops.diff.posts import PostDiff
from ops.diff.tags import TagDiff
from ops.runs import Run
from pipeline import files
from pipeline.errors import BadInput


@dataclass(frozen=True, slots=True)
class Report:
    """All that `e6tag diff` says. absent: by section, why it is None."""

    before: str
    after: str
    tags: TagDiff
    posts: PostDiff | None
    labels: LabelDrift | None
    metrics: MetricDiff | None
    absent: dict[str, str]

    @property
    def is_without_change(self) -> bool:
        """Whether nothing that both runs have differs."""
        changed = [self.tags.new, self.tags.gone, self.tags.renamed]
        if self.posts is not None:
            found = self.posts
            changed += [found.came, found.went, found.retagged, found.moved]
            changed.append(found.replaced)
        if self.metrics is not None:
            compared = [*self.metrics.reported, *self.metrics.per_tag]
            changed.append([one for one in compared if one.before != one.after])
        return not any(changed)


def compare(before: Run, after: Run, resamplings: int = metrics.RESAMPLINGS) -> Report:
    """Compares two runs; raises BadInput where one has no sample."""
    for run in (before, after):
        if run.find(tags.VOCABULARY) is None:
            raise BadInput(
                f"{run.name} has no {tags.VOCABULARY}: its run did not come that far. "
                "Name a run that did: git log --oneline -- dvc.lock."
            )
    tag_diff, common = tags.compare(before, after)
    absent = {}
    post_diff = label_drift = metric_diff = None
    old, new = posts.records(before), posts.records(after)
    if old is not None and new is not None:
        post_diff = posts.compare(before, after, (old, new), common)
        label_drift = drift.compare(old, new, common)
    else:
        lacking = before if old is None else after
        absent["posts"] = absent["labels"] = f"{lacking.name} has no data/manifest"
    missing = _missing_metrics(before, after)
    if missing is None:
        metric_diff = metrics.compare(before, after, common, resamplings)
    else:
        absent["metrics"] = missing
    return Report(
        before=before.name,
        after=after.name,
        tags=tag_diff,
        posts=post_diff,
        labels=label_drift,
        metrics=metric_diff,
        absent=absent,
    )


def _missing_metrics(before: Run, after: Run) -> str | None:
    for run in (before, after):
        name = metrics.missing(run)
        if name is not None:
            return f"{run.name} has no {name}"
    return None


def to_json(report: Report) -> str:
    """Returns the report for programs: all of it."""
    return files.to_json(dataclasses.asdict(report))
