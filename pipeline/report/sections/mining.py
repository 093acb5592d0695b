"""Section: labels that are likely missing or wrong."""

from typing import Any

import polars as pl

from pipeline.report import formats
from pipeline.report.data_table import Column, DataTable
from pipeline.report.inputs import Inputs, Mining
from pipeline.report.sections.section import PageData, Values
from pipeline.schemas.reasons import OverlayOutcome

TITLE = "Labels to look at"
LINK = "Mining queue"

KINDS = {
    "missing": "likely missing",
    "wrong": "likely wrong",
    "rare": "rare tag, outside the vocabulary",
}
"""Kinds of proposals in words."""

PROPOSALS = 1_000  # on the page; all are in data/mining
NOISY = 10  # tags with the highest share of missing or of wrong labels

WEB = ("https://", "http://")
"""How the address of a post begins: no other becomes a link."""

COLUMNS = (
    Column("post", "text"),
    Column("tag", "text", css="text"),
    Column("what", "text", css="text"),
    Column("probability"),
    Column("score"),
    Column("uncertainty"),
    Column("lift"),
    Column("link", "link", link="open"),
)


def build(data: PageData) -> Values:
    """Returns how many proposals of each kind, the first, noisy tags, corrections."""
    mined = data.inputs.mining
    corrections = overlay_rows(data.inputs)
    if mined is None:
        return {"mined": None, "corrections": corrections}
    counted = dict(mined.proposals.group_by("kind").len().iter_rows())
    counts = [(KINDS.get(kind, kind), counted[kind]) for kind in sorted(counted)]
    return {
        "mined": mined,
        "total": mined.proposals.height,
        "counts": counts,
        "table": table(mined),
        "has_links": _has_any(mined, "url"),
        "has_uncertainty": _has_any(mined, "uncertainty"),
        "corrections": corrections,
        "shown": min(PROPOSALS, mined.proposals.height),
        "missing": noisiest(mined, "missing_share"),
        "wrong": noisiest(mined, "wrong_share"),
        "unknown": mined.label_noise["absent"].drop_nulls().len(),
    }


def overlay_rows(inputs: Inputs) -> list[tuple[str, str, int]]:
    """Returns what became of the rows of data/overlay.csv: outcome, sentence, rows."""
    counts = dict(inputs.overlay.iter_rows())
    last_first = [one for one in OverlayOutcome if one.value in counts][::-1]
    return [(one.value, one.sentence, counts[one.value]) for one in last_first]


def _has_any(mined: Mining, column: str) -> bool:
    return mined.proposals[column].null_count() < mined.proposals.height


def table(mined: Mining) -> DataTable:
    """Returns the first PROPOSALS, the likeliest first."""
    rows = [_cells(row) for row in mined.proposals.head(PROPOSALS).to_dicts()]
    return DataTable(
        label="Proposals",
        noun="proposals",
        file="data/mining/proposals.csv",
        columns=COLUMNS,
        rows=rows,
        choice=2,
    )


def _cells(row: dict[str, Any]) -> list[str]:
    url = row["url"] or ""
    return [
        str(row["post_id"]),
        row["tag"],
        KINDS.get(row["kind"], row["kind"]),
        formats.share(row["probability"]),
        formats.share(row["score"]),
        formats.share(row["uncertainty"]),
        formats.NONE if row["lift"] is None else f"{row['lift']:,.1f}",
        url if url.startswith(WEB) else "",
    ]


def noisiest(mined: Mining, share: str) -> list[dict[str, Any]]:
    """Returns the NOISY tags with the highest share; tags without one are left out."""
    known = mined.label_noise.filter(pl.col(share).is_not_null())
    return known.sort(share, "name", descending=[True, False]).head(NOISY).to_dicts()
