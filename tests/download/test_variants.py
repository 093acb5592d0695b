"""Samples and previews: requested where they exist, of the sizes of the rules."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from e6tag import images
from pipeline import packs
from pipeline.download import variants, verify
from pipeline.manifest import fingerprint
from pipeline.site.client import PermanentFailure, Response, TransientFailure
from sandbox.board.drawn import SandboxBoard
from sandbox.faults import Planted
from sandbox.server import variants as site_variants
from tests.builders.downloads import outcomes, run
from tests.builders.image_cases import encode, exif
from tests.builders.project import Project, make_project, prepare, served

SIZES = st.integers(1, 20_000)
POST = replace(SandboxBoard(posts=100).posts[0], ext="jpg", tags=())


@given(width=SIZES, height=SIZES)
def test_sizes_of_variants_are_those_that_the_site_makes(
    width: int, height: int
) -> None:
    post = replace(POST, width=width, height=height)
    assert variants.has_sample(width, height) == site_variants.has_sample(post)
    assert variants.sample_size(width, height) == site_variants.sample_size(
        width, height
    )
    assert variants.preview_size(width, height) == site_variants.preview_size(
        width, height
    )


@given(width=SIZES, height=SIZES)
def test_sizes_of_variants_obey_the_rules(width: int, height: int) -> None:
    sample_width, sample_height = variants.sample_size(width, height)
    assert min(sample_width, sample_height) <= 850
    assert max(sample_width, sample_height) <= 1700
    assert 850 in (sample_width, sample_height) or 1700 in (sample_width, sample_height)
    assert min(variants.preview_size(width, height)) == 256
    assert max(variants.preview_size(width, height)) <= 512
    assert max(variants.old_preview_size(width, height)) == 150


@pytest.mark.parametrize(
    ("ext", "size", "variant", "path"),
    [
        pytest.param(
            "jpg",
            (3000, 2000),
            "sample",
            "/data/sample/ab/cd/{}.jpg",
            id="sample of a jpg",
        ),
        pytest.param(
            "png",
            (3000, 2000),
            "sample",
            "/data/sample/ab/cd/{}.webp",
            id="sample that keeps alpha",
        ),
        pytest.param(
            "webp",
            (800, 1701),
            "sample",
            "/data/sample/ab/cd/{}.webp",
            id="sample for its length",
        ),
        pytest.param(
            "png",
            (850, 1700),
            "sample",
            "/data/ab/cd/{}.png",
            id="too small for a sample",
        ),
        pytest.param(
            "png",
            (850, 1700),
            "preview",
            "/data/preview/ab/cd/{}.webp",
            id="preview that keeps alpha",
        ),
        pytest.param(
            "jpg",
            (1, 1),
            "preview",
            "/data/ab/cd/{}.jpg",
            id="no preview of a 1 x 1 entry",
        ),
        pytest.param(
            "jpg", (3000, 2000), "original", "/data/ab/cd/{}.jpg", id="original"
        ),
    ],
)
def test_file_asked_for_is_one_that_exists(
    ext: str, size: tuple[int, int], variant: str, path: str
) -> None:
    md5 = "abcd" + "0" * 28
    one = variants.image_request(1, md5, ext, *size, 1000, variant)
    assert one.path == path.format(md5)
    assert one.variant == (variant if f"/{variant}/" in path else "original")


@pytest.mark.parametrize("variant", ["sample", "preview", "original"])
def test_every_variant_is_fetched_without_asking_for_what_does_not_exist(
    tmp_path: Path, board: SandboxBoard, variant: str
) -> None:
    with served(board) as site:
        project = prepare(
            make_project(tmp_path / variant, site, download={"variant": variant})
        )
        run(project)
        hidden = {post.md5 for post in board.posts if post.is_hidden_from_anonymous}
        missing = [
            one.path
            for one in site.requests
            if one.host == "static" and one.status == 404
        ]
        assert all(Path(path).stem in hidden for path in missing)
    got = outcomes(project).filter(~pl.col("md5").is_in(hidden))
    assert set(got["outcome"]) == {"kept"}
    index = packs.index(project.paths.images).join(
        pl.read_parquet(project.paths.sample / "posts.parquet").select("md5", "ext"),
        on="md5",
    )
    kinds = set(
        index.filter(pl.col("variant") != "original")
        .select("ext", "format")
        .iter_rows()
    )
    assert kinds <= {("jpg", "jpeg"), ("png", "webp"), ("webp", "webp")}


def jpeg(width: int, height: int) -> bytes:
    picture = Image.effect_noise((width, height), 60).convert("RGB")
    picture.save(out := io.BytesIO(), "JPEG", quality=80, progressive=True)
    return out.getvalue()


def verification(variant: str, size: tuple[int, int], body: bytes) -> str:
    """Returns what becomes of a variant of a 2,500 x 1,700 image.

    Kept, or the reason.
    """
    one = variants.image_request(1, "a" * 32, "jpg", *size, 1000, variant)
    try:
        verify.verify_image(one, Response("image/jpeg", body), 10**8)
    except (PermanentFailure, TransientFailure) as answer:
        return str(answer.reason)
    return "kept"


@pytest.mark.parametrize(
    ("variant", "size", "outcome"),
    [
        pytest.param("sample", (1250, 850), "kept", id="sample"),
        pytest.param("sample", (1251, 849), "kept", id="sample, rounded otherwise"),
        pytest.param("sample", (1253, 850), "wrong_dimensions", id="not this sample"),
        pytest.param("preview", (376, 256), "kept", id="preview"),
        pytest.param("preview", (150, 102), "kept", id="preview by the old rule"),
        pytest.param(
            "preview", (150, 150), "wrong_dimensions", id="preview by no rule"
        ),
    ],
)
def test_variants_are_held_to_the_sizes_of_the_rules(
    variant: str, size: tuple[int, int], outcome: str
) -> None:
    assert verification(variant, (2500, 1700), jpeg(*size)) == outcome


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_sample_that_is_cut_off_is_found_though_it_is_decoded_small(
    share: float,
) -> None:
    body = jpeg(1250, 850)
    assert (
        verification("sample", (2500, 1700), body[: int(len(body) * share)])
        == "truncated"
    )


@pytest.mark.parametrize("listed", [(2500, 1700), (1700, 2500)], ids=str)
@pytest.mark.parametrize("stored", [(1250, 850), (850, 1250)], ids=str)
@pytest.mark.parametrize("orientation", [1, 6])
def test_sizes_and_samples_of_before_and_after_the_change_are_accepted(
    listed: tuple[int, int], stored: tuple[int, int], orientation: int
) -> None:
    """Since 2026-08-26 both are upright (contract section 4)."""
    picture = Image.effect_noise(stored, 60).convert("RGB")
    body = encode(picture, "JPEG", exif=exif(orientation))
    assert verification("sample", listed, body) == "kept"


def test_old_and_new_sample_of_a_turned_image_agree() -> None:
    """The old one is as it was uploaded, with its EXIF; the new one is upright."""
    upright = Image.effect_mandelbrot((1250, 850), (-2, -1, 1, 1), 50).convert("RGB")
    new = encode(upright, "WEBP", quality=90)
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    old = encode(turned, "WEBP", quality=90, exif=exif(6))
    one = variants.image_request(1, "a" * 32, "png", 2500, 1700, 1000, "sample")
    sizes = set()
    for body in (old, new):
        info = verify.verify_image(one, Response("image/webp", body), 10**8)
        sizes.add((info.width, info.height))
    assert sizes == {(1250, 850)}
    hashes = [fingerprint.fingerprint(body).phash for body in (old, new)]
    assert (hashes[0] ^ hashes[1]).bit_count() <= 2
    fitted = []
    for body in (old, new):
        jpeg = images.fit_jpeg(body, size=128, fit="pad", quality=90)
        fitted.append(np.asarray(images.decode(jpeg), np.float64))
    assert np.abs(fitted[0] - fitted[1]).mean() < 3


def test_site_serves_upright_samples_of_turned_originals(
    tmp_path: Path, board: SandboxBoard, sampled: Project
) -> None:
    """Whichever way the exports list their sizes."""
    posts = pl.read_parquet(sampled.paths.sample / "posts.parquet")
    old, new = posts["post_id"].head(2)
    upright = Image.effect_mandelbrot((1300, 900), (-2, -1, 1, 1), 50).convert("RGB")
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    files = {
        old: encode(turned, "JPEG", exif=exif(6)),
        new: encode(turned, "JPEG", exif=exif(6), quality=91),
    }
    planted = Planted(board, files, {old: (900, 1300), new: (1300, 900)})
    with served(planted) as site:
        project = prepare(make_project(tmp_path / "turned", site))
        run(project)
    stored = packs.index(project.paths.images).filter(
        pl.col("post_id").is_in([old, new])
    )
    rows = stored.select("variant", "width", "height").rows()
    assert rows == [("sample", 1228, 850)] * 2
