"""The site and the pinned moment in words."""

from pipeline.report.inputs import Inputs


def site(inputs: Inputs) -> str:
    """Returns the name of the site that the snapshot is from."""
    name = inputs.lineage["pin"].get("site")
    if name == "custom":
        return "a custom site"
    if isinstance(name, str):
        return name
    return "an unnamed site"


def pinned(inputs: Inputs) -> str | None:
    """Returns which moment of the site is pinned, or None if the lineage has none."""
    pin = inputs.lineage["pin"]
    search = pin.get("search")
    if search:
        return f"change {search['change']:,}"
    exports = pin.get("exports") or {}
    posts = exports.get("posts") or {}
    if not posts.get("updated_at"):
        return None
    day = str(posts["updated_at"])[:10]
    delta = pin.get("delta")
    if delta:
        return f"{day}, with changes to {delta['change']:,}"
    return day
