"""The model card: what a person reads before using the model.

Numbers never stand without their baseline.
"""

import json
from pathlib import Path
from typing import Any

METRICS = {
    "macro_map": "macro mAP (mean over tags of average precision)",
    "macro_auc": "macro AUC (mean over tags)",
    "macro_f1": "macro F1 at the thresholds",
    "micro_auc": "micro AUC (all pairs of picture and tag ranked together)",
    "micro_f1": "micro F1 at the thresholds",
    "accuracy": "accuracy at the thresholds",
}

_TEMPLATE = Path(__file__).with_name("model_card.template.md")
"""Filled in by str.format."""

_FITTING = {
    "pad": "Pad the picture with white to a square, centred,",
    "crop": "Crop the picture to its central square",
    "stretch": "Stretch the picture to a square",
}


def render_model_card(
    name: str,
    preprocessing: dict[str, Any],
    metrics: dict[str, Any],
    facts: dict[str, Any],
    lineage: dict[str, Any],
) -> str:
    """Returns the card as Markdown. metrics: metrics.json; facts: training.json."""
    size = preprocessing["size"]
    fitted = _FITTING[preprocessing["fit"]]
    resized = f"resize it to {size} pixels (antialiased bilinear, as Pillow's)."
    fitting = f"{fitted} and {resized}"
    rows = [_row(label, metrics["test"][key]) for key, label in METRICS.items()]
    pinned = {key: lineage[key] for key in ("pin", "policy_version", "parameters")}
    return _TEMPLATE.read_text(encoding="utf-8").format(
        name=name,
        tags=facts["tags"],
        size=size,
        fitting=fitting,
        train=facts["records"]["train"],
        validation=metrics["records"]["validation"],
        test=metrics["records"]["test"],
        numbers="\n".join(rows),
        left_out=_left_out(metrics["tags"]["without_positives_in_test"]),
        site=_site(lineage["pin"]),
        moment=_moment(lineage["pin"]),
        policy=lineage["policy_version"],
        parameters=facts["parameters"],
        epochs=facts["epochs"],
        best_epoch=facts["best_epoch"],
        fingerprint=facts["fingerprint"],
        lineage=json.dumps(pinned, indent=2, sort_keys=True),
    )


def _site(pin: dict[str, Any]) -> str:
    site = pin.get("site", "?")
    if isinstance(site, str):
        return site
    return json.dumps(site, sort_keys=True)


def _moment(pin: dict[str, Any]) -> str:
    """Returns which posts of which moment the pin names (pin.to_dict), in words."""
    search = pin.get("search")
    if search:
        found = "all posts"
        if search["query"]:
            found = f"the posts that `{search['query']}` finds"
        return (
            f"{found}, up to number {search['newest_id']:,}, as of change "
            f"{search['change']:,}"
        )
    posts = (pin.get("exports") or {}).get("posts") or {}
    moment = posts.get("updated_at", "a time not given")
    exported = f"all posts as exported at {moment}"
    delta = pin.get("delta")
    if delta:
        return f"{exported}, with the changes up to {delta['change']:,}"
    return exported


def _row(label: str, metric: dict[str, float]) -> str:
    """Returns a row of the table of numbers; a dash where a number is missing."""
    value = _number(metric, "value")
    interval = ""
    if "low" in metric:
        interval = f" ({metric['low']:.4f} to {metric['high']:.4f})"
    return f"| {label} | {value}{interval} | {_number(metric, 'baseline')} |"


def _number(metric: dict[str, float], key: str) -> str:
    return f"{metric[key]:.4f}" if key in metric else "-"


def _left_out(tags: int) -> str:
    if not tags:
        return "Every tag has positives in the test split."
    which = "1 tag has" if tags == 1 else f"{tags:,} tags have"
    return (
        f"{which} no positives in the test split: the macro means are over the others."
    )
