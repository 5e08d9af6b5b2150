import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule.admin.validator import Validator
from bascule.errors.apisix_text import NOT, dependent
from bascule.model.kinds import KINDS
from bascule.plugin.registry import Registry
from bascule.snapshot.references import from_environment
from tests.snapshot.pem import make_pair

CERT, KEY = make_pair("a.com")
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
        # Whoever serves it may know more than this process.
        (
            "routes",
            "1",
            {"uri": "/", "plugins": {"proxy-rewrite": {"uri": "$env://NONE", "host": "$secret://vault/1/a/b"}}},
        ),
        (
            "consumers",
            "jack",
            {"username": "jack", "plugins": {"key-auth": {"key": "$secret://vault/1/a/b"}}},
        ),
        ("consumers", "jack", {"username": "jack", "plugins": {"key-auth": {"key": "k"}, "cors": {}}}),
        ("routes", "1", {"uri": "/", "plugins": {"cors": []}}),  # Lua's one empty table
        ("global_rules", "1", {"plugins": []}),
        ("credentials", "jack/credentials/c1", {"plugins": {"key-auth": {"key": "k"}}}),
        ("plugin_metadata", "http-logger", {"log_format": {"a": "$host"}}),
        ("global_rules", "1", {"plugins": {"prometheus": {}}}),
        ("secrets", "vault/1", {"uri": "http://v:8200", "prefix": "p", "token": "t"}),
        ("protos", "1", {"content": 'syntax = "proto3"; message A { string x = 1; }'}),
        ("ssls", "1", {"cert": CERT, "key": KEY, "snis": ["a.com", "*.a.com"]}),
        ("ssls", "1", {"cert": "$file:///nowhere/a.crt", "key": "$file:///nowhere/a.key", "sni": "a.com"}),
        ("stream_routes", "1", {"server_port": 9100, "upstream": {"nodes": {"a:1": 1}, "scheme": "tcp"}}),
        (
            "graphql_cost_decorations",
            "shop/graphql_cost_decorations/d1",
            {"id": "d1", "service_id": "shop", "field_path": "Query.products"},
        ),
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


SCHEMA = "invalid configuration: "
UP = {"nodes": {"a:1": 1}}


