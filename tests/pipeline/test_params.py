"""params.yaml: what a wrong knob is told."""

from pathlib import Path

import pytest

from pipeline.errors import BadParameter
from pipeline.params import load

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("profiles/*.yaml")), ids=lambda path: path.stem
)
def test_every_profile_is_understood(path: Path) -> None:
    load(path)


def test_shipped_parameters_are_the_sandbox_profile() -> None:
    assert (ROOT / "params.yaml").read_bytes() == (
        ROOT / "profiles" / "sandbox.yaml"
    ).read_bytes()


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
            "sample.min_positives: Input should be a valid integer",
            id="wrong type",
        ),
        pytest.param(
            "shard: {fit: zoom}",
            "shard.fit: Input should be 'pad', 'crop' or 'stretch'",
            id="not allowed",
        ),
        pytest.param(
            "manifest: {split: {train: 0.9, validation: 0.9, test: 0.1}}",
            "must sum to 1",
            id="split",
        ),
        pytest.param(
            "site: {name: custom}",
            "needs both base_url and static_url",
            id="custom site without addresses",
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
