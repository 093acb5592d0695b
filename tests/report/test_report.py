"""The report page, from small datasets written by hand: what it says, what it shows.

And what it never asks for.
"""

import base64
import csv
import io
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from pipeline import packs, parquet, report
from pipeline.errors import BadInput, CorruptFile
from pipeline.paths import DATASETS, Paths
from pipeline.report import data_quality, facts, inputs, plots, render
from pipeline.schemas.evaluation import PER_TAG, PREDICTIONS
from pipeline.schemas.images import TAKEDOWNS
from pipeline.schemas.manifest import LEAKAGE
from pipeline.schemas.reasons import (
    Anomaly,
    PostExclusion,
    RecordRejection,
    TagExclusion,
    Takedown,
)
from pipeline.schemas.sample import (
    ALIASES_IN_USE,
    ANOMALIES,
    CO_OCCURRENCE,
    EXCLUDED_TAGS,
    MISSING_IMPLICATIONS,
)
from pipeline.schemas.snapshot import UNKNOWN_TAGS
from pipeline.site.request_stats import WaitReason
from pipeline.validate.sample_explanations import STRATEGIES
from tests.builders import tables
from tests.builders.tables import (
    PACK,
    PARAMS,
    change,
    md5,
    set_value,
    split_of,
    write_json,
)

SAMPLED = range(1, 33)
TEST = [post_id for post_id in SAMPLED if split_of(post_id) == "test"]
LOST = 16  # its picture could not be fetched

FIGURES = {
    "macro_map": {"value": 0.8124, "baseline": 0.3411, "low": 0.791, "high": 0.832},
    "macro_auc": {"value": 0.9137, "baseline": 0.5},
    "macro_f1": {"value": 0.7716, "baseline": 0.4522},
    "micro_auc": {"value": 0.9444, "baseline": 0.8333},
    "micro_f1": {"value": 0.7011, "baseline": 0.4011},
    "accuracy": {"value": 0.9755, "baseline": 0.9666},
}

POLITENESS = {
    "download": {
        "agents": {"e6tag/0.1.0 (by someone)": 33},
        "bytes": {"file": 5_300_000},
        "requests": {"file": {"200": 31, "404": 1, "503": 1}},
        "rate_limit_per_second": 1.0,
        "seconds_waited": {"rate_limit": 29.5, "retry_after": 120.0},
    },
    "harvest": {
        "agents": {"e6tag/0.1.0 (by someone)": 5},
        "bytes": {"api": 800, "export": 2_000},
        "requests": {"api": {"200": 1}, "export": {"200": 3, "TimeoutError": 1}},
        "seconds_waited": {},
    },
}

DELTA = {
    "base_change": 5_480_000,
    "change": 900_009_584,
    "changed": 11,
    "checksum": "c" * 64,
    "gone": 1,
}

EXPLANATION_SCHEMAS = {
    "lacking_implied": MISSING_IMPLICATIONS,
    "aliased_spellings": ALIASES_IN_USE,
    "co_occurrence": CO_OCCURRENCE,
    "oddities": ANOMALIES,
}

EXPLANATIONS = (
    "strategies",
    "lacking_implied",
    "aliased_spellings",
    "co_occurrence",
    "oddities",
)

