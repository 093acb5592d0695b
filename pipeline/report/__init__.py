"""Report: the HTML page about the model.

What it was trained on, how good it is beside its baselines, what it gets wrong.

Reads       data/snapshot/unknown_tags.parquet
            data/sample/                        every table (schemas.py)
            data/images/                        outcomes and takedowns, and the packs of
                                                the images shown
            data/manifest/                      every split, rejected and leakage
            data/shards/                        index.parquet and rejected.parquet
            data/model/                         training.json and history.csv
            data/evaluation/                    metrics.json, per_tag, curves,
                                                predictions
            data/bundle/                        lineage.json and selected_tags.csv
            data/gates/*/verdict.json           every gate's decision
            data/politeness.json                optional: the requests made, by stage
Writes      reports/index.html  one file that requests nothing from any host; links to
                                the gates' pages
Guarantees  same inputs and parameters, same bytes, except for the section on
            politeness: it counts what all runs requested and waited, is no `dep`, and
            shows the state when the page was written; nothing depends on the page. No
            host name, no path. No metric without its image-blind baseline. The images
            are test images, chosen by hash.
"""

from pipeline import files, progress
from pipeline.params import Params
from pipeline.paths import Paths


def run(params: Params, paths: Paths) -> None:
    """Reads everything, then writes the page completely or not at all."""
    from pipeline.report import examples, inputs, render

    found = inputs.read(paths)
    shown = examples.choose_examples(paths, found.per_tag)
    html = render.page(params, found, shown)
    target = paths.reports / "index.html"
    files.write_text(target, html)
    megabytes = len(html.encode()) / 1e6
    progress.log(f"report: {target}, {megabytes:.2f} MB, {len(shown)} test images")