@pytest.mark.parametrize(
    ("kind", "value", "path", "message"),
    [
        (
            "routes",
            {"plugins": {}},
            "$",
            f"{SCHEMA}allOf 1 failed: value should match only one schema, but matches none",
        ),
        (
            "routes",
            {"uri": "/", "uris": ["/"], "plugins": {}},
            "$",
            f"{SCHEMA}allOf 1 failed: value should match only one schema, but matches both schemas 1 and 2",
        ),
        ("routes", {"uri": "/"}, "$", f"{SCHEMA}allOf 2 failed: object matches none of the required"),
        (
            "routes",
            {"uri": "/", "host": "a", "hosts": ["a"], "plugins": {}},
            "$",
            "only one of host or hosts is allowed",
        ),
        (
            "routes",
            {"uris": ["/a", "/b", "/a"], "plugins": {}},
            "$.uris",
            f'{SCHEMA}property "uris" validation failed: expected unique items but items 1 and 3 are equal',
        ),
        (
            "routes",
            {"uri": "/", "plugins": {}, "id": {}},
            "$.id",
            f'{SCHEMA}property "id" validation failed: object matches none of the required',
        ),
        (
            "routes",
            {"uri": "/", "plugins": {}, "remote_addr": "127.0.0.33333"},
            "$.remote_addr",
            f'{SCHEMA}property "remote_addr" validation failed: object matches none of the required',
        ),
        (
            "routes",
            {"uri": "/", "plugins": {}, "status": 3},
            "$.status",
            f'{SCHEMA}property "status" validation failed: matches none of the enum values',
        ),
        (
            "routes",
            {"uri": "/", "plugins": {}, "vars": [["a", "=", 1]]},
            "$.vars[0][1]",
            "failed to validate the 'vars' expression: invalid operator '='",
        ),
        (
            "routes",
            {"uri": "/", "plugins": {"cors": {"_meta": {"filter": ["a", "==", 1]}}}},
            "$.plugins.cors._meta.filter",
            "failed to validate the 'vars' expression: rule should be wrapped inside brackets",
        ),
        (
            "routes",
            {"uri": "/", "plugins": {"cors": "x"}},
            "$.plugins.cors",
            'invalid plugin conf "x" for plugin [cors]',
        ),
        (
            "routes",
            {"uri": "/", "plugins": {"cors": {"_meta": {"error_response": 1}}}},
            "$.plugins.cors._meta.error_response",
            'failed to check the configuration of plugin cors err: property "_meta" validation failed: '
            'property "error_response" validation failed: value should match only one schema, but matches none',
        ),
        ("upstreams", UP | {"type": "chash"}, "$", "missing key"),
        (
            "upstreams",
            UP | {"type": "chash", "hash_on": "header", "key": "$#^@"},
            "$",
            f'{SCHEMA}failed to match pattern "^[a-zA-Z0-9-_]+$" with "$#^@"',
        ),
        (
            "upstreams",
            {"nodes": {"a:1": "1"}},
            '$.nodes["a:1"]',
            f'{SCHEMA}property "nodes" validation failed: object matches none of the required',
        ),
        (
            "upstreams",
            {"nodes": [{"host": "::1", "port": 80, "weight": 1}]},
            "$.nodes[0].host",
            f"{SCHEMA}IPv6 address must be enclosed with '[' and ']'",
        ),
        (
            "upstreams",
            UP | {"checks": {}},
            "$.checks",
            f'{SCHEMA}property "checks" validation failed: '
            'object matches none of the required: ["active"] or ["active","passive"]',
        ),
        (
            "upstreams",
            UP | {"tls": {"client_cert": CERT}},
            "$.tls",
            f'{SCHEMA}property "tls" validation failed: failed to validate dependent schema for "client_cert": '
            'property "client_key" is required',
        ),
        (
            "upstreams",
            UP | {"labels": {"env": {}}},
            "$.labels.env",
            f'{SCHEMA}property "labels" validation failed: failed to validate env (matching ".*"): '
            "wrong type: expected string, got table",
        ),
        (
            "ssls",
            {"cert": CERT, "key": KEY, "snis": []},
            "$.snis",
            f'{SCHEMA}property "snis" validation failed: expect array to have at least 1 items',
        ),
        (
            "ssls",
            {"cert": KEY, "key": KEY, "sni": "a"},
            "$.cert",
            "failed to parse cert: PEM_read_bio_X509_AUX() failed",
        ),
        ("ssls", {"cert": CERT, "key": KEY, "sni": "a", "certs": [CERT]}, "$", "mismatched number of certs and keys"),
        ("protos", {"content": "x"}, "$.content", "invalid content: "),
        ("upstreams", {"nodes": {"a:65536": 1}}, '$.nodes["a:65536"]', "invalid port 65536"),
        ("stream_routes", {"plugins": {"cors": {}}}, "$.plugins.cors", "unknown plugin [cors]"),
        ("stream_routes", {"protocol": {"name": "xxx"}}, "$.protocol.name", "unknown protocol [xxx]"),
        ("plugin_metadata", {"max_pending_entries": 0}, "$", "invalid plugin name"),
        (
            "consumers",
            {"username": "1", "plugins": {"key-auth": {}}},
            "$.plugins.key-auth.key",
            "invalid plugins configuration: failed to check the configuration of plugin key-auth err: "
            'property "key" is required',
        ),
        (
            "consumers",
            {"username": "1", "plugins": {"key-auth": "blah"}},
            "$.plugins.key-auth",
            'invalid plugins configuration: invalid plugin conf "blah" for plugin [key-auth]',
        ),
        ("nonsense", {}, "$", 'invalid configuration: unknown kind of resource "nonsense"'),
    ],
)
def test_apisix_words(validator, kind, value, path, message):
    (fault,) = validator.check(kind, "1", value)
    assert fault.path == path
    assert fault.error_msg.startswith(message) if message.endswith(": ") else fault.error_msg == message


def test_a_credential_holds_one_authentication_plugin(validator):
    value = {"plugins": {"cors": {}}}
    assert messages(validator, "credentials", "jack/credentials/1", value) == [
        ("$.plugins.cors", "only supports auth type plugins in consumer credential")
    ]


def test_a_disabled_plugin_is_unknown():
    validator = Validator(Registry(["key-auth"]), resolve=from_environment({}))
    (fault,) = validator.check("routes", "1", {"uri": "/", "plugins": {"cors": {}}})
    assert fault.error_msg == "unknown plugin [cors]"
    assert "disabled" in fault.sentence


def test_plugins_of_a_consumer_are_told_beside_its_own_attributes(validator):
    value = {"username": 1, "plugins": {"key-auth": {}, "cors": {"max_age": "x"}}}
    assert [path for path, _ in messages(validator, "consumers", "jack", value)] == [
        "$.username",
        "$.plugins.key-auth.key",
        "$.plugins.cors.max_age",
    ]


def test_a_plugin_built_to_be_checked_is_closed_again(tmp_path):
    source = tmp_path / "noting.py"
    source.write_text(
        """
from bascule.plugin import Config, Plugin

closed = []

class Noting(Plugin):
    name = "noting"
    priority = 1
    class Config(Config):
        pass
    def close(self):
        closed.append(self.host.holder)
"""
    )
    registry = Registry(user=[str(source)])
    validator = Validator(registry, resolve=from_environment({}))
    assert validator.check("routes", "7", {"uri": "/", "plugins": {"noting": {}}}) == []
    closed = sys.modules[registry.get("noting").__module__].closed
    assert closed == ["routes/7"]


