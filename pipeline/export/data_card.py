"""The data card: what the model was trained on, and what was left out and why."""

from pathlib import Path
from typing import Any

from pipeline import templates
from pipeline.export import markdown, origin
from pipeline.export.data_facts import DataFacts
from pipeline.params.export import Export

_TEMPLATE = "DATA_CARD.md.jinja"

_VARIANTS = {
    "original": "the original files",
    "sample": "the site's reduced copies where it has them, else the original files",
    "preview": "the site's previews",
}


def render_data_card(
    *, params: Export, facts: DataFacts, lineage: dict[str, Any]
) -> str:
    """Returns the card as Markdown. lineage: content of lineage.json."""
    environment = templates.environment(Path(__file__).parent, is_html=False)
    environment.filters["code"] = markdown.code
    environment.filters["percent"] = percent
    environment.filters["thousands"] = "{:,}".format
    parameters = lineage["parameters"]
    variant = parameters.get("download", {}).get("variant")
    return environment.get_template(_TEMPLATE).render(
        name=params.name,
        contact=params.contact,
        site=origin.site(lineage["pin"]),
        moment=origin.moment(lineage["pin"]),
        policy=lineage["policy_version"],
        filters=origin.filters(parameters),
        variant=_VARIANTS.get(variant, "of a kind that the lineage does not name"),
        facts=facts,
        rules=_rules(facts),
        corrections=lineage.get("overlay", {}).get("applied", 0),
    )


def _rules(facts: DataFacts) -> list[tuple[int, str, int | None]]:
    """Returns number, text and excluded posts of each rule; None where none can be."""
    rules = []
    for number, text in enumerate(_RULES, 1):
        excluded = facts.of_rule(number) if number <= _RULES_OF_POSTS else None
        rules.append((number, text, excluded))
    return rules


_RULES = (
    (
        "Posts that the site deleted, expunged or replaced are never fetched; a "
        "refresh removes their images."
    ),
    (
        "Posts rated questionable or explicit that are tagged `young`, or with any tag "
        "that implies it, are never selected."
    ),
    "Artists' opt-outs (`avoid_posting`, `conditional_dnp`) are never selected.",
    "A file that the site withholds is never reached by another way.",
    "Only still images: jpg, png, webp.",
    (
        "Requests name their agent and a contact, at most one a second by default and "
        "two at most to the real hosts; a challenge page ends the run."
    ),
    "The live site is off until the operator has read its terms and named a contact.",
    "Images are never passed on: this folder holds weights, tags, counts and ids.",
)
"""The rules of pipeline/policy.py, in their order."""

_RULES_OF_POSTS = 5
"""The first rules choose posts; the others are of requests and of this folder."""


def percent(part: float, whole: float = 1) -> str:
    """Returns a share in per cent, a dash where there is no whole."""
    return f"{100 * part / whole:.1f} %" if whole else "-"
