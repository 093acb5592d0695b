"""The model card: what a person reads before using the model.

Numbers never stand without their baseline.
"""

import json
from typing import Any

METRICS = {
    "macro_map": "macro mAP (mean over tags of average precision)",
    "macro_auc": "macro AUC (mean over tags)",
    "macro_f1": "macro F1 at the thresholds",
    "micro_auc": "micro AUC (all pairs of picture and tag ranked together)",
    "micro_f1": "micro F1 at the thresholds",
    "accuracy": "accuracy at the thresholds",
}

_TEXT = """\
# {name}

An image tagger: one picture in, one probability per tag out, {tags:,} tags. Trained by e6tag on {train:,} pictures,
chosen on {validation:,} and judged on {test:,} others, which share no family of parents and children with them.

## Files

| file | what it is |
|---|---|
| `model.onnx` | the network; normalisation and sigmoid are inside |
| `selected_tags.csv` | tag_id, name, category (the site's number), count (training positives); as `output` is ordered |
| `thresholds.csv` | name, threshold: say the tag from this probability on; best F1 on validation |
| `preprocessing.json` | how a picture becomes `input` |
| `lineage.json` | snapshot, rules and parameters behind the model |

## Use

`input`: float32 [N, {size}, {size}, 3], RGB, 0 to 255, not normalised. (Taggers of the WD family take BGR: swap the
channels.) {fitting} `output`: float32 [N, {tags}], probabilities.

## Numbers, on the test split

"Image-blind" is what the same labels give to a model that never looks at the picture: every picture scored with the
share that each tag has in training, or the best constant answer.

| metric | this model | image-blind |
|---|---|---|
{numbers}

{left_out}

## Lineage

Site `{site}`, {moment}. Rules of selection: policy version {policy}.
Training: {parameters:,} weights, best of {epochs} epochs is number {best_epoch}, fingerprint `{fingerprint}`.

```json
{lineage}
```

## Limits

- The labels are what people typed: tags are missing and some are wrong, so a model better than them is scored too low.
- Probabilities speak of pictures like those of the snapshot. Elsewhere, choose thresholds anew.
- The network sees {size} x {size} pixels: what is smaller than a few of them there, it cannot know.
- Names of tags imply nothing about people. Do not use it to judge real persons or to decide about them.
- This bundle holds weights, tags, counts and ids; no pictures, and no addresses of any.
"""

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
    site = lineage["pin"].get("site", "?")
    pinned = {key: lineage[key] for key in ("pin", "policy_version", "parameters")}
    size = preprocessing["size"]
    fitting = f"{_FITTING[preprocessing['fit']]} and resize it to {size} pixels (antialiased bilinear, as Pillow's)."
    return _TEXT.format(
        name=name, tags=facts["tags"], size=size, fitting=fitting,
        train=facts["records"]["train"], validation=metrics["records"]["validation"],
        test=metrics["records"]["test"],
        numbers="\n".join(_row(label, metrics["test"][key]) for key,
        label in METRICS.items()),
        left_out=_left_out(metrics["tags"]["without_positives_in_test"]),
        site=site if isinstance(site, str) else json.dumps(site, sort_keys=True),
        moment=_moment(lineage["pin"]), policy=lineage["policy_version"],
        parameters=facts["parameters"], epochs=facts["epochs"],
        best_epoch=facts["best_epoch"],
        fingerprint=facts["fingerprint"], lineage=json.dumps(pinned, indent=2,
        sort_keys=True),
    )  # fmt: skip


def _moment(pin: dict[str, Any]) -> str:
    """Returns which posts of which moment the pin names (pin.as_tree), in words."""
    if search := pin.get("search"):
        found = (
            f"the posts that `{search['query']}` finds"
            if search["query"]
            else "all posts"
        )
        return (
            f"{found}, up to number {search['newest_id']:,}, as of change "
            f"{search['change']:,}"
        )
    posts = (pin.get("exports") or {}).get("posts") or {}
    exported = f"all posts as exported at {posts.get('updated_at', 'a time not given')}"
    delta = pin.get("delta")
    return (
        f"{exported}, with the changes up to {delta['change']:,}" if delta else exported
    )


def _row(label: str, metric: dict[str, float]) -> str:
    value, baseline = (
        f"{metric[key]:.4f}" if key in metric else "-" for key in ("value", "baseline")
    )
    interval = (
        f" ({metric['low']:.4f} to {metric['high']:.4f})" if "low" in metric else ""
    )
    return f"| {label} | {value}{interval} | {baseline} |"


def _left_out(tags: int) -> str:
    if not tags:
        return "Every tag has positives in the test split."
    which = "1 tag has" if tags == 1 else f"{tags:,} tags have"
    return (
        f"{which} no positives in the test split: the macro means are over the others."
    )
