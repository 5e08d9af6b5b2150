import pytest

from bascule.errors.config_error import ConfigRefused
from bascule.model.config_yaml import parse_settings


def test_what_the_engine_gets() -> None:
    assert parse_settings(b"", None, {}).engine("1").shed_lag_s == 0
    given = b"bascule: {load_shedding: {enabled: true, max_lag: 20ms, retry_after: 1m}}"
    engine = parse_settings(given, None, {}).engine("1")
    assert (engine.shed_lag_s, engine.shed_retry_after_s) == (0.02, 60)
    given = b"bascule: {load_shedding: {max_lag: 20ms}}"
    assert parse_settings(given, None, {}).engine("1").shed_lag_s == 0


@pytest.mark.parametrize("section", ["max_lag: 1ms", "max_lag: 11s", "retry_after: 0", "enabled: 2", "limit: 5"])
def test_refused(section: str) -> None:
    name = section.partition(":")[0]
    with pytest.raises(ConfigRefused) as refused:
        parse_settings(f"bascule: {{load_shedding: {{{section}}}}}".encode(), None, {})
    assert f"$.bascule.load_shedding.{name}" in str(refused.value)
