"""Section: politeness."""

from pipeline.paths import Paths
from pipeline.report.sections import politeness
from pipeline.site.request_stats import WaitReason
from tests.builders.report_inputs import section_of, text_of
from tests.builders.tables import write_json

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


def test_politeness_is_shown_by_stage_kind_and_reason(project: Paths) -> None:
    write_json(project.politeness, POLITENESS)
    text = text_of(section_of(politeness, project))
    assert "Requested as e6tag/0.1.0 (by someone) ." in text
    assert "download file 33 5.3 MB 200: 31, 404: 1, 503: 1" in text
    assert "harvest export 4 2.0 kB 200: 3, TimeoutError: 1" in text
    assert (
        "download because the site requested a pause (Retry-After) 2.0 min 1/s" in text
    )


def test_without_request_counts_the_page_explains_why(html: str) -> None:
    assert "No requests have been counted in this folder" in text_of(html)


def test_every_reason_to_wait_has_words() -> None:
    assert set(politeness.WAITS) == set(WaitReason)
