"""Where the data come from, in words: the pin and the parameters of the lineage."""

import json
from typing import Any

from pipeline.export import markdown

_RATINGS = {"s": "safe", "q": "questionable", "e": "explicit"}


def site(pin: dict[str, Any]) -> str:
    """Returns the site's name."""
    name = pin.get("site", "?")
    if isinstance(name, str):
        return name
    return json.dumps(name, sort_keys=True)


def moment(pin: dict[str, Any]) -> str:
    """Returns which posts of which moment the pin names (pin.to_dict)."""
    search = pin.get("search")
    if search:
        found = "all posts"
        if search["query"]:
            found = f"the posts that {markdown.code(search['query'])} finds"
        return (
            f"{found}, up to number {search['newest_id']:,}, as of change "
            f"{search['change']:,}"
        )
    posts = (pin.get("exports") or {}).get("posts") or {}
    updated = posts.get("updated_at", "a time not given")
    exported = f"all posts as exported at {updated}"
    delta = pin.get("delta")
    if delta:
        return f"{exported}, with the changes up to {delta['change']:,}"
    return exported


def filters(parameters: dict[str, Any]) -> list[str]:
    """Returns the choices of `sample` that decide which posts and tags there are."""
    sample = parameters.get("sample") or {}
    lines = []
    if sample.get("ratings"):
        names = [_RATINGS.get(one, one) for one in sample["ratings"]]
        lines.append(f"rated {' or '.join(names)}")
    if sample.get("since"):
        lines.append(f"uploaded since {sample['since']}")
    if sample.get("min_tags"):
        lines.append(f"with at least {sample['min_tags']:,} tags")
    if sample.get("exclude_tags"):
        names = [markdown.code(name) for name in sample["exclude_tags"]]
        lines.append(f"without the tags {', '.join(names)}")
    query = (parameters.get("harvest") or {}).get("query")
    if query:
        lines.append(f"found by {markdown.code(query)}")
    if sample.get("categories"):
        lines.append(f"tags of the categories {', '.join(sample['categories'])}")
    if sample.get("min_positives"):
        lines.append(
            f"tags with at least {sample['min_positives']:,} images to train on, and "
            f"{sample.get('min_eval_positives', 0):,} each to validate and to test"
        )
    return lines
