import re

from bascule.admin.schema_document import schema_document
from bascule.admin.schemas import Schemas
from bascule.plugin.registry import Registry


def test_everything_has_its_schema() -> None:
    document = schema_document(Schemas(Registry()))
    main = document["main"]
    assert all(main[kind]["type"] == "object" for kind in ("route", "service", "upstream", "consumer", "ssl", "proto"))
    assert main["plugins"]["type"] == "array"
    assert re.fullmatch(main["upstream_hash_vars_schema"]["pattern"], "arg_a")
    assert re.fullmatch(main["upstream_hash_header_schema"]["pattern"], "X-User")
    key_auth = document["plugins"]["key-auth"]
    assert (key_auth["type"], key_auth["priority"], key_auth["consumer_schema"]["required"]) == ("auth", 2500, ["key"])
    assert key_auth["schema"]["properties"]["_meta"]["properties"]["disable"]["type"] == "boolean"
    assert document["stream_plugins"] == {}
