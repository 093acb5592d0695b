"""The parameters of `sample`: which tags and which posts are selected."""

from datetime import date
from pathlib import PurePosixPath
from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from pipeline.param_models import Section, Share

CategoryName = Literal[
    "general",
    "artist",
    "contributor",
    "copyright",
    "character",
    "species",
    "invalid",
    "meta",
    "lore",
]
CATEGORIES: tuple[str, ...] = get_args(CategoryName)
"""Category names by the site's id (contract section 6)."""

Rating = Literal["s", "q", "e"]
RATINGS: tuple[str, ...] = get_args(Rating)

# folder of sample.tags_file; a dep of `sample` in dvc.yaml, so that a change is seen
LISTS = "lists"


class SplitShares(Section):
    """Shares of the families of parents and children in each split; they sum to 1."""

    train: Share = Field(default=0.9, description="what the model learns from")
    validation: Share = Field(
        default=0.05, description="what chooses the epoch and the thresholds"
    )
    test: Share = Field(default=0.05, description="what the metrics are computed on")

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError("train, validation and test must sum to 1")
        return self


class Sample(Section):
    """Which tags and which posts are selected."""

    categories: list[CategoryName] = Field(
        default=["general"],
        min_length=1,
        description="tag categories that the vocabulary is taken from",
    )
    vocabulary_size: int = Field(
        default=1024,
        ge=2,
        le=65_536,
        description="maximum number of tags; the most common ones are taken",
    )
    min_positives: int = Field(
        default=512,
        ge=1,
        description="images with each tag in the training split; a tag that cannot "
        "reach it is left out and listed",
    )
    min_eval_positives: int = Field(
        default=32,
        ge=0,
        description="images with each tag in the validation split, and as many in the "
        "test split",
    )
    min_tags: int = Field(
        default=16,
        ge=0,
        description="posts with fewer tags (all categories, implied ones counted) are "
        "poorly tagged and left out",
    )
    size: int | None = Field(
        default=None,
        ge=1,
        description="minimum number of posts; those beyond what the tags need are "
        "drawn at random, to look like the board. Decides the cost of the download",
    )
    ratings: list[Rating] = Field(
        default=["s"],
        min_length=1,
        description="ratings of the posts that may be sampled, within the rules of "
        "pipeline/policy.py",
    )
    since: date = Field(
        default=date(2014, 1, 1),
        description="day, in quotes because DVC cannot hash YAML dates; posts uploaded "
        "before it are not sampled",
    )
    strategy: Literal["cover", "quota", "natural"] = Field(
        default="cover",
        description="cover: few posts that give every tag its positives; quota: the "
        "newest posts, each for its rarest tag; natural: at random",
    )
    tag_bound: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="strategy cover only: posts with more tags than this share of the "
        "candidates have are taken only where a tag needs them",
    )
    quota_offset: int = Field(
        default=0,
        ge=0,
        description="strategy quota only: newest posts that are skipped",
    )
    tags_file: str | None = Field(
        default=None,
        min_length=1,
        description="a file below lists/ with one wanted tag per line: only these are "
        "learnt; null: all tags of the categories",
    )
    exclude_patterns: list[str] = Field(
        default=[],
        description="tags left out of the vocabulary, with the wildcards * and ?; "
        "posts that have them may be sampled",
    )
    exclude_tags: list[str] = Field(
        default=["comic"],
        description="posts with one of these tags are left out",
    )
    reserve: Share = Field(
        default=0.05,
        description="share of positives beyond the minimum, for images that turn out "
        "to be gone or broken; a tag that cannot have it is left out and listed",
    )
    seed: int = Field(
        default=621,
        ge=0,
        description="decides between posts that serve equally well",
    )

    split: SplitShares = Field(
        default=SplitShares(),
        description="shares of the families of parents and children",
    )
    group_by_artist: bool = Field(
        default=False,
        description="true: all posts of an artist are in one split, and posts whose "
        "artists belong to several splits are in none",
    )
    fresh_after: date | None = Field(
        default=None,
        description="day, in quotes; families uploaded from it on are a fourth split, "
        "fresh; null: there is none",
    )

    @model_validator(mode="after")
    def _the_list_is_where_dvc_sees_it(self) -> Self:
        if self.tags_file is None:
            return self
        parts = PurePosixPath(self.tags_file).parts
        if parts[0] != LISTS or len(parts) < 2 or ".." in parts:
            raise ValueError(
                f"tags_file {self.tags_file} is not below {LISTS}/, the folder in "
                f"which DVC sees changes: put the file there, as {LISTS}/mine.txt"
            )
        return self
