"""Section: the pin, the policy and the parameters that made the model."""

from collections.abc import Mapping
from typing import Any

from pipeline.params import Params
from pipeline.report import lineage_text
from pipeline.report.inputs import Inputs
from pipeline.report.sections.section import PageData, Values

TITLE = "Lineage"
LINK = "Lineage"


def build(data: PageData) -> Values:
    """Returns the pin, the versions and the parameters."""
    inputs = data.inputs
    return {
        "site": lineage_text.site(inputs),
        "pin": inputs.lineage["pin"],
        "policy_version": inputs.lineage["policy_version"],
        "fingerprint": inputs.training.get("fingerprint", "not given"),
        "parameters": parameters(inputs, data.params),
    }


def parameters(inputs: Inputs, params: Params) -> dict[str, dict[str, Any]]:
    """Returns every parameter that shaped the model, flat, by section.

    The values that the bundle and the training recorded come before those of
    params.yaml. Where and for whom the pipeline ran (`site`, `cluster`) is left out.
    """
    current = params.model_dump(mode="json", exclude={"site", "cluster"})
    recorded = inputs.lineage["parameters"] | {"train": inputs.training["params"]}
    by_section = {}
    for section, values in current.items():
        by_section[section] = _flatten(recorded.get(section) or values)
    return by_section


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the leaves of a tree by their path: {"a": {"b": 1}} is {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = prefix + key
        if isinstance(value, dict):
            flat |= _flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat
