"""The rules that no parameter can switch off, one by one."""

from pathlib import Path

import polars as pl
import pytest

from pipeline import policy
from pipeline.errors import PolicyViolation
from pipeline.params.site import Site

RELATIONS = {"antecedent": pl.String, "consequent": pl.String, "status": pl.String}
NONE = pl.DataFrame(schema=RELATIONS)


def post(**changes: object) -> pl.DataFrame:
    row = {
        "tags": ["fox"],
        "locked_tags": [],
        "rating": "s",
        "ext": "jpg",
        "duration": None,
        "is_deleted": False,
        "is_withheld": False,
    } | changes
    schema = {
        "tags": pl.List(pl.String),
        "locked_tags": pl.List(pl.String),
        "rating": pl.String,
        "ext": pl.String,
        "duration": pl.Float64,
        "is_deleted": pl.Boolean,
        "is_withheld": pl.Boolean,
    }
    return pl.DataFrame([row], schema=schema)


def exclusion_reason_of(
    names: policy.PolicyTags | None = None, **changes: object
) -> str | None:
    return (
        post(**changes)
        .select(policy.exclusion_reason(names or policy.PolicyTags.read(NONE, NONE)))
        .item()
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({}, None, id="ordinary"),
        pytest.param({"is_deleted": True}, "deleted", id="deleted"),
        pytest.param({"is_withheld": True}, "withheld", id="null address in the API"),
        pytest.param(
            {"rating": "q", "tags": ["young"]},
            "forbidden_young",
            id="young and questionable",
        ),
        pytest.param(
            {"rating": "e", "tags": ["cub", "fox"]},
            "forbidden_young",
            id="cub and explicit",
        ),
        pytest.param({"rating": "s", "tags": ["young"]}, None, id="young and safe"),
        pytest.param({"tags": ["avoid_posting"]}, "opted_out", id="avoid posting"),
        pytest.param(
            {"locked_tags": ["conditional_dnp"]},
            "opted_out",
            id="opt-out as locked tag only",
        ),
        pytest.param({"ext": "gif"}, "not_still", id="gif"),
        pytest.param({"ext": "webm"}, "not_still", id="video"),
        pytest.param({"ext": "swf"}, "not_still", id="flash"),
        pytest.param(
            {"ext": "png", "tags": ["animated_png"]}, "not_still", id="animated png"
        ),
        pytest.param(
            {"ext": "webp", "duration": 0.5}, "not_still", id="webp that lasts"
        ),
    ],
)
def test_each_rule_gives_its_reason(
    changes: dict[str, object], reason: str | None
) -> None:
    assert exclusion_reason_of(**changes) == reason


def test_young_post_reached_through_two_implications_is_refused() -> None:
    implications = pl.DataFrame(
        [("kitten_fox", "fox_cub", "active"), ("fox_cub", "young", "active")],
        schema=RELATIONS,
        orient="row",
    )
    assert (
        exclusion_reason_of(
            policy.PolicyTags.read(implications, NONE), rating="e", tags=["kitten_fox"]
        )
        == "forbidden_young"
    )


def test_young_post_reached_through_an_alias_is_refused() -> None:
    aliases = pl.DataFrame(
        [("jungtier", "young", "queued")], schema=RELATIONS, orient="row"
    )
    assert (
        exclusion_reason_of(
            policy.PolicyTags.read(NONE, aliases), rating="q", tags=["jungtier"]
        )
        == "forbidden_young"
    )


def test_opt_out_reached_through_an_implication_is_refused() -> None:
    implications = pl.DataFrame(
        [("dnp_artist", "avoid_posting", "active")], schema=RELATIONS, orient="row"
    )
    names = policy.PolicyTags.read(implications, NONE)
    assert exclusion_reason_of(names, tags=["dnp_artist"]) == "opted_out"
    assert exclusion_reason_of(names, locked_tags=["dnp_artist"]) == "opted_out"


@pytest.mark.parametrize(
    "status", ["deleted", "retired", "pending", "error: it failed"]
)
def test_a_relation_that_is_not_in_force_says_nothing(status: str) -> None:
    implications = pl.DataFrame(
        [("small", "young", status)], schema=RELATIONS, orient="row"
    )
    assert "small" not in policy.PolicyTags.read(implications, NONE).young


def test_a_cycle_in_the_relations_ends() -> None:
    rows = [("a", "b", "active"), ("b", "a", "active"), ("b", "young", "active")]
    assert {"a", "b", "young"} <= policy.PolicyTags.read(
        pl.DataFrame(rows, schema=RELATIONS, orient="row"), NONE
    ).young


REMOTE = {
    "name": "custom",
    "base_url": "https://board.example",
    "static_url": "https://files.board.example",
}


@pytest.mark.parametrize("address", [{"name": "e621"}, REMOTE], ids=["e621", "custom"])
def test_a_real_site_needs_contact_and_read_terms(address: dict[str, str]) -> None:
    with pytest.raises(PolicyViolation, match=r"site\.contact is empty"):
        policy.require_consent(Site.model_validate(address))
    with pytest.raises(PolicyViolation, match=r"site\.terms_read is false"):
        policy.require_consent(
            Site.model_validate({**address, "contact": "someone@example.org"})
        )
    policy.require_consent(
        Site.model_validate(
            {**address, "contact": "someone@example.org", "terms_read": True}
        )
    )


def test_the_sandbox_needs_neither() -> None:
    policy.require_consent(Site())


@pytest.mark.parametrize(
    ("address", "asked", "granted"),
    [
        pytest.param({"name": "e621"}, None, 1.0, id="default"),
        pytest.param({"name": "e621"}, 50, 2.0, id="ceiling"),
        pytest.param({"name": "e621"}, 0.5, 0.5, id="slower"),
        pytest.param(REMOTE, 50, 2.0, id="custom site elsewhere"),
        pytest.param({"name": "sandbox"}, None, None, id="sandbox"),
        pytest.param(
            {
                "name": "custom",
                "base_url": "http://127.0.0.1:1",
                "static_url": "http://localhost:2",
            },
            50,
            50,
            id="loopback",
        ),
    ],
)
def test_rate_to_real_hosts_never_passes_two(
    address: dict[str, str], asked: float | None, granted: float | None
) -> None:
    assert (
        policy.requests_per_second(
            Site.model_validate({**address, "requests_per_second": asked})
        )
        == granted
    )


def test_a_bundle_with_a_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    policy.check_no_images(tmp_path)
    (tmp_path / "cover.bin").write_bytes(b"\x89PNG\r\n\x1a\n...")
    with pytest.raises(PolicyViolation, match=r"cover\.bin is an image"):
        policy.check_no_images(tmp_path)
