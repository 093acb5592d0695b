"""The page that a person reads.

What the model was trained on, how good it is beside its baselines, what it gets wrong.

Reads       data/snapshot/unknown_tags.parquet
            data/sample/                        every table (schemas.py)
            data/images/                        outcomes and takedowns, and the packs of
                                                the pictures shown
            data/manifest/                      every split, rejected and leakage
            data/shards/                        index.parquet and rejected.parquet
            data/model/                         training.json and history.csv
            data/evaluation/                    metrics.json, per_tag, curves,
                                                predictions
            data/bundle/                        lineage.json and selected_tags.csv
            data/gates/*/verdict.json           every gate's decision
            data/politeness.json                if it is there: what the site had to
                                                bear
Writes      reports/index.html  one file that asks no host for anything; links to the
                                gates' pages
Guarantees  same inputs and parameters, same bytes, but for the section on politeness:
            those figures count what runs asked and waited, are no `dep`, and stand as
            they were when the page was made; nothing depends on the page. No host name,
            no path. No metric without its image-blind baseline. The pictures are test
            pictures, drawn by hash.
"""

from pipeline import files, progress
from pipeline.params import Params
from pipeline.paths import Paths


def run(params: Params, paths: Paths) -> None:
    """Reads everything, then writes the page, whole or not at all."""
    from pipeline.report import examples, inputs, render

    found = inputs.read(paths)
    shown = examples.choose_examples(paths, found.per_tag)
    target = paths.reports / "index.html"
    files.write_text(target, html := render.page(params, found, shown))
    progress.log(
        f"report: {target}, {len(html.encode()) / 1e6:.2f} MB, {len(shown)} test "
        "pictures"
    )
