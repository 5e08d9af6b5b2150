import json

import jsonschema
import pytest

from bascule.admin.schemas import NoSuchSubsystem, Schemas, schema_of
from bascule.model.kinds import KINDS
from bascule.plugin.registry import Registry


@pytest.fixture(scope="module")
def schemas():
    return Schemas(Registry())


def text(schema):
    return json.dumps(schema, separators=(",", ":"))


def test_what_dashboards_and_the_suite_look_for(schemas):
    assert '"plugins":{"type":"object"}' in text(schemas.resource("route"))
    for kind in ("global_rule", "proto", "stream_route"):
        assert '"create_time":{"type":"integer"}' in text(schemas.resource(kind))
        assert '"update_time":{"type":"integer"}' in text(schemas.resource(kind))
    assert '"required":["count","time_window"]' in text(schemas.plugin("limit-count"))
    assert '"disable":{"type":"boolean"}' in text(schemas.plugin("prometheus"))
    assert "anyOf" not in schemas.resource("service")
    assert schemas.resource("routes") == schemas.resource("route")
    assert schemas.resource("noexits") is None


def test_every_schema_is_one_and_refers_to_nothing(schemas):
    made = [schemas.resource(kind) for kind in KINDS]
    made += [schema for told in schemas.all().values() for key, schema in told.items() if key.endswith("schema")]
    for schema in made:
        jsonschema.Draft202012Validator.check_schema(schema)
        assert "$ref" not in text(schema)
        assert '"title"' not in text(schema)


@pytest.mark.parametrize(
    ("kind", "value", "good"),
    [
        ("route", {"uri": "/", "upstream": {"nodes": {"a:1": 1}}, "id": 1}, True),
        ("route", {"uri": "/", "uris": ["/"], "plugins": {}}, False),
        ("route", {"uri": "/"}, False),
        ("route", {"uris": ["/", "/"], "plugins": {}}, False),
        ("route", {"uri": "/", "plugins": {}, "x": 1}, False),
        ("upstream", {"nodes": [{"host": "a", "weight": 1}]}, True),
        ("upstream", {}, False),
        ("ssl", {"cert": "c" * 128, "key": "k" * 64, "sni": "a"}, True),
        ("ssl", {"cert": "c" * 128, "key": "k" * 64}, False),
        ("ssl", {"cert": "c" * 128, "key": "k" * 64, "type": "client"}, True),
        ("secret", {"auth_file": "/f"}, True),
        ("secret", {}, False),
    ],
)
def test_schemas_tell_good_from_bad(schemas, kind, value, good):
    assert jsonschema.Draft202012Validator(schemas.resource(kind)).is_valid(value) is good


def test_schemas_of_plugins(schemas):
    assert schemas.plugin("no-exist") is None
    assert schemas.plugin("cors", subsystem="stream") is None
    assert "header" in schemas.plugin("key-auth")["properties"]
    assert schemas.plugin("key-auth", "consumer")["required"] == ["key"]
    assert schemas.plugin("key-auth", "consumer123") == schemas.plugin("key-auth")
    assert schemas.plugin("cors", "consumer") == schemas.plugin("cors")
    assert schemas.plugin("key-auth", "metadata") is None
    assert "log_format" in schemas.plugin("http-logger", "metadata")["properties"]
    with pytest.raises(NoSuchSubsystem, match="unsupported subsystem: tcp"):
        schemas.plugin("cors", subsystem="tcp")


def test_lists_of_plugins(schemas):
    names = schemas.names()
    assert names.index("real-ip") < names.index("key-auth") < names.index("http-logger")
    assert schemas.names("stream") == []
    with pytest.raises(NoSuchSubsystem):
        schemas.names("")
    told = schemas.all()
    assert list(told) == names
    assert told["key-auth"]["priority"] == 2500
    assert told["key-auth"]["type"] == "auth"
    assert "metadata_schema" not in told["key-auth"]
    assert told["prometheus"]["run_policy"] == "prefer_route"


def test_a_disabled_plugin_has_no_schema():
    schemas = Schemas(Registry(["cors"]))
    assert schemas.names() == ["cors"]
    assert schemas.plugin("key-auth") is None


def test_an_attribute_may_be_called_title():
    from pydantic import BaseModel

    class Odd(BaseModel):
        title: str | None = None
        description: int | str | None = None

    assert schema_of(Odd) == {
        "properties": {
            "title": {"type": "string"},
            "description": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        },
        "type": "object",
    }
