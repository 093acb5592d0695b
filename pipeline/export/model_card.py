"""The model card: what a person reads before using the model.

Numbers never stand without their baseline.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import templates
from pipeline.export import markdown, origin
from pipeline.export.data_facts import DataFacts
from pipeline.export.failures import Failures
from pipeline.metrics.catalogue import LABELS
from pipeline.params.export import Export

if TYPE_CHECKING:
    import jinja2

    from pipeline.export.ratings import RatingModel

METRICS = {
    "macro_map": "macro mAP (mean over tags of average precision)",
    "macro_auc": "macro AUC (mean over tags)",
    "macro_f1": "macro F1 at the thresholds",
    "micro_auc": "micro AUC (all pairs of image and tag ranked together)",
    "micro_f1": "micro F1 at the thresholds",
    "accuracy": "accuracy at the thresholds",
    "calibration_error": "calibration error (0 is best)",
}

_TEMPLATE = "README.md.jinja"

_FITTING = {
    "pad": "Pad it with white to a square, centred,",
    "crop": "Crop it to its central square",
    "stretch": "Stretch it to a square",
}


def render_model_card(
    *,
    params: Export,
    preprocessing: dict[str, Any],
    metrics: dict[str, Any],
    facts: dict[str, Any],
    lineage: dict[str, Any],
    variants: dict[str, Any],
    ratings: "RatingModel | None",
    data: DataFacts,
    failures: Failures,
) -> str:
    """Returns the card as Markdown, with the front matter that hubs of models read.

    preprocessing, metrics, variants: content of the files of these names; facts:
    training.json.
    """
    pinned = {key: lineage[key] for key in ("pin", "policy_version", "parameters")}
    return _template().render(
        name=params.name,
        license=params.license,
        size=preprocessing["resized_inside_to"],
        fitting=_FITTING[preprocessing["fit"]],
        is_folded=preprocessing["folded_thresholds"],
        ratings=_ratings(ratings),
        variants=variants,
        failures=failures,
        slices=_slice_rows(failures),
        **_training_values(facts),
        **_evaluation_values(metrics),
        **_data_values(params, lineage, data),
        lineage=json.dumps(pinned, indent=2, sort_keys=True),
    )


def _template() -> "jinja2.Template":
    environment = templates.environment(Path(__file__).parent, is_html=False)
    environment.filters["code_in_table"] = markdown.code_in_table
    environment.filters["decimals"] = _decimals
    return environment.get_template(_TEMPLATE)


def _training_values(facts: dict[str, Any]) -> dict[str, Any]:
    """Returns what the card says of the training. facts: training.json."""
    return {
        "tags": facts["tags"],
        "train": facts["records"]["train"],
        "has_uncertainty": facts["params"]["noise"]["name"] != "none",
        "parameters": facts["parameters"],
        "epochs": facts["epochs"],
        "best_epoch": facts["best_epoch"],
        "fingerprint": facts["fingerprint"],
    }


def _evaluation_values(metrics: dict[str, Any]) -> dict[str, Any]:
    """Returns what the card says of the evaluation. metrics: metrics.json."""
    unseen_tags = metrics["tags"]["without_positives_in_test"]
    return {
        "validation": metrics["records"]["validation"],
        "test": metrics["records"]["test"],
        "numbers": _numbers(metrics["splits"]["test"]),
        "originals": _from_originals(metrics["originals"]),
        "tags_without_positives": _tags_without_positives(unseen_tags),
    }


def _data_values(
    params: Export, lineage: dict[str, Any], data: DataFacts
) -> dict[str, Any]:
    """Returns what the card says of the data."""
    return {
        "contact": params.contact,
        "data": data,
        "filters": origin.filters(lineage["parameters"]),
        "moment": origin.moment(lineage["pin"]),
        "policy": lineage["policy_version"],
        "site": origin.site(lineage["pin"]),
    }


def _numbers(metrics: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """Returns the rows of the table of numbers, of one split."""
    rows = []
    for key, label in {**METRICS, **_other_labels()}.items():
        if key in metrics:
            metric = metrics[key]
            value = metric.get("absent") or _decimals(metric.get("value"))
            if "low" in metric:
                value += f" ({metric['low']:.4f} to {metric['high']:.4f})"
            baseline = _decimals(metric.get("baseline"))
            rows.append({"label": label, "value": value, "baseline": baseline})
    return rows


def _other_labels() -> dict[str, str]:
    """Returns the labels of metrics that have no longer one here."""
    return {key: label for key, label in LABELS.items() if key not in METRICS}


def _slice_rows(failures: Failures) -> list[dict[str, str]]:
    """Returns the worst slices as texts."""
    rows = []
    for each in failures.slices or []:
        value = _decimals(each["macro_map"])
        if each["macro_map_low"] is not None:
            value += f" ({each['macro_map_low']:.4f} to {each['macro_map_high']:.4f})"
        rows.append(
            {
                "label": f"{each['slice'].replace('_', ' ')}: {each['value']}",
                "records": f"{each['records']:,}",
                "value": value,
                "baseline": _decimals(each["macro_map_baseline"]),
            }
        )
    return rows


def _decimals(number: Any) -> str:
    """Returns a number with four decimals; a dash where it is missing."""
    return f"{number:.4f}" if isinstance(number, int | float) else "-"


def _ratings(ratings: "RatingModel | None") -> str:
    """Returns what is known of ratings, beside the answer that needs no image."""
    if ratings is None:
        return (
            "All four ratings are such rows: the training images have one rating alone."
        )
    known = ", ".join(ratings.counts)
    return (
        f"Of the ratings, the network's features tell {known}: of "
        f"{ratings.images:,} test images, {ratings.accuracy:.4f} get the site's, and "
        f"{ratings.most_common:.4f} have the most common one."
    )


def _from_originals(originals: dict[str, Any]) -> str:
    """Returns what predictions from original files reach, beside those from shards."""
    found = originals.get("macro_map")
    expected = originals.get("macro_map_of_shards")
    if found is None or expected is None:
        return "No tag could be ranked on images read from their original files."
    return (
        f"On {originals['records']:,} of these images, read from their original files "
        f"and not from the shards, Keras has a macro mAP of {found:.4f}; from the "
        f"shards, which is how the table was made, {expected:.4f}."
    )


def _tags_without_positives(tags: int) -> str:
    if not tags:
        return "Every tag has positives in the test split."
    which = "1 tag has" if tags == 1 else f"{tags:,} tags have"
    return (
        f"{which} no positives in the test split: the macro means are over the others."
    )
