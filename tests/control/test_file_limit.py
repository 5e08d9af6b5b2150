import resource

import pytest

from bascule.control.file_limit import raise_file_limit


def test_the_limit_is_raised_as_far_as_allowed_and_never_lowered(caplog: pytest.LogCaptureFixture) -> None:
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert raise_file_limit(1, asked=True) == soft
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert raise_file_limit(300, asked=True) == 300
        assert not caplog.records
        assert 300 <= raise_file_limit(1 << 40, asked=True) <= 1 << 40
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert any("worker_rlimit_nofile" in record.message for record in caplog.records)
