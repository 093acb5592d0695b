"""ablation.yaml: what is read, what is refused, and the parameters of every level."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import ablation
from pipeline.errors import BadParameter
from pipeline.params import Params, load
from pipeline.train_params import OneCycle
from tests.builders.project import ROOT


def plan(**changes: Any) -> dict[str, Any]:
    queries = {"train.head": {"name": "queries"}}
    head = {"description": "the head", "levels": {"queries": queries}}
    return {"seeds": [1, 2], "factors": {"head": head}, **changes}


def with_level(changes: Any) -> dict[str, Any]:
    return plan(factors={"head": {"description": "", "levels": {"odd": changes}}})


def conditions(tree: Any, folder: Path) -> list[ablation.Condition]:
    path = folder / "ablation.yaml"
    path.write_text(yaml.safe_dump(tree))
    return ablation.conditions(ablation.load(path), Params(), Path("ablation.yaml"))


def test_a_level_leaves_the_baseline_in_what_it_names_alone(tmp_path: Path) -> None:
    tree = plan(budget={"epochs": 2, "size": 64}, baseline={"train.head.dropout": 0.3})
    baseline, queries = conditions(tree, tmp_path)
    assert (baseline.label, queries.label) == ("baseline", "head: queries")
    assert (baseline.reference, queries.reference) == ("", "baseline")
    assert baseline.params.train.head.name == "pool"
    assert baseline.params.train.head.dropout == 0.3
    assert queries.params.train.head.name == "queries"
    for found in (baseline, queries):
        assert (found.params.train.epochs, found.params.train.size) == (2, 64)
    others = baseline.params.train.model_copy(
        update={"head": queries.params.train.head}
    )
    assert others == queries.params.train
    assert queries.with_seed(7).train.seed == 7


def test_levels_are_compared_with_the_reference_of_their_factor(tmp_path: Path) -> None:
    levels = {"a": {"train.head.dropout": 0.2}, "b": {"train.head.dropout": 0.4}}
    factor = {"description": "", "reference": "a", "levels": levels}
    _, a, b = conditions(plan(factors={"dropout": factor}), tmp_path)
    assert (a.reference, b.reference) == ("", "a")


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        pytest.param(
            with_level({"train.colour": 1}),
            "ablation.yaml, level odd of head: unknown parameter train.colour. Allowed",
            id="parameter",
        ),
        pytest.param(
            with_level({"train.head": {"name": "hydra"}}),
            "ablation.yaml, level odd of head: train.head.name is 'hydra', known are",
            id="choice",
        ),
        pytest.param(
            with_level({"train.head.dropout.rate": 1}),
            "ablation.yaml, level odd of head: dropout has no part rate: it is 0.1.",
            id="part",
        ),
        pytest.param(
            with_level({"shard.size": 64}),
            "is not the name of a parameter of train, such as train.head.",
            id="section",
        ),
        pytest.param(
            with_level({"train.seed": 3}), "level odd sets train.seed", id="seed"
        ),
        pytest.param(plan(seed=[1]), "unknown name seed.", id="key"),
        pytest.param(plan(seeds=[]), "seeds: ", id="no seed"),
        pytest.param(plan(seeds=[1, 1]), "seeds must differ", id="same seeds"),
        pytest.param(
            plan(baseline={"train.epochs": 0}),
            "ablation.yaml, baseline: train.epochs: ",
            id="baseline",
        ),
    ],
)
def test_what_is_not_understood_is_refused_in_one_line(
    tree: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadParameter) as caught:
        conditions(tree, tmp_path)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_reference_must_be_a_level(tmp_path: Path) -> None:
    tree = plan()
    tree["factors"]["head"]["reference"] = "pool"
    with pytest.raises(BadParameter, match="reference pool is none of the levels"):
        conditions(tree, tmp_path)


def test_a_missing_file_and_one_that_is_no_yaml_are_named(tmp_path: Path) -> None:
    path = tmp_path / "ablation.yaml"
    with pytest.raises(BadParameter, match="is not there"):
        ablation.load(path)
    path.write_text("seeds: [1\n")
    with pytest.raises(BadParameter, match="is not YAML"):
        ablation.load(path)


def test_the_ablation_of_this_repository_loads() -> None:
    path = ROOT / "ablation.yaml"
    found = ablation.conditions(ablation.load(path), load(ROOT / "params.yaml"), path)
    assert found[0].params.train == load(ROOT / "params.yaml").train.model_copy(
        update={"epochs": 16, "size": 96, "schedule": OneCycle()}
    )
    assert len({condition.label for condition in found}) == len(found)


def test_an_unknown_factor_is_refused(tmp_path: Path) -> None:
    every = conditions(plan(), tmp_path)
    assert [one.label for one in ablation.select(every, ["baseline"])] == ["baseline"]
    assert ablation.select(every, None) == every
    with pytest.raises(BadParameter, match=r"no factor x in .* Known: baseline, head"):
        ablation.select(every, ["x"])
