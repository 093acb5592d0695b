"""The rules of data/bundle: each way to break it fails the rule meant for it."""

import json

import pytest

from pipeline import files, validate
from pipeline.paths import Paths
from pipeline.validate.bundle import json_files
from tests.builders import results, tiny_models
from tests.builders.tables import PARAMS
from tests.validate.edits import JPEG, Edit, appended, file, removed
from tests.validate.gates import GX_WARNINGS, assert_gate_fails, failed

pytestmark = GX_WARNINGS


def without_metric(name: str) -> Edit:
    """Removes a metric on test from metrics.json."""

    def edit(paths: Paths) -> None:
        path = paths.bundle / "metrics.json"
        metrics = json.loads(path.read_text())
        del metrics["splits"]["test"][name]
        path.write_text(json.dumps(metrics))

    return edit


def pinned_site(site: str) -> Edit:
    """Changes the site that the lineage names."""

    def edit(paths: Paths) -> None:
        path = paths.bundle / "lineage.json"
        lineage = json.loads(path.read_text())
        lineage["pin"]["site"] = site
        path.write_text(json.dumps(lineage))

    return edit


def replaced(name: str, old: str, new: str) -> Edit:
    """Replaces the first occurrence of a text in a file of the bundle."""

    def edit(paths: Paths) -> None:
        path = paths.bundle / name
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new, 1))

    return edit


def model(name: str, **changes: object) -> Edit:
    """Changes fields of an ONNX file of the bundle."""
    return lambda paths: tiny_models.edit(paths.bundle / name, **changes)


def rows_answered(known: list[bool], shift: float = results.SHIFT) -> Edit:
    """Replaces model.onnx by one that answers in these rows."""

    def edit(paths: Paths) -> None:
        answering = tiny_models.tagger(known, [shift] * len(known))
        (paths.bundle / "model.onnx").write_bytes(answering)

    return edit


KNOWN = [False, False, False, False, True, True, True, False]
"""Which rows of the good bundle stand for something."""

SITE_CATEGORIES = "name,category,threshold\ncanine,5,0.5\nfox,0,0.5\nhat,0,0.5\n"

UNFITTED = json.dumps(
    {name: [{"type": "maybe_to_tensor"}] for name in ("test", "val")}
).encode()

