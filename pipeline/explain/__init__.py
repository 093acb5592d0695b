"""Explain: why a tag is learnt or not, why a post was chosen or excluded.

It reads the tables and answers in a second at any size.

Reads       data/snapshot/*.parquet, data/sample/*.parquet; of large files only the row
            groups that may hold the answer
Writes      nothing
Guarantees  every line comes from the tables, or follows from the parameters that they
            were made with; nothing is computed over all posts.
"""

import json
from typing import Any

from pydantic import ValidationError

from pipeline import parquet
from pipeline.explain.posts import explain_post
from pipeline.explain.tables import find_row
from pipeline.explain.tags import explain_tag
from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.sample import DECIDED_BY


def run(params: Params, paths: Paths, subject: str) -> None:
    """Prints what the tables have on a post or a tag.

    subject: the id of a post, the name of a tag, or both at once, since a tag may be
    named like a number.
    """
    used = _used_params(params, paths)
    if used != params:
        print(
            "params.yaml says otherwise by now: the lines below follow from the "
            "parameters that data/sample was made with. Run dvc repro."
        )
    lines: list[str] = []
    post = _find_post(paths, subject)
    if post is not None:
        lines += explain_post(used, paths, post)
    tag = find_row(paths.snapshot / "tags.parquet", "name", subject)
    if post is None or tag is not None:
        lines += explain_tag(used, paths, subject)
    print("\n".join(lines))


def _used_params(params: Params, paths: Paths) -> Params:
    """Returns the parameters, with those that data/sample was made with."""
    path = paths.sample / "vocabulary.parquet"
    if not path.exists():
        return params
    recorded = parquet.metadata(path).get(DECIDED_BY)
    if recorded is None:
        return params
    tree = params.model_dump(mode="json")
    for section, values in json.loads(recorded).items():
        tree[section].update(values)
    try:
        return Params.model_validate(tree)
    except ValidationError:  # made by a version with other parameters
        return params


def _find_post(paths: Paths, subject: str) -> dict[str, Any] | None:
    if not subject.isdecimal():
        return None
    return find_row(paths.snapshot / "posts.parquet", "post_id", int(subject))
