import pytest

from bascule.control.report import Report
from bascule.errors.config_error import ConfigError

BAD = ConfigError("routes", "1", "$.uri", "is required")


def test_a_fault_is_logged_once_and_again_when_it_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    report = Report()
    for refused in ((BAD,), (BAD,), (), (BAD,)):
        report.refused = refused
        report.tell()
    assert [record.message for record in caplog.records] == [str(BAD), str(BAD)]


def test_a_step_with_errors_counts_once() -> None:
    report = Report()
    for generation in (1, 1, 3, 3, 2):
        report.count(generation)
    assert report.changes_with_errors == 2


def test_faults_of_code_are_among_all() -> None:
    report = Report(store=(BAD,), plugin_errors={"p.py": "p.py: broken"}, unknown_plugins=("nope",))
    assert [str(fault) for fault in report.all_faults()] == [
        "routes[1] $.uri: is required",
        "plugin code p.py: broken",
        "the list of plugins names 'nope', and there is none of that name",
    ]
    assert report.details()["refused"] == [
        {"kind": "routes", "id": "1", "path": "$.uri", "message": "is required", "file": None, "line": None}
    ]
