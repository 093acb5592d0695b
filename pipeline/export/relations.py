"""What the site says of the tags' names: implications, and tags renamed since."""

from e6tag import bundle
from pipeline import parquet, tag_graph
from pipeline.errors import BadInput
from pipeline.paths import Paths

Rows = list[tuple[str, str]]


def canonical_names(paths: Paths) -> dict[str, str]:
    """Returns the new name of every alias in force."""
    aliases = parquet.read(paths.snapshot / "aliases.parquet")
    return tag_graph.canonical_names(tag_graph.pairs_in_force(aliases))


def implications(paths: Paths, names: list[str], canonical: dict[str, str]) -> Rows:
    """Returns name and what it implies in one step, sorted.

    Of the tags and of all that they imply, to any depth: also of names that are no tags
    of the model. canonical: of aliases, as `canonical_names` returns them.
    """
    relations = parquet.read(paths.snapshot / "implications.parquet")
    pairs = tag_graph.pairs_in_force(relations)
    direct = tag_graph.implied_directly(pairs, canonical)
    rows = set()
    frontier = set(names)
    seen: set[str] = set()
    while frontier:
        name = frontier.pop()
        seen.add(name)
        implied = direct.get(name, frozenset()) - {name}
        rows |= {(name, one) for one in implied}
        frontier |= implied - seen
    return sorted(rows)


def renamed(paths: Paths, previous: str | None, canonical: dict[str, str]) -> Rows:
    """Returns old and new name of the previous bundle's tags that are aliases now.

    previous: its folder, relative to the project; None gives no rows. canonical: as
    `canonical_names` returns them. Raises BadInput.
    """
    if previous is None:
        return []
    path = paths.root / previous / bundle.TAGS
    try:
        tags = bundle.read_csv(path, bundle.TAG_COLUMNS)
    except bundle.BundleError as error:
        raise BadInput(
            f"export.previous: {error}. Copy thresholds.csv of the bundle that was "
            "released last there, or set export.previous: null."
        ) from error
    names = [name for name, *_ in tags]
    return sorted((name, canonical[name]) for name in names if name in canonical)
