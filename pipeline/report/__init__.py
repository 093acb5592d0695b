"""Report: the HTML page about the model.

What it was trained on, how good it is beside its baselines, what it gets wrong.

Reads       data/snapshot/unknown_tags.parquet
            data/sample/                        every table (schemas.py)
            data/images/                        outcomes and takedowns, and the packs of
                                                the images shown
            data/manifest/                      every split, rejected, leakage, overlay
            data/shards/                        index.parquet, rejected.parquet and the
                                                first training shard
            data/model/                         training.json and history.csv
            data/evaluation/                    metrics.json, per_tag, curves, slices,
                                                predictions
            data/mining/                        proposals and label_noise
            data/bundle/                        lineage.json, and the network for heat
                                                maps
            data/gates/*/verdict.json           every gate's decision
            ablation/                           optional: <site>.csv, the ablation's
                                                runs
            data/politeness.json                optional: the requests made, by stage
            data/resources.json                 optional: time and memory, by stage
Writes      reports/index.html  one file that requests nothing from any host; links to
                                the gates' pages
Guarantees  same inputs and parameters, same bytes, except for the sections on
            politeness and on time and memory: they count what runs requested and took,
            are no `dep`, and show the state when the page was written; nothing depends
            on the page. No host name, no path. No metric without its image-blind
            baseline. What is missing is shown as absent, with the reason. Images are
            chosen by rule: by hash, or by their F1.
"""

from typing import TYPE_CHECKING

from pipeline import files, progress
from pipeline.params import Params
from pipeline.paths import Paths

if TYPE_CHECKING:
    from pipeline.report.inputs import Inputs
    from pipeline.report.sections.section import PendingBatch


def run(params: Params, paths: Paths) -> None:
    """Reads everything, then writes the page completely or not at all."""
    from pipeline.report import inputs, training_batch

    found = inputs.read(paths)
    # In another process meanwhile: TensorFlow takes longer to load than all the rest.
    with training_batch.drawing(paths, found.training["params"]) as batch:
        html = make_page(params, paths, found, batch)
    target = paths.reports / "index.html"
    files.write_text(target, html)
    progress.log(f"report: {target}, {len(html.encode()) / 1e6:.2f} MB")


def make_page(
    params: Params,
    paths: Paths,
    found: "Inputs",
    batch: "PendingBatch",
) -> str:
    """Returns the page. found: of inputs.read."""
    from pipeline.report import examples, heatmaps, render, truth
    from pipeline.report.sections import section

    known = truth.open_truth(params.site, found)
    shown = examples.choose_examples(paths, found.per_tag, known)
    mapped = heatmaps.draw(paths, shown.typical)
    return render.page(section.PageData(params, found, shown, mapped, batch))