def deep(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "value",
    [
        {"uri": "/", "plugins": {}, "vars": [["a", "==", i] for i in range(100_000)]},
        {"uris": [f"/{i}" for i in range(100_000)], "plugins": {}},
        {"uris": list(range(100_000)), "plugins": {}},
        {"uri": "/", "upstream": {"nodes": [{"host": 1} for _ in range(50_000)]}},
        {"uri": "/", "plugins": {f"p{i}": {} for i in range(50_000)}},
        {"uri": "/", "plugins": {"ip-restriction": {"whitelist": ["x"] * 100_000}}},
        {f"k{i}": 1 for i in range(100_000)},
        {"uri": "/", "labels": {f"k{i}": 1 for i in range(100_000)}},
        {"uri": "x" * 1_500_000, "plugins": {}},
        deep(100_000),
        {"uri": "/", "plugins": {"cors": deep(60)}},
        {"uri": "\ud800", "plugins": {}, "priority": 10**400},
    ],
)
def test_hostile_values_cost_little(validator, value):
    started = time.thread_time()
    found = validator.check("routes", "1", value)
    assert time.thread_time() - started < 15  # of processor time; well below a second each, but for one
    assert len(found) <= 202


HEADERS = 'property "headers" validation failed: object matches none of the required'


@pytest.mark.parametrize(
    ("plugin", "conf", "text"),
    [
        ("real-ip", {}, 'property "source" is required'),
        (
            "real-ip",
            {"source": "x", "trusted_addresses": ["127.0.0.1/33"]},
            'property "trusted_addresses" validation failed: failed to validate item 1: '
            "object matches none of the required",
        ),
        ("real-ip", {"source": "x", "trusted_addresses": ["::1/129"]}, "invalid ip address: ::1/129"),
        ("ip-restriction", {}, "value should match only one schema, but matches none"),
        (
            "ip-restriction",
            {"whitelist": ["::1"], "blacklist": ["::1"]},
            "value should match only one schema, but matches both schemas 1 and 2",
        ),
        (
            "ip-restriction",
            {"whitelist": []},
            'property "whitelist" validation failed: expect array to have at least 1 items',
        ),
        (
            "cors",
            {"allow_origins_by_regex": ["a", "a"]},
            'property "allow_origins_by_regex" validation failed: expected unique items but items 1 and 2 are equal',
        ),
        ("fault-injection", {}, "expect object to have at least 1 properties"),
        (
            "fault-injection",
            {"delay": {"duration": "test"}},
            'property "delay" validation failed: property "duration" validation failed: '
            "wrong type: expected number, got string",
        ),
        (
            "fault-injection",
            {"delay": {"duration": 1, "vars": [[["a", "eq", 1]]]}},
            "invalid operator 'eq'",
        ),
        (
            "http-logger",
            {"uri": "http://a", "include_resp_body": True, "include_resp_body_expr": [["a", "<>", 1]]},
            "failed to validate the 'include_resp_body_expr' expression: invalid operator '<>'",
        ),
        (
            "request-validation",
            {},
            'object matches none of the required: ["header_schema"] or ["body_schema"]',
        ),
        ("request-validation", {"body_schema": {"type": "test"}}, "invalid JSON type: test"),
        ("request-validation", {"body_schema": {"required": "x"}}, "table expected, got string"),
        ("limit-count", {"time_window": 60}, "value should match only one schema, but matches none"),
        (
            "limit-count",
            {"count": 1, "time_window": 60, "policy": "redis"},
            "then clause did not match",
        ),
        (
            "limit-count",
            {"count": 1, "time_window": 60, "policy": "redis-cluster", "redis_cluster_nodes": ["a:1"]},
            "else clause did not match",
        ),
        ("redirect", {}, "value should match only one schema, but matches none"),
        (
            "redirect",
            {"uri": "/a", "http_to_https": True},
            "value should match only one schema, but matches both schemas 1 and 3",
        ),
        (
            "proxy-rewrite",
            {"uri": "home"},
            'property "uri" validation failed: failed to match pattern "^\\\\/.*" with "home"',
        ),
        ("proxy-rewrite", {"headers": {"X-Api:V": "v2"}}, "invalid field character in header"),
        ("proxy-rewrite", {"headers": {"X-Api": "v2\r\n"}}, "invalid value character in header"),
        ("response-rewrite", {"headers": {"add": ["headers:"]}}, HEADERS),
        ("response-rewrite", {"headers": {"set": {"a": True}}}, HEADERS),
        (
            "response-rewrite",
            {"body": "x", "filters": [{"regex": "a", "replace": "b"}]},
            dependent("filters", NOT),
        ),
        (
            "response-rewrite",
            {"filters": [{"regex": "a", "replace": "b", "scope": "x"}]},
            'property "filters" validation failed: failed to validate item 1: property "scope" validation failed: '
            "matches none of the enum values",
        ),
    ],
)
def test_apisix_words_for_plugins(validator, plugin, conf, text):
    (fault,) = validator.check("routes", "1", {"uri": "/", "plugins": {plugin: conf}})
    assert fault.error_msg == f"failed to check the configuration of plugin {plugin} err: {text}"
