"""The parameters of `cluster`: where parallel work runs."""

from pydantic import Field

from pipeline.param_models import Section


class Cluster(Section):
    """Where parallel work runs; never changes what it makes."""

    scheduler: str | None = Field(
        default=None,
        description="tcp://host:8786: an existing Dask scheduler, whose workers see "
        "this project's folder at the same path and have the same code; null: "
        "processes on this machine",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="processes on this machine; null: one per core",
    )