BROKEN = [
    *[
        pytest.param("findings", rule, edit, id=name)
        for name, rule, edit in [
            (
                "ratings in another order",
                "rating_misplaced",
                replaced("selected_tags.csv", "general,9", "explicit,9"),
            ),
            (
                "a fifth rating",
                "rating_misplaced",
                replaced("selected_tags.csv", "hat,0", "hat,9"),
            ),
            (
                "a character before a tag",
                "category_misordered",
                replaced("selected_tags.csv", "canine,0", "canine,4"),
            ),
            (
                "no character",
                "category_misordered",
                replaced("selected_tags.csv", "no_character,4", "no_character,0"),
            ),
            (
                "the site's category among the rows",
                "category_misordered",
                replaced("selected_tags.csv", "fox,0", "fox,5"),
            ),
            (
                "a dead tag",
                "dead_row",
                replaced("selected_tags.csv", "4,fox", "-4,fox"),
            ),
            (
                "a dead row with positives",
                "dead_row",
                replaced("selected_tags.csv", "no_character,4,0", "no_character,4,9"),
            ),
            (
                "more positives than the vocabulary has",
                "tag_differs",
                replaced("selected_tags.csv", "fox,0,7", "fox,0,900"),
            ),
            (
                "a column too many",
                "columns_differ",
                replaced("thresholds.csv", "threshold", "threshold,extra"),
            ),
            (
                "a category that is not the vocabulary's",
                "threshold_missing",
                file("bundle/thresholds.csv", SITE_CATEGORIES.encode()),
            ),
            (
                "an implication of no tag",
                "implication_unrelated",
                appended("bundle/implications.csv", b"cat,feline\n"),
            ),
            (
                "a tag renamed to itself",
                "renaming",
                appended("bundle/renamed_tags.csv", b"hat,hat\n"),
            ),
            (
                "no ONNX file",
                "model_unreadable",
                file("bundle/heatmap.onnx", b"no model"),
            ),
            ("a new opset", "model_too_new", model("model.onnx", opset=19)),
            ("a new IR", "model_too_new", model("heatmap.onnx", ir_version=10)),
            ("a fixed batch", "model_form", model("model.onnx", batch=1)),
            (
                "a row more than the model has",
                "model_form",
                appended("bundle/selected_tags.csv", b"9,dragon,4,3\n"),
            ),
            (
                "a variant with fewer rows",
                "model_form",
                lambda paths: (
                    paths.bundle / "variants" / "model_int8.onnx"
                ).write_bytes(tiny_models.tagger(KNOWN[1:], [0.0] * 7)),
            ),
            (
                "imgutils with more rows",
                "model_form",
                file("bundle/imgutils/model.onnx", tiny_models.imgutils(4)),
            ),
            ("a dead row that answers", "dead_row_answers", rows_answered([True] * 8)),
            (
                "no thresholds folded in",
                "threshold_folding",
                rows_answered(KNOWN, shift=0.0),
            ),
            (
                "another model for Hydrus",
                "hydrus",
                file("bundle/hydrus/model.onnx", b"another"),
            ),
            (
                "no ratings for Hydrus",
                "hydrus",
                replaced("hydrus/info.json", '"ratingsflag": 1', '"ratingsflag": 0'),
            ),
            (
                "another threshold for imgutils",
                "imgutils",
                replaced("imgutils/selected_tags.csv", "0.5", "0.4"),
            ),
            (
                "a category without a name for imgutils",
                "imgutils",
                replaced("imgutils/categories.json", "0", "1"),
            ),
            (
                "imgutils with images that are not fitted",
                "imgutils",
                file("bundle/imgutils/preprocess.json", UNFITTED),
            ),
            (
                "imgutils with images fitted otherwise",
                "imgutils",
                replaced("preprocessing.json", "stretch", "pad"),
            ),
            *[
                (f"a list in {name}", "json_kind", file(f"bundle/{name}", b"[1]"))
                for name in json_files.OBJECTS
            ],
            (
                "no list of categories",
                "json_kind",
                file("bundle/imgutils/categories.json", b"[1]"),
            ),
            (
                "a category that is no number",
                "category_misordered",
                replaced("selected_tags.csv", "canine,0", "canine,x"),
            ),
            (
                "compared on too few images",
                "compared_with_keras",
                replaced("variants/variants.json", ": 256", ": 255"),
            ),
            (
                "another answer than Keras gives",
                "compared_with_keras",
                replaced("variants/variants.json", '.onnx": 1e-06', '.onnx": 2e-04'),
            ),
            (
                "a file that was not compared",
                "compared_with_keras",
                replaced("variants/variants.json", '"heatmap.onnx"', '"other"'),
            ),
            (
                "a TFLite file without names",
                "tflite_names",
                file("bundle/variants/model.tflite", b"TFL3"),
            ),
            (
                "thresholds folded in a little beside",
                "threshold_folding",
                rows_answered(KNOWN, shift=results.SHIFT + 0.01),
            ),
            (
                "other tags for DeepDanbooru",
                "deepdanbooru",
                replaced("deepdanbooru/tags.txt", "fox", "wolf"),
            ),
            (
                "another size for DeepDanbooru",
                "deepdanbooru",
                replaced("deepdanbooru/project.json", "448", "299"),
            ),
            (
                "no file of DeepDanbooru's model",
                "deepdanbooru",
                replaced("deepdanbooru/project.json", "e6tag", "resnet"),
            ),
            (
                "another size of a variant",
                "variant_unlisted",
                appended("bundle/variants/model.tflite", b"more"),
            ),
            (
                "a file changed since",
                "checksum_differs",
                appended("bundle/README.md", b"more\n"),
            ),
            (
                "a file that nobody knows",
                "unexpected_file",
                file("bundle/imgutils/notes.txt", b"mine"),
            ),
        ]
    ],
    pytest.param(
        "files",
        "state",
        removed("bundle/selected_tags.csv"),
        id="file missing in the bundle",
    ),
    pytest.param(
        "files",
        "state",
        file("bundle/hydrus/info.json", b"{"),
        id="malformed JSON",
    ),
    pytest.param(
        "files",
        "state",
        file("bundle/thresholds.csv", b"\xff\xfe"),
        id="a table that is no text",
    ),
    pytest.param(
        "findings", "image", file("bundle/a.jpg", JPEG), id="image in the bundle"
    ),
    pytest.param(
        "findings",
        "image",
        appended("bundle/variants/model.tflite", JPEG),
        id="image inside the model",
    ),
    pytest.param(
        "findings",
        "image",
        appended("bundle/README.md", b"![](data:image/png;base64,AA)"),
        id="image as text",
    ),
    pytest.param(
        "findings",
        "tag_differs",
        replaced("selected_tags.csv", "2,canine", "4,fox"),
        id="tags reordered",
    ),
    pytest.param(
        "findings",
        "threshold_missing",
        replaced("thresholds.csv", "fox,0,0.5", "fox,0,2"),
        id="threshold 2",
    ),
    pytest.param(
        "findings",
        "model_differs",
        file("bundle/model.onnx", b"another"),
        id="model of another run",
    ),
    pytest.param(
        "findings",
        "site_unnamed",
        pinned_site("https://board.example"),
        id="site named by its address",
    ),
    pytest.param(
        "findings", "address", pinned_site("board:127.0.0.1:8621"), id="host and port"
    ),
    pytest.param(
        "findings",
        "address",
        appended("bundle/README.md", b"from https://board.example/posts\n"),
        id="address in the model card",
    ),
    pytest.param(
        "findings",
        "address",
        appended("bundle/README.md", b"from localhost:8621\n"),
        id="this machine in the model card",
    ),
    pytest.param(
        "findings",
        "lineage_missing",
        file("bundle/lineage.json", b"{}"),
        id="no lineage in the bundle",
    ),
    pytest.param(
        "findings",
        "metrics_missing",
        without_metric("macro_map"),
        id="nothing to compare the next release with",
    ),
]


