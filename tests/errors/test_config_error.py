from bascule.errors.config_error import ConfigError, ConfigRefused


def test_sentence_with_place():
    error = ConfigError("routes", "1", "$.uri", "is required", "apisix.yaml", 7)
    assert str(error) == "apisix.yaml:7: routes[1] $.uri: is required"


def test_absent_parts_are_left_out():
    assert str(ConfigError("routes", None, "", "broken")) == "routes: broken"
    assert str(ConfigError("routes", "1", "$.uri", "is required", "a.yaml")) == "a.yaml: routes[1] $.uri: is required"
    assert str(ConfigError("", None, "", "no such file", "a.yaml")) == "a.yaml: no such file"


def test_refused_carries_every_error():
    errors = [ConfigError("routes", "1", "$.uri", "a"), ConfigError("routes", "2", "$.uri", "b")]
    refused = ConfigRefused(errors)
    assert refused.errors == tuple(errors)
    assert str(refused) == "routes[1] $.uri: a\nroutes[2] $.uri: b"
