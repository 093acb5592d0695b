"""params.yaml: the message for a wrong parameter."""

from pathlib import Path

import pytest

from pipeline import params
from pipeline.errors import BadParameter
from pipeline.params import Params, load
from tests.builders.project import ROOT


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("profiles/*.yaml")), ids=lambda path: path.stem
)
def test_every_profile_is_understood(path: Path) -> None:
    load(path)


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("# nothing yet\n")
    assert load(tmp_path / "params.yaml") == Params()


def test_a_list_of_wanted_tags_may_lie_in_any_folder_below_lists(
    tmp_path: Path,
) -> None:
    (tmp_path / "params.yaml").write_text("sample: {tags_file: lists/mine/rare.txt}")
    assert load(tmp_path / "params.yaml").sample.tags_file == "lists/mine/rare.txt"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "sample: {min_positive: 3}",
            "unknown parameter sample.min_positive. Allowed here: categories",
            id="unknown",
        ),
        pytest.param(
            "samples: {}",
            "unknown parameter samples. Allowed here: site, harvest",
            id="unknown section",
        ),
        pytest.param(
            "sample: {min_positives: many}",
            "sample.min_positives: Input should be a valid integer, unable to parse "
            "string as an integer (it is 'many')",
            id="wrong type",
        ),
        pytest.param(
            "sample: {min_positives: 0, vocabulary_size: 1}",
            "sample.vocabulary_size: Input should be greater than or equal to 2 "
            "(it is 1). Correct it, or take the value of docs/reference.md. 1 more "
            "wrong.",
            id="two at once",
        ),
        pytest.param(
            "shard: {fit: zoom}",
            "shard.fit: Input should be 'pad', 'crop' or 'stretch'",
            id="not allowed",
        ),
        pytest.param(
            "sample: {split: {train: 0.9, validation: 0.9, test: 0.1}}",
            "must sum to 1",
            id="split",
        ),
        pytest.param(
            "sample: {split: {trian: 0.9}}",
            "unknown parameter sample.split.trian. Allowed here: train, validation",
            id="unknown split",
        ),
        pytest.param(
            "site: {name: custom}",
            "needs both base_url and static_url",
            id="custom site without addresses",
        ),
        pytest.param(
            "site: {name: custom, base_url: 'http://127.0.0.1:1'}",
            "needs both base_url and static_url",
            id="custom site with one address",
        ),
        pytest.param(
            "site: {static_url: 'http://127.0.0.1:1'}",
            "base_url and static_url are for site.name: custom, not sandbox",
            id="address of another site",
        ),
        pytest.param(
            "harvest: {source: api}", "api needs harvest.query", id="api without query"
        ),
        pytest.param(
            "harvest: {query: fox}",
            "harvest.query is for harvest.source: api",
            id="query without api",
        ),
        pytest.param(
            "train: {widths: [32], blocks: [1, 1]}",
            "widths and blocks must have the same length",
            id="depths",
        ),
        pytest.param(
            "{train: {size: 256}, shard: {size: 128}}",
            "train.size 256 is more than shard.size 128",
            id="larger than stored",
        ),
        pytest.param("site: [", "is not YAML", id="not yaml"),
        pytest.param(
            "sample: {tags_file: my.txt}",
            "tags_file my.txt is not below lists/",
            id="list in the root",
        ),
        pytest.param(
            "sample: {tags_file: /lists/a.txt}",
            "is not below lists/",
            id="list elsewhere",
        ),
        pytest.param(
            "sample: {tags_file: lists/../a.txt}",
            "is not below lists/",
            id="list that climbs out",
        ),
        pytest.param(
            "sample: {tags_file: lists}", "is not below lists/", id="folder as list"
        ),
    ],
)
def test_wrong_parameter_is_named_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(BadParameter) as raised:
        load(tmp_path / "params.yaml")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_equal_sizes_of_shards_and_training_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("{train: {size: 128}, shard: {size: 128}}")
    assert load(tmp_path / "params.yaml").train.size == 128


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "not text"])
def test_file_that_cannot_be_read_is_named_in_one_line(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadParameter, match=r"params\.yaml is not (there|UTF-8 text)"):
        load(path)


def test_old_name_of_a_parameter_gives_its_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = {"sample.positives": "sample.min_positives"}
    monkeypatch.setattr(params, "MOVED", moved)
    (tmp_path / "params.yaml").write_text("sample: {positives: 3}")
    with pytest.raises(BadParameter) as raised:
        load(tmp_path / "params.yaml")
    assert str(raised.value).endswith(
        "params.yaml: sample.positives is now sample.min_positives: move its value "
        "there."
    )


def test_moved_parameters_are_gone_and_their_new_names_exist() -> None:
    names = set()
    for section, model in Params():
        names |= {f"{section}.{name}" for name in type(model).model_fields}
    assert not set(params.MOVED) & names
    assert set(params.MOVED.values()) <= names
