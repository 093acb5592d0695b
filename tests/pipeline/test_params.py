"""params.yaml: the message for a wrong parameter."""

import json
import math
from pathlib import Path

import pytest

from pipeline import params
from pipeline.errors import BadParameter
from pipeline.param_models import choices
from pipeline.params import Params, load, parse
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
            "train: {backbone: {name: compact, widths: [32], blocks: [1, 1]}}",
            "train.backbone: Value error, widths and blocks must have the same length",
            id="depths",
        ),
        pytest.param(
            "train: {backbone: {name: x}}",
            "params.yaml: train.backbone.name is 'x', known are compact, "
            "keras_applications, resnet_v4.",
            id="unknown choice",
        ),
        pytest.param(
            "train: {optimizer: {name: muon}, schedule: {name: one_cycle, momentum: "
            "[0.95, 0.85]}}",
            "schedule.momentum cycles the momentum of sgd or adamw",
            id="momentum of muon",
        ),
        pytest.param(
            "train: {schedule: {name: one_cycle, momentum: [0.85, 0.95]}}",
            "momentum is [high, low]: the first must be the larger",
            id="momentum upside down",
        ),
        pytest.param(
            "train: {schedule: {name: triangle, low: 1, high: 0.5}}",
            "low must be at most high",
            id="triangle upside down",
        ),
        pytest.param(
            "train: {backend: jax, xla: false}",
            "xla: false is for backend: tensorflow",
            id="jax without XLA",
        ),
        pytest.param(
            "train: {ema: 1.0}",
            "train.ema: Input should be less than 1 (it is 1.0)",
            id="average that never changes",
        ),
        pytest.param(
            "train: {backbone: {name: keras_applications, model: VGG16}}",
            "train.backbone.model: Input should be 'ConvNeXtBase', 'ConvNeXtSmall'",
            id="unknown application",
        ),
        pytest.param(
            "train: {size: 64, backbone: {name: keras_applications, model: Xception}}",
            "train: Value error, size is 64, and Xception needs at least 71 pixels",
            id="too small for the application",
        ),
        pytest.param(
            "train: {noise: {name: 3}}",
            "params.yaml: train.noise.name is 3, known are none, diagonal, low_rank.",
            id="number as choice",
        ),
        pytest.param(
            "train: {backbone: {name: compact, width: 1.0}}",
            "unknown parameter train.backbone.width. Allowed here: name, widths, "
            "blocks.",
            id="unknown parameter of a choice",
        ),
        pytest.param(
            "train: {loss: {name: summed_binary_cross_entropy, gamma: 2}}",
            "unknown parameter train.loss.gamma. Allowed here: name.",
            id="parameter of a choice that has none",
        ),
        pytest.param(
            "train: {backbone: {name: compact, widths: [32, 4, 64, 128]}}",
            "train.backbone.widths.1: Input should be greater than or equal to 8 "
            "(it is 4).",
            id="value in a choice",
        ),
        pytest.param(
            "train: {noise: {name: low_rank}, loss: {name: focal}}",
            "train: Value error, noise.joint trains one likelihood of all labels of an "
            "image, which loss does not change: leave loss out, or set noise.joint to "
            "false",
            id="loss beside the joint likelihood",
        ),
        pytest.param(
            "train: {noise: {name: low_rank}, tag_weights: 0.9}",
            "which tag_weights does not change",
            id="tag weights beside the joint likelihood",
        ),
        pytest.param(
            "train: {noise: {name: diagonal, temperature: warm}}",
            "train.noise.temperature: Value error, must be a number above 0, or "
            "learned (it is 'warm').",
            id="temperature",
        ),
        pytest.param(
            "train: {robust: {name: trained, alpha: 2}}",
            "train.robust.alpha: Input should be less than 1.999 (it is 2).",
            id="alpha outside of the trained range",
        ),
        pytest.param(
            "train: {robust: {name: fixed, alpha: .nan}}",
            "train.robust.alpha: Input should be less than or equal to 2 (it is nan).",
            id="alpha that is no number",
        ),
        pytest.param(
            "train: {tag_weights: 1}",
            "train.tag_weights: Input should be less than 1 (it is 1).",
            id="tag weights that do not exist",
        ),
        pytest.param(
            "train: {head: {name: queries, width: 30}}",
            "train.head: Value error, width must be a multiple of heads: 30 is none",
            id="heads",
        ),
        pytest.param(
            "train: {head: {dropout: 0.5}}",
            "params.yaml: train.head has no name, known are pool, queries, "
            "attention_residual.",
            id="choice without name",
        ),
        pytest.param(
            "train: {head: pool}",
            "train.head is 'pool': write the choice as {name: ...}, known are pool, "
            "queries, attention_residual.",
            id="name instead of a choice",
        ),
        pytest.param(
            "train: {widths: [32]}",
            "train.widths is now train.backbone.widths, where train.backbone is "
            "{name: compact}: move its value there.",
            id="moved into the backbone",
        ),
        pytest.param(
            "train: {blocks: [1]}",
            "train.blocks is now train.backbone.blocks, where train.backbone is "
            "{name: compact}: move its value there.",
            id="blocks moved into the backbone",
        ),
        pytest.param(
            "train: {dropout: 0.5}",
            "train.dropout is now train.head.dropout, where train.head is {name: pool} "
            "or {name: queries}: move its value there.",
            id="moved into the head",
        ),
        pytest.param(
            "train: {learning_rate: 0.01}",
            "train.learning_rate is now train.schedule.learning_rate, where "
            "train.schedule is {name: one_cycle} or {name: cosine}: move its value "
            "there.",
            id="moved into the schedule",
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
        pytest.param(
            "train: {init: data/model}",
            "init data/model is not below init/, the folder in which DVC sees changes",
            id="model elsewhere",
        ),
        pytest.param(
            "train: {init: init/../data/model}",
            "not below init/",
            id="model climbs out",
        ),
        pytest.param(
            "train: {freeze: embeddings}",
            "freeze embeddings keeps the weights of train.init, which is null",
            id="nothing to freeze",
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


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan"])
@pytest.mark.parametrize(
    "text",
    [
        "{site: {requests_per_second: N}}",
        "{train: {clip_norm: N}}",
        "{train: {optimizer: {name: adamw, weight_decay: N}}}",
        "{train: {schedule: {name: one_cycle, learning_rate: N}}}",
        "{train: {schedule: {name: triangle, high: N}}}",
        "{train: {loss: {name: focal, gamma: N}}}",
        "{train: {loss: {name: hill, curvature: N}}}",
        "{train: {loss: {name: splc, warmup_epochs: N}}}",
        "{train: {robust: {name: fixed, scale: N}}}",
        "{train: {noise: {name: diagonal, temperature: N}}}",
    ],
)
def test_no_parameter_is_infinite_or_no_number(
    tmp_path: Path, text: str, number: str
) -> None:
    (tmp_path / "params.yaml").write_text(text.replace("N", number))
    with pytest.raises(BadParameter, match=r"must be a number|be a finite number"):
        load(tmp_path / "params.yaml")


def test_alpha_that_is_infinite_survives_json(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(
        "train: {robust: {name: fixed, alpha: -.inf}}"
    )
    params = load(tmp_path / "params.yaml")
    written = json.dumps(params.model_dump(mode="json"), allow_nan=False)
    assert params.train.robust.arguments() == {"alpha": -math.inf, "scale": 1.0}
    assert parse(json.loads(written), "params.yaml") == params


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
        for name, field in type(model).model_fields.items():
            names.add(f"{section}.{name}")
            for choice in choices(field).values():
                names |= {f"{section}.{name}.{part}" for part in choice.model_fields}
    assert not set(params.MOVED) & names
    assert set(params.MOVED.values()) <= names


def test_parameters_of_a_choice_that_are_left_out_have_their_defaults(
    tmp_path: Path,
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("train: {backbone: {name: compact, widths: [8, 8, 16, 16]}}")
    train = load(path).train
    assert train.backbone.arguments() == {
        "widths": [8, 8, 16, 16],
        "blocks": [1, 1, 1, 1],
    }
    assert train.head == Params().train.head