READ = [
    "data/snapshot/unknown_tags.parquet",
    "data/sample/vocabulary.parquet",
    "data/sample/left_out.parquet",
    "data/sample/posts.parquet",
    "data/sample/dropped.parquet",
    *(f"data/sample/{name}.parquet" for name in EXPLANATIONS),
    "data/images/outcomes.parquet",
    "data/images/takedowns.parquet",
    f"data/images/{PACK}",
    *(
        f"data/manifest/{name}.parquet"
        for name in ("train", "validation", "test", "fresh", "rejected", "leakage")
    ),
    "data/shards/index.parquet",
    "data/shards/rejected.parquet",
    "data/model/training.json",
    "data/model/history.csv",
    "data/evaluation/metrics.json",
    "data/evaluation/per_tag.parquet",
    "data/evaluation/curves.parquet",
    "data/evaluation/predictions.parquet",
    "data/bundle/lineage.json",
    *(f"data/gates/{name}/verdict.json" for name in DATASETS),
]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Returns a project that no test changes."""
    return make(Paths(tmp_path_factory.mktemp("good")))


@pytest.fixture(scope="module")
def html(good: Paths) -> str:
    """Returns its page."""
    return written(good)


@pytest.fixture
def project(good: Paths, tmp_path: Path) -> Paths:
    """Returns a copy without page, to break."""
    shutil.copytree(good.data, tmp_path / "data")
    return Paths(tmp_path)


def make(paths: Paths) -> Paths:
    """Writes all that the report reads: test pictures are blue, all others red."""
    tables.write_all(paths)
    write_pictures(paths)
    write_model(paths)
    write_gates(paths)
    metrics = {
        "test": FIGURES,
        "validation": FIGURES,
        "records": {"test": 8},
        "tags": {"vocabulary": 3},
    }
    write_json(paths.evaluation / "metrics.json", metrics)
    return paths


def write_pictures(paths: Paths) -> None:
    kept = sorted((md5(post_id), post_id) for post_id in SAMPLED if post_id != LOST)
    packs.write(paths.images / PACK, (picture(name, post_id) for name, post_id in kept))


def picture(name: str, post_id: int) -> packs.PackedImage:
    colour = (0, 0, 255, 255) if split_of(post_id) == "test" else (255, 0, 0, 255)
    Image.new("RGBA", (640, 480), colour).save(out := io.BytesIO(), "PNG")
    return packs.PackedImage(name, 1, "sample", out.getvalue(), "png", 640, 480)


def write_model(paths: Paths) -> None:
    facts = {
        "best_epoch": 2,
        "epochs": 2,
        "fingerprint": "0123456789abcdef",
        "parameters": 1_234_567,
    }
    write_json(
        paths.model / "training.json",
        facts | {"params": PARAMS.train.model_dump(mode="json")},
    )
    names = "epoch,learning_rate,train_loss,validation_loss,validation_loss_baseline,macro_auc,macro_auc_baseline"
    lines = [
        "1,0.003,0.6,0.58,0.61,0.7,0.5,0.5,0.3",
        "2,0.001,0.5,0.55,0.61,0.8,0.5,0.6,0.3",
    ]
    text = "\n".join([f"{names},macro_map,macro_map_baseline", *lines]) + "\n"
    (paths.model / "history.csv").write_text(text)


def write_gates(paths: Paths) -> None:
    rows = {"snapshot": {"posts.parquet": 35, "tags.parquet": 8}}
    for name in DATASETS:
        told = [
            {"success": True, "severity": "critical"},
            {"success": False, "severity": "warning"},
        ]
        verdict = {
            "dataset": name,
            "success": True,
            "rows": rows.get(name, {}),
            "expectations": told,
        }
        write_json(paths.verdict(name), verdict)


def written(paths: Paths) -> str:
    report.run(PARAMS, paths)
    return (paths.reports / "index.html").read_text(encoding="utf-8")


def text_of(html: str) -> str:
    """Returns what a reader sees, tags gone and blanks joined."""
    shown = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", shown).split())


def pictures_of(html: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in found]


def posts_of(html: str) -> list[int]:
    return [int(one) for one in re.findall(r"<p>post (\d+):", html)]


def test_the_page_says_what_was_trained_on(html: str) -> None:
    text = text_of(html)
    assert "A tagger for 3 tags, trained on 14 pictures from sandbox" in text
    assert "35 posts" in text
    assert "1,234,567 weights" in text


def test_every_headline_number_stands_beside_its_baseline(html: str) -> None:
    text = text_of(html)
    for name, figure in FIGURES.items():
        called = facts.METRICS[name][0]
        table = f"{called} {figure['value']:.3f} {figure['baseline']:.3f} "
        assert table in text, name
        if name != "micro_f1":
            assert (
                f"{called} {figure['value']:.3f} image-blind {figure['baseline']:.3f}"
                in text
            ), name
    assert "95 % interval 0.791 to 0.832" in text
    assert "is 96.7 % accurate already" in text


def test_the_page_asks_no_host_for_anything(html: str) -> None:
    assert not re.search(r"https?://", html)
    addresses = re.findall(r'(?:src|href|action|data|poster|srcset)="([^"]*)"', html)
    allowed = ("#", "data:image/jpeg;base64,", "gates/")
    assert [one for one in addresses if not one.startswith(allowed)] == []
    assert not re.search(r"@import|<link|<iframe|<object|fetch\(|XMLHttpRequest", html)
    assert [
        one for one in re.findall(r"url\(([^)]*)\)", html) if not one.startswith("#")
    ] == []


def test_the_gates_pages_are_linked(html: str, good: Paths) -> None:
    for name in DATASETS:
        assert f'href="gates/{name}/index.html"' in html
        assert (good.reports / f"gates/{name}") == good.data_docs(name)


def test_a_failed_gate_is_told(project: Paths) -> None:
    write_json(
        project.verdict("shards"), {"success": False, "rows": {}, "expectations": []}
    )
    html = written(project)
    assert (html.count("✓ passed"), html.count("✗ failed")) == (5, 1)


def test_same_inputs_give_the_same_bytes(
    html: str, good: Paths, tmp_path: Path
) -> None:
    assert written(make(Paths(tmp_path / "elsewhere"))) == html == written(good)
    assert str(good.root) not in html


def test_only_test_pictures_are_shown_and_small(html: str) -> None:
    shown = pictures_of(html)
    assert sorted(posts_of(html)) == TEST
    assert len(shown) == len(TEST)
    assert {one.size for one in shown} == {(192, 144)}
    for one in shown:
        red, _, blue = one.convert("RGB").getpixel((50, 50))
        assert blue > 200 > 50 > red


def test_pictures_are_drawn_whatever_the_scores(
    project: Paths, html: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.report.examples.SHOWN", 3)
    for post_id in TEST:
        path = project.evaluation / "predictions.parquet"
        set_value(
            path,
            PREDICTIONS,
            "post_id",
            post_id,
            scores=[post_id / 40, 0.1, 0.2],
        )
    assert posts_of(written(project)) == posts_of(html)[:3]


def test_tags_are_marked_as_correct_missed_or_wrong(project: Paths) -> None:
    path = project.evaluation / "predictions.parquet"
    assert tables.labels_of(28) == [0, 1]
    set_value(path, PREDICTIONS, "post_id", 28, scores=[0.75, 0.25, 0.5])
    (article,) = re.findall(
        r"<p>post 28:.*?</article>", written(project), flags=re.DOTALL
    )
    said = re.findall(r'<li class="(\w+)">(\w+) <small>([\d.]+)</small>', article)
    assert said == [
        ("correct", "canine", "0.75"),
        ("missed", "fox", "0.25"),
        ("wrong", "hat", "0.50"),
    ]
    assert "1 right, 1 missed, 1 wrong" in article


def test_the_funnel_adds_up(good: Paths) -> None:
    steps = facts.funnel(inputs.read(good))
    left = 0
    for step in steps:
        assert step.posts >= 0
        if step.kept:
            assert left in {0, step.posts}, step.text
            left = step.posts
        else:
            left -= step.posts
    assert [step.posts for step in steps if step.kept] == [35, 32, 32, 30, 14]
    assert Counter(step.text for step in steps)["picture not found"] == 1


def test_the_rules_are_counted(good: Paths) -> None:
    counted = {number: posts for number, _, posts in facts.rules(inputs.read(good))}
    assert list(counted.items()) == [(1, 1), (2, 1), (3, 1), (4, 0), (5, 0)]


def test_tags_left_out_are_named_by_reason(project: Paths, html: str) -> None:
    assert "rarer than the tags that were taken 1 unlabelled" in text_of(html)
    change(
        project.sample / "left_out.parquet",
        lambda frame: frame.clear(),
        EXCLUDED_TAGS,
    )
    assert "were left out" not in written(project)


def test_strategies_are_compared_and_the_chosen_one_is_marked(html: str) -> None:
    text = text_of(html)
    assert "few posts that serve every tag ✓ chosen 30 30.0 s 8 8 0 3.0 0.125" in text
    assert (
        "quota: the newest, each for its rarest tag 31 31.0 s 8 8 0 3.0 0.250" in text
    )
    assert "posts with more tags than 75 % of the candidates have" in text
    assert text.count("✓ chosen") == 1


def test_what_the_labels_lack_is_shown(html: str) -> None:
    text = text_of(html)
    assert "Of 1 implications in use, 1 lacks the implied tag on some post." in text
    assert "fox canine 16 16 100.0 %" in text
    assert "vulpine fox 8" in text
    assert (
        "posts whose parent is gone: it makes them siblings all the same 1 7: parent 3 "
        "is not in the snap" in text
    )


def test_pairs_that_imply_each_other_or_meet_by_chance_are_not_shown(
    project: Paths, html: str
) -> None:
    assert "No two tags go together more often than by chance" in text_of(html)
    path = project.sample / "co_occurrence.parquet"
    set_value(path, CO_OCCURRENCE, "lift", 0.25, posts=90, expected=20.0, lift=4.5)
    assert [
        (one["first"], one["second"])
        for one in data_quality.pairs(inputs.read(project))
    ] == [("fox", "hat")]
    assert "fox hat 90 20.0 4.5" in text_of(written(project))


def test_a_board_without_doubts_says_so(project: Paths) -> None:
    for name in EXPLANATIONS[1:]:
        schema = EXPLANATION_SCHEMAS[name]
        change(project.sample / f"{name}.parquet", lambda frame: frame.clear(), schema)
    text = text_of(written(project))
    assert "Every implied tag was given." in text
    assert "No post carries an aliased name." in text
    assert "Nothing: no circles, no names in two categories" in text


def test_a_spelling_of_an_unknown_tag_is_told_as_lost(project: Paths) -> None:
    path = project.sample / "aliased_spellings.parquet"
    set_value(path, ALIASES_IN_USE, "name", "vulpine", is_known=False)
    assert "fox (not in the site's list: lost) 8" in text_of(written(project))


def test_leakage_is_told_as_medians_and_as_the_share_of_near_pictures(
    good: Paths, html: str
) -> None:
    assert data_quality.leakage(inputs.read(good)) == data_quality.Leakage(
        8, 9, 30, 0.25, 0.0
    )
    text = text_of(html)
    assert (
        "Bits to the nearest training picture 9 random 30 Medians over 8 test pictures."
        in text
    )
    assert "At 6 bits or less 25.0 % random 0.0 %" in text


def test_without_test_pictures_nobody_can_tell_of_leakage(project: Paths) -> None:
    none = pl.lit(0, pl.Int64)
    change(
        project.manifest / "leakage.parquet",
        lambda rows: rows.with_columns(nearest=none, random=none),
        LEAKAGE,
    )
    assert "Nobody can tell: there was no test picture" in text_of(written(project))


def test_every_reason_has_words() -> None:
    assert set(facts.DROPS) == set(PostExclusion)
    assert set(facts.LEFT) == set(TagExclusion)
    assert set(facts.REJECTIONS) == set(RecordRejection)
    assert set(facts.TAKEDOWNS) == {*PostExclusion, *Takedown}
    assert set(facts.WAITS) == set(WaitReason)
    assert set(data_quality.ODDITIES) == set(Anomaly)
    assert tuple(facts.STRATEGIES) == STRATEGIES


def test_takedowns_are_counted_by_snapshot_and_reason(
    project: Paths, html: str
) -> None:
    assert "2026-07-01T01:00:02.000-04:00 deleted on the site 1" in text_of(html)
    change(
        project.images / "takedowns.parquet",
        lambda frame: frame.clear(),
        TAKEDOWNS,
    )
    assert "No picture that was here has had to go." in text_of(written(project))


def test_unknown_tags_are_counted_and_the_commonest_named(
    project: Paths, html: str
) -> None:
    assert "Every tag name on a post is in the site's list of tags." in text_of(html)
    unknown = [{"name": f"tag_{number:02}", "posts": number} for number in range(1, 21)]
    parquet.write(project.snapshot / "unknown_tags.parquet", unknown, UNKNOWN_TAGS)
    text = text_of(written(project))
    assert "20 tag names on posts are not in the site's list of tags" in text
    assert "The commonest: tag_20, tag_19," in text
    assert "tag_09, …" in text


def test_politeness_is_shown_by_stage_kind_and_reason(project: Paths) -> None:
    write_json(project.politeness, POLITENESS)
    text = text_of(written(project))
    assert "Asked as e6tag/0.1.0 (by someone) ." in text
    assert "download file 33 5.3 MB 200: 31, 404: 1, 503: 1" in text
    assert "harvest export 4 2.0 kB 200: 3, TimeoutError: 1" in text
    assert "download because the site asked for patience 2.0 min 1/s" in text


def test_without_politeness_figures_the_page_says_so(html: str) -> None:
    assert "Nothing has been counted in this folder" in text_of(html)


def test_damaged_politeness_figures_are_named(project: Paths) -> None:
    project.politeness.write_text("{")
    with pytest.raises(CorruptFile, match=r"politeness\.json cannot be read"):
        report.run(PARAMS, project)


def test_a_pin_with_a_delta_names_export_and_changes(project: Paths) -> None:
    exports = {
        "posts": {
            "file_name": "p",
            "file_size": 9,
            "checksum": "a",
            "updated_at": "2026-07-01T01:00:02-04:00",
        }
    }
    write_json(
        project.bundle / "lineage.json",
        tables.LINEAGE | {"pin": {"site": "e621", "exports": exports, "delta": DELTA}},
    )
    text = text_of(written(project))
    assert (
        "The board as pinned at 2026-07-01, with changes to 900,009,584: 35 posts"
        in text
    )
    assert (
        "then 11 posts that changed or came and 1 that are gone, from change 5,480,000 "
        "to 900,009,584" in text
    )


def test_a_pinned_search_names_its_query(project: Paths) -> None:
    search = {"query": "solo <fox>", "newest_id": 6_000_001, "change": 70_000_123}
    write_json(
        project.bundle / "lineage.json",
        tables.LINEAGE | {"pin": {"site": "e621", "search": search}},
    )
    html = written(project)
    text = text_of(html)
    assert (
        "What solo &lt;fox&gt; finds as pinned at change 70,000,123: 35 posts" in text
    )
    assert "No exports: the posts up to number 6,000,001" in text
    assert "The pinned exports" not in text


def test_parameters_are_those_of_the_bundle(project: Paths) -> None:
    lineage = tables.LINEAGE | {
        "parameters": {
            "sample": {"min_positives": 77},
            "manifest": {"split": {"train": 0.8}},
        }
    }
    write_json(project.bundle / "lineage.json", lineage)
    told = facts.parameters(inputs.read(project), PARAMS)
    assert told["sample"] == {"min_positives": 77}
    assert told["manifest"] == {"split.train": 0.8}
    assert told["train"]["epochs"] == PARAMS.train.epochs
    assert not {"site", "cluster"} & told.keys()


def test_names_are_escaped(project: Paths) -> None:
    name = '<img src="x">&_"bébé"'
    set_value(
        project.evaluation / "per_tag.parquet",
        PER_TAG,
        "label_id",
        1,
        name=name,
    )
    html = written(project)
    assert "<img src=x" not in html.replace('"', "")
    assert "&lt;img src=&#34;x&#34;&gt;&amp;_&#34;bébé&#34;" in html


def test_a_tag_that_cannot_be_judged_gets_a_dash(project: Paths) -> None:
    nothing = dict.fromkeys(("auc", "average_precision", "baseline_average_precision"))
    set_value(
        project.evaluation / "per_tag.parquet",
        PER_TAG,
        "label_id",
        1,
        **nothing,
    )
    html = written(project)
    (row,) = re.findall(r"<tr><th>fox</th>.*?</tr>", html)
    assert row.count(f">{render.NONE}<") == 3


def test_an_untold_pin_and_an_empty_validation_are_no_obstacle(project: Paths) -> None:
    write_json(project.evaluation / "metrics.json", {"test": FIGURES})
    history = list(csv.reader((project.model / "history.csv").read_text().splitlines()))
    rows = [history[0], *([*row[:3], *[""] * 6] for row in history[1:])]
    (project.model / "history.csv").write_text(
        "\n".join(",".join(row) for row in rows) + "\n"
    )
    assert "macro mAP 0.812 0.341" in text_of(written(project))


@pytest.mark.parametrize("missing", READ)
def test_a_missing_file_is_named(project: Paths, missing: str) -> None:
    (project.root / missing).unlink()
    with pytest.raises(CorruptFile, match=re.escape(missing)) as caught:
        report.run(PARAMS, project)
    assert "\n" not in str(caught.value)
    assert not (project.reports / "index.html").exists()


@pytest.mark.parametrize(
    "name",
    ["evaluation/metrics.json", "model/history.csv", "evaluation/predictions.parquet"],
)
def test_a_damaged_file_is_named(project: Paths, name: str) -> None:
    path = project.data / name
    path.write_bytes(b'{"test": \xff' + path.read_bytes()[:40])
    with pytest.raises(CorruptFile, match=re.escape(name)):
        report.run(PARAMS, project)


def test_a_metric_without_its_baseline_is_refused(project: Paths) -> None:
    bare = FIGURES | {"macro_f1": {"value": 0.9}}
    write_json(project.evaluation / "metrics.json", {"test": bare})
    with pytest.raises(
        BadInput,
        match=r"metrics\.json does not give test\.macro_f1 .* image-blind baseline",
    ):
        report.run(PARAMS, project)


def test_a_column_that_lacks_is_named(project: Paths) -> None:
    path = project.evaluation / "per_tag.parquet"
    parquet.read(path).drop("threshold").write_parquet(path)
    with pytest.raises(
        CorruptFile,
        match=r"per_tag\.parquet cannot be read: it has no column threshold",
    ):
        report.run(PARAMS, project)


def test_predictions_of_another_vocabulary_are_refused(project: Paths) -> None:
    path = project.evaluation / "predictions.parquet"
    set_value(path, PREDICTIONS, "post_id", 28, scores=[0.5])
    with pytest.raises(
        BadInput,
        match=r"predictions\.parquet gives 1 scores for picture \w+, and there are 3 tags",
    ):
        report.run(PARAMS, project)


def test_thousand_tags_stay_small() -> None:
    along = [i / 20_000 for i in range(20_000)]
    curves = pl.DataFrame({"curve": "roc_micro", "x": along, "y": along})
    assert len(plots.curve(curves, "roc", "ROC", "x", "y")) < 20_000
    counts = [3_000 - i for i in range(1_024)]
    assert (
        len(plots.positives(counts, [count // 18 for count in counts], 512, 32))
        < 300_000
    )


def test_the_page_is_well_formed(html: str) -> None:
    checker = Balanced()
    checker.feed(html)
    assert (checker.open, checker.wrong) == ([], [])
    assert [name for name, times in Counter(checker.ids).items() if times > 1] == []
    targets = {href[1:] for href in checker.links if href.startswith("#")}
    assert targets <= set(checker.ids)


class Balanced(HTMLParser):
    """Remembers elements that are not closed, ids and links."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens an element."""
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if "href" in given else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Closes an element, which must be the last that was opened."""
        if self.open.pop() != tag:
            self.wrong.append(tag)
