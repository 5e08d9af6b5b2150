import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule.admin.validator import Validator
from bascule.model.kinds import KINDS
from bascule.plugin.registry import Registry
from bascule.snapshot.references import from_environment

ROUTE = {"uri": "/", "upstream": {"nodes": {"a:1": 1}}}

JUNK_KEYS = sorted({name for model in KINDS.values() for name in model.model_fields} | {"key-auth", "cors", "_meta"})
JUNK_VALIDATOR = Validator(Registry(), resolve=from_environment({}))


@pytest.fixture(scope="module")
def validator():
    return Validator(Registry(), resolve=from_environment({"COUNT_KEY": "remote_addr"}))


@pytest.mark.parametrize(
    ("kind", "id", "value"),
    [
        ("routes", "1", ROUTE),
        (
            "routes",
            "1",
            {"uri": "/", "plugins": {"limit-count": {"count": 1, "time_window": 1, "key": "$env://COUNT_KEY"}}},
        ),
        ("consumers", "jack", {"username": "jack", "plugins": {"key-auth": {"key": "k"}, "cors": {}}}),
        ("credentials", "jack/credentials/c1", {"plugins": {"key-auth": {"key": "k"}}}),
        ("plugin_metadata", "http-logger", {"log_format": {"a": "$host"}}),
        ("global_rules", "1", {"plugins": {"prometheus": {}}}),
        ("secrets", "vault/1", {"uri": "http://v:8200", "prefix": "p", "token": "t"}),
    ],
)
def test_good_ones(validator, kind, id, value):
    assert validator.check(kind, id, value) == []


def messages(validator, kind, id, value):
    return [(fault.path, fault.error_msg) for fault in validator.check(kind, id, value)]


def test_all_faults_at_once_each_with_its_place_and_apisix_words(validator):
    value = {
        "uri": 3,
        "x": 1,
        "plugins": {"cors": {"max_age": "1"}, "nope": {}, "key-auth": {"_meta": {"disable": 1}}},
    }
    assert messages(validator, "routes", "1", value) == [
        ("$.uri", 'invalid configuration: property "uri" validation failed: wrong type: expected string, got number'),
        ("$.x", "invalid configuration: additional properties forbidden, found x"),
        (
            "$.plugins.cors.max_age",
            'failed to check the configuration of plugin cors err: property "max_age" validation failed: '
            "wrong type: expected integer, got string",
        ),
        ("$.plugins.nope", "unknown plugin [nope]"),
        (
            "$.plugins.key-auth._meta.disable",
            'failed to check the configuration of plugin key-auth err: property "_meta" validation failed: '
            'property "disable" validation failed: wrong type: expected boolean, got number',
        ),
    ]


@pytest.mark.parametrize("kind", [*KINDS, "nonsense"])
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(JUNK_KEYS) | st.text(), inner),
        max_leaves=12,
    )
)
@settings(max_examples=40, deadline=None)
def test_junk_is_answered_with_faults_that_say_everything(kind, value):
    for fault in JUNK_VALIDATOR.check(kind, "vault/1" if kind == "secrets" else "1", value):
        assert fault.path.startswith("$")
        assert fault.sentence
        assert fault.text
        assert fault.error_msg.endswith(fault.text)
