"""Remedies: what the message of a stage or gate says is done, and the line goes on.

Remedies of `sample` are in tests/sample/test_infeasible.py.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from aiohttp import web

from pipeline import (
    download,
    evaluate,
    export,
    manifest,
    packs,
    params,
    sample,
    shard,
    train,
    validate,
)
from pipeline.errors import (
    BadInput,
    BadParameter,
    CorruptFile,
    GateFailed,
    TooManyRejects,
)
from pipeline.params import Params
from pipeline.params.evaluate import Evaluate
from pipeline.params.export import Export
from pipeline.params.shard import Shard
from pipeline.paths import Paths
from pipeline.train_params import Train
from sandbox.board.drawn import SandboxBoard
from tests.builders import toy_shards
from tests.builders.project import Project, damage, make_project, prepare, served
from tests.validate.gates import GX_WARNINGS

pytestmark = [
    *GX_WARNINGS,
    # As in tests/export.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


def with_changes(project: Project, section: str, **changes: Any) -> Params:
    tree = project.params.model_dump(mode="json")
    tree[section] |= changes
    return Params.model_validate(tree)


def run_download(project: Project, settings: Params) -> None:
    download.run(settings.download, project.paths, site=settings.site)


def run_manifest(project: Project, settings: Params) -> None:
    manifest.run(settings.manifest, project.paths, everything=settings)


def run_shard(project: Project, settings: Params) -> None:
    shard.run(settings.shard, project.paths, cluster=settings.cluster)


async def lossy(request: web.Request) -> web.StreamResponse | None:
    """A fault: one in fourteen images is gone."""
    found = re.search(r"/([0-9a-f]{32})\.", request.path)
    if found and int(found[1], 16) % 14 == 0:
        return web.Response(status=404)
    return None


@pytest.fixture(scope="module")
def losing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A sampled project whose site has lost 7 % of its images."""
    folder = tmp_path_factory.mktemp("losing")
    with served(SandboxBoard(posts=600), fault=lossy) as at:
        yield prepare(make_project(folder / "project", at))


def test_lost_images_stop_the_line_until_what_is_said_is_raised(
    losing: Project,
) -> None:
    """First download.max_rejected, then sample.reserve; the gate passes in the end."""
    with pytest.raises(TooManyRejects, match=r"or raise download\.max_rejected"):
        run_download(losing, losing.params)
    tolerant = with_changes(losing, "download", max_rejected=0.15)
    run_download(losing, tolerant)
    run_manifest(losing, tolerant)
    said = r"training positives; else raise sample\.reserve beyond the share"
    with pytest.raises(GateFailed, match=said):
        validate.run("manifest", tolerant, losing.paths)

    sampled = tolerant.sample.model_copy(update={"reserve": 0.2})
    raised = tolerant.model_copy(update={"sample": sampled})
    sample.run(raised.sample, losing.paths)
    validate.run("sample", raised, losing.paths)
    run_download(losing, raised)
    run_manifest(losing, raised)
    validate.run("manifest", raised, losing.paths)
    vocabulary = pl.read_parquet(losing.paths.sample / "vocabulary.parquet")
    assert vocabulary.height > 20


def first_pack(project: Project) -> Path:
    return packs.pack_files(project.paths.images)[0]


def test_pack_that_is_gone_is_fetched_again_as_said(ready: Project) -> None:
    first_pack(ready).unlink()
    with pytest.raises(CorruptFile, match="Run python -m pipeline download, which"):
        run_manifest(ready, ready.params)
    run_download(ready, ready.params)
    run_manifest(ready, ready.params)


def test_damaged_pack_is_fetched_again_as_said(ready: Project) -> None:
    damage(first_pack(ready))
    with pytest.raises(CorruptFile, match="Delete it and run dvc repro again"):
        run_manifest(ready, ready.params)
    first_pack(ready).unlink()
    run_download(ready, ready.params)
    run_manifest(ready, ready.params)


def test_image_that_cannot_be_decoded_passes_with_the_limit_raised(
    ready: Project,
) -> None:
    path = first_pack(ready)
    first, *others = packs.read_images(path)
    packs.write(path, [replace(first, bytes=b"\xff\xd8"), *others])
    strict = with_changes(ready, "shard", max_rejected=0.0)
    with pytest.raises(TooManyRejects, match=r"or raise shard\.max_rejected"):
        run_shard(ready, strict)
    raised = with_changes(ready, "shard", max_rejected=0.01)
    run_shard(ready, raised)
    validate.run("shards", raised, ready.paths)


def test_damaged_shard_that_is_deleted_is_made_anew(ready: Project) -> None:
    run_shard(ready, ready.params)
    path = min(ready.paths.shards.glob("*.tfrecord"))
    before = path.read_bytes()
    damage(path)
    with pytest.raises(GateFailed, match="else delete it and run dvc repro"):
        validate.run("shards", ready.params, ready.paths)
    path.unlink()
    run_shard(ready, ready.params)
    assert path.read_bytes() == before
    validate.run("shards", ready.params, ready.paths)


SHARD = Shard(size=toy_shards.SIZE)


@pytest.fixture
def trained(toy_trained: Paths, tmp_path: Path) -> Paths:
    shutil.copytree(toy_trained.root, tmp_path / "toy")
    return Paths(tmp_path / "toy")


def test_loss_that_is_no_number_passes_with_a_lower_rate(trained: Paths) -> None:
    settings = {**toy_shards.small(), "epochs": 2}
    too_high = Train.model_validate(
        {**settings, "schedule": {"name": "one_cycle", "learning_rate": 1e30}}
    )
    with pytest.raises(
        BadParameter, match=r"Lower train\.schedule\.learning_rate, which is 1e"
    ):
        train.run(too_high, trained)
    train.run(Train.model_validate(settings), trained)


def test_damaged_thresholds_are_made_anew_by_evaluate(trained: Paths) -> None:
    settings = Evaluate(bootstrap=0)
    evaluate.run(settings, trained, shard=SHARD)
    (trained.evaluation / "thresholds.json").write_text("{")
    with pytest.raises(CorruptFile, match="Run dvc repro again: evaluate makes it"):
        export.run(Export(), trained, shard=SHARD)
    evaluate.run(settings, trained, shard=SHARD)
    export.run(Export(), trained, shard=SHARD)


def test_tolerance_that_a_refused_export_names_is_enough(trained: Paths) -> None:
    evaluate.run(Evaluate(bootstrap=0), trained, shard=SHARD)
    with pytest.raises(BadInput, match="Nothing is published") as raised:
        export.run(Export(tolerance=1e-30), trained, shard=SHARD)
    found = re.search(r"Raise export\.tolerance to (\S+),", str(raised.value))
    assert found
    export.run(Export(tolerance=float(found[1])), trained, shard=SHARD)
    assert (trained.bundle / "model.onnx").exists()


@pytest.mark.parametrize(
    "remedy", [{"train": {"size": 64}}, {"shard": {"size": 128}, "train": {"size": 96}}]
)
def test_size_of_training_that_is_refused_passes_with_each_remedy(
    tmp_path: Path, remedy: dict[str, Any]
) -> None:
    path = tmp_path / "params.yaml"
    wrong = {"shard": {"size": 64}, "train": {"size": 96}}
    path.write_text(yaml.safe_dump(wrong))
    with pytest.raises(BadParameter, match=r"lower train\.size to that, or raise"):
        params.load(path)
    path.write_text(yaml.safe_dump(wrong | remedy))
    params.load(path)
