"""Where every dataset is, relative to the project's folder.

`dvc.yaml` has the same paths; a test compares them.
"""

from dataclasses import dataclass, field
from pathlib import Path

DATASETS = (
    "snapshot",
    "sample",
    "manifest",
    "shards",
    "evaluation",
    "mining",
    "bundle",
)
"""Datasets with a gate, in the order of the stages that write them."""

SPLITS = ("train", "validation", "test", "fresh")
"""Splits of the manifest and of the shards.

`fresh` is empty unless sample.fresh_after is set."""


@dataclass(frozen=True, slots=True)
class Paths:
    """All paths of one project folder. `root` is the folder that holds dvc.yaml."""

    root: Path = field(default_factory=Path)

    @property
    def params(self) -> Path:
        """Every parameter."""
        return self.root / "params.yaml"

    @property
    def pin(self) -> Path:
        """Which exports of which site, with checksums."""
        return self.root / "snapshot.json"

    @property
    def data(self) -> Path:
        """What the stages write."""
        return self.root / "data"

    @property
    def snapshot(self) -> Path:
        """posts, tags, aliases, implications, rejected (Parquet)."""
        return self.data / "snapshot"

    @property
    def sample(self) -> Path:
        """The vocabulary, the posts, what was left out and why (Parquet)."""
        return self.data / "sample"

    @property
    def images(self) -> Path:
        """pack-*.parquet and outcomes.parquet."""
        return self.data / "images"

    @property
    def ledger(self) -> Path:
        """Every attempt at a download, with time and status. Not a DVC output."""
        return self.data / "ledger.sqlite"

    @property
    def politeness(self) -> Path:
        """Requests and waits of every stage that uses the site. Not a DVC output."""
        return self.data / "politeness.json"

    @property
    def resources(self) -> Path:
        """Time and memory of each stage's last run. Not a DVC output."""
        return self.data / "resources.json"

    @property
    def manifest(self) -> Path:
        """train, validation, test, fresh, rejected, overlay (Parquet)."""
        return self.data / "manifest"

    @property
    def overlay(self) -> Path:
        """Corrections of labels, written by people and kept in git."""
        return self.data / "overlay.csv"

    @property
    def shards(self) -> Path:
        """<split>-*.tfrecord, index.parquet and rejected.parquet."""
        return self.data / "shards"

    @property
    def model(self) -> Path:
        """model.keras, training.json and history.csv."""
        return self.data / "model"

    @property
    def training(self) -> Path:
        """What DVCLive logs while training. Nothing depends on it."""
        return self.data / "training"

    @property
    def evaluation(self) -> Path:
        """metrics.json, headline.json, per_tag, curves and predictions (Parquet)."""
        return self.data / "evaluation"

    @property
    def mining(self) -> Path:
        """Proposals and label_noise (Parquet), proposals.csv."""
        return self.data / "mining"

    @property
    def bundle(self) -> Path:
        """What users of other tools load: ONNX, tags, thresholds, model card."""
        return self.data / "bundle"

    def verdict(self, dataset: str) -> Path:
        """The gate's decision, which the next stage depends on."""
        return self.data / "gates" / dataset / "verdict.json"

    def data_docs(self, dataset: str) -> Path:
        """The folder of the gate's Data Docs page, which nothing depends on."""
        return self.reports / "gates" / dataset

    @property
    def ablation_plan(self) -> Path:
        """Factors, levels, seeds and budget of the ablation."""
        return self.root / "ablation.yaml"

    @property
    def ablation(self) -> Path:
        """Results of the ablation, <site>.csv and <site>.md, kept in git."""
        return self.root / "ablation"

    @property
    def reports(self) -> Path:
        """What people look at."""
        return self.root / "reports"

    def work(self, stage: str) -> Path:
        """Unfinished work of a stage and its lock. Losing it costs only time."""
        return self.root / ".work" / stage