@pytest.mark.parametrize(("table", "column", "edit"), BROKEN)
def test_each_broken_bundle_fails_the_rule_meant_for_it(
    paths: Paths,
    table: str,
    column: str,
    edit: Edit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_gate_fails(paths, "bundle", edit, (table, column), capsys)


@pytest.mark.parametrize(
    ("rule", "edit"),
    [
        pytest.param(
            "variant_loses",
            replaced("variants/variants.json", '_lost": 0.0', '_lost": 0.1'),
            id="a variant loses much",
        ),
        pytest.param(
            "evaluation_differs",
            replaced("variants/variants.json", 'evaluation": 1.0', 'evaluation": 0.9'),
            id="the bundle is worth less than the evaluation says",
        ),
    ],
)
def test_what_a_model_is_worth_is_a_warning(
    paths: Paths, rule: str, edit: Edit
) -> None:
    edit(paths)
    checksums_are_as_before(paths)
    validate.run("bundle", PARAMS, paths)
    assert failed(paths, "bundle") == {("findings", rule)}


def checksums_are_as_before(paths: Paths) -> None:
    """Writes the checksums of all files into the lineage anew."""
    path = paths.bundle / "lineage.json"
    lineage = json.loads(path.read_text())
    for name in lineage["files"]:
        lineage["files"][name] = files.sha256(paths.bundle / name)
    path.write_text(json.dumps(lineage))


def test_fewer_images_suffice_where_there_are_no_more(paths: Paths) -> None:
    name = "variants/variants.json"
    replaced(name, '"test_images": 300', '"test_images": 200')(paths)
    replaced(name, '"images": 256', '"images": 200')(paths)
    checksums_are_as_before(paths)
    validate.run("bundle", PARAMS, paths)


def test_a_bundle_that_folds_nothing_is_good_where_it_says_so(paths: Paths) -> None:
    rows_answered(KNOWN, shift=0.0)(paths)
    folder = paths.bundle
    model = (folder / "model.onnx").read_bytes()
    (folder / "hydrus" / "model.onnx").write_bytes(model)
    replaced("preprocessing.json", "true", "false")(paths)
    checksums_are_as_before(paths)
    lineage = json.loads((folder / "lineage.json").read_text())
    lineage["model"]["onnx_sha256"] = lineage["files"]["model.onnx"]
    (folder / "lineage.json").write_text(json.dumps(lineage))
    validate.run("bundle", PARAMS, paths)


def test_a_search_for_the_url_of_a_source_is_no_address(paths: Paths) -> None:
    path = paths.bundle / "lineage.json"
    lineage = json.loads(path.read_text())
    query = 'source:https://artist.example/* "fox"'
    lineage["pin"]["search"] = {"query": query, "newest_id": 1, "change": 1}
    lineage["parameters"]["harvest"] = {"query": query}
    path.write_text(json.dumps(lineage))
    card = paths.bundle / "README.md"
    card.write_text(f"{card.read_text()}`{query}`\n")
    checksums_are_as_before(paths)
    validate.run("bundle", PARAMS, paths)
