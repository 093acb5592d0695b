"""Everything that the report reads, written by hand, and readers of its page."""

import base64
import io
import re
from typing import Any

from PIL import Image

from pipeline import packs, report
from pipeline.paths import DATASETS, Paths
from pipeline.report import inputs, render
from pipeline.report.examples import Examples
from pipeline.report.sections.section import PageData, Section
from pipeline.report.training_batch import Batch
from pipeline.schemas.sample import (
    ALIASES_IN_USE,
    ANOMALIES,
    CO_OCCURRENCE,
    MISSING_IMPLICATIONS,
)
from tests.builders import tables
from tests.builders.tables import PACK, PARAMS, md5, split_of, write_json

SAMPLED = range(1, 33)


TEST = [post_id for post_id in SAMPLED if split_of(post_id) == "test"]


LOST = 16  # its image could not be fetched


FIGURES = {
    "macro_map": {"value": 0.8124, "baseline": 0.3411, "low": 0.791, "high": 0.832},
    "macro_auc": {"value": 0.9137, "baseline": 0.5},
    "macro_f1": {"value": 0.7716, "baseline": 0.4522},
    "micro_auc": {"value": 0.9444, "baseline": 0.8333},
    "micro_f1": {"value": 0.7011, "baseline": 0.4011},
    "accuracy": {"value": 0.9755, "baseline": 0.9666},
}


EXPLANATION_SCHEMAS = {
    "missing_implications": MISSING_IMPLICATIONS,
    "aliases_in_use": ALIASES_IN_USE,
    "co_occurrence": CO_OCCURRENCE,
    "anomalies": ANOMALIES,
}


EXPLANATIONS = (
    "strategies",
    "missing_implications",
    "aliases_in_use",
    "co_occurrence",
    "anomalies",
)


ORIGINALS = {"records": 8, "macro_map": 0.8119, "macro_map_of_shards": 0.8124}


def write_metrics(paths: Paths, splits: dict[str, Any]) -> None:
    """Writes metrics.json with these splits."""
    metrics = {"splits": splits, "originals": ORIGINALS}
    write_json(paths.evaluation / "metrics.json", metrics)


def make(paths: Paths) -> Paths:
    """Writes all that the report reads: test images are blue, all others red."""
    tables.write_all(paths)
    write_images(paths)
    write_model(paths)
    write_gates(paths)
    metrics = {
        "splits": {"test": FIGURES, "validation": FIGURES},
        "records": {"test": 8},
        "tags": {"vocabulary": 3},
        "originals": ORIGINALS,
    }
    write_json(paths.evaluation / "metrics.json", metrics)
    return paths


def write_images(paths: Paths) -> None:
    kept = sorted((md5(post_id), post_id) for post_id in SAMPLED if post_id != LOST)
    packs.write(
        paths.images / PACK, (packed_image(name, post_id) for name, post_id in kept)
    )


def packed_image(name: str, post_id: int) -> packs.PackedImage:
    colour = (0, 0, 255, 255) if split_of(post_id) == "test" else (255, 0, 0, 255)
    Image.new("RGBA", (640, 480), colour).save(out := io.BytesIO(), "PNG")
    return packs.PackedImage(name, 1, "sample", out.getvalue(), "png", 640, 480)


def write_model(paths: Paths) -> None:
    training = {
        "best_epoch": 2,
        "epochs": 2,
        "fingerprint": "0123456789abcdef",
        "parameters": 1_234_567,
    }
    write_json(
        paths.model / "training.json",
        training | {"params": PARAMS.train.model_dump(mode="json")},
    )
    names = (
        "epoch,learning_rate,train_loss,validation_loss,validation_loss_baseline,"
        "macro_auc,macro_auc_baseline"
    )
    lines = [
        "1,0.003,0.6,0.58,0.61,0.7,0.5,0.5,0.3",
        "2,0.001,0.5,0.55,0.61,0.8,0.5,0.6,0.3",
    ]
    text = "\n".join([f"{names},macro_map,macro_map_baseline", *lines]) + "\n"
    (paths.model / "history.csv").write_text(text)


def write_gates(paths: Paths) -> None:
    rows = {"snapshot": {"posts.parquet": 35, "tags.parquet": 8}}
    for name in DATASETS:
        expectations = [
            {"success": True, "severity": "critical"},
            {"success": False, "severity": "warning"},
        ]
        verdict = {
            "dataset": name,
            "success": True,
            "rows": rows.get(name, {}),
            "expectations": expectations,
        }
        write_json(paths.verdict(name), verdict)


class NoBatch:
    """In place of a training batch: drawing one loads TensorFlow, which takes long."""

    def result(self) -> Batch:
        """Returns none, with the reason."""
        return Batch([], absent="nobody drew it.")


def written(paths: Paths) -> str:
    """Returns the page without a training batch."""
    return report.make_page(PARAMS, paths, inputs.read(paths), NoBatch())


def section_of(section: Section, paths: Paths) -> str:
    """Returns one section of the page, without images."""
    shown = Examples([], [], [], is_truth_known=False)
    data = PageData(PARAMS, inputs.read(paths), shown, [], NoBatch())
    return render.render_section(section, data).html


def text_of(html: str) -> str:
    """Returns what a reader sees, tags gone and blanks joined."""
    shown = re.sub(r"<(style|script)\b.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", shown).split())


def images_of(html: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in found]


def posts_of(html: str) -> list[int]:
    return [int(one) for one in re.findall(r"<p>post (\d+):", html)]


def gallery(html: str, title: str) -> str:
    """Returns the part of the page under a heading of level 3."""
    return html.partition(f"<h3>{title}</h3>")[2].partition("<h3>")[0]
