"""The parameters of `harvest`: which metadata is fetched."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.param_models import Section


class Harvest(Section):
    """Which metadata is fetched."""

    source: Literal["exports", "api"] = Field(
        default="exports",
        description="exports: the site's daily bulk exports; api: the posts that a "
        "search finds",
    )
    query: str | None = Field(
        default=None,
        min_length=1,
        description="source api only: the search query, such as "
        "rating:s date:>=2025-01-01",
    )

    @model_validator(mode="after")
    def _a_query_belongs_to_the_api(self) -> Self:
        if self.source == "api" and self.query is None:
            raise ValueError(
                "harvest.source api needs harvest.query, such as "
                "rating:s date:>=2025-01-01"
            )
        if self.source == "exports" and self.query is not None:
            raise ValueError(
                "harvest.query is for harvest.source: api; exports hold every post"
            )
        return self
