import pytest
from pydantic import ValidationError

from bascule.model.websocket import WebsocketConf


def test_limits() -> None:
    assert WebsocketConf.model_validate({}) == WebsocketConf()
    conf = WebsocketConf.model_validate({"idle_timeout": 0.5, "max_lifetime": 3600, "ping_interval": 20})
    assert (conf.idle_timeout, conf.max_lifetime, conf.ping_interval) == (0.5, 3600, 20)


@pytest.mark.parametrize("value", [0, -1, "5", True, 1e9, float("inf")])
def test_what_is_no_limit(value: object) -> None:
    with pytest.raises(ValidationError):
        WebsocketConf.model_validate({"idle_timeout": value})
