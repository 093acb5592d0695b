"""The rules of data/bundle, which is compared with data/sample."""

from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.validate.bundle import (
    addresses,
    answers,
    expected_files,
    model_form,
    origin,
    other_programs,
    tables,
    variants,
)
from pipeline.validate.bundle.contents import BundleContents
from pipeline.validate.checks import MeasuredTable, RowChecks, findings_table


def row_checks(_params: Params, _labels: int, /) -> RowChecks:
    """Returns no checks: a bundle has no Parquet files."""
    return {}


def measure(_params: Params, paths: Paths, /) -> list[MeasuredTable]:
    """Measures the bundle against the sample."""
    bundle = BundleContents.read(paths)
    findings = [
        *expected_files.checks(bundle),
        *tables.checks(bundle),
        *model_form.checks(bundle),
        *answers.checks(bundle),
        *other_programs.checks(bundle),
        *variants.checks(bundle),
        *origin.checks(bundle),
        *addresses.checks(bundle),
    ]
    return [findings_table(findings)]
