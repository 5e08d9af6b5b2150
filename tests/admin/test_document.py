from typing import Any

import pytest
import yaml

from bascule.admin.document import BodyRefused, as_json, as_yaml, document_of, in_order, parse_body
from bascule.store.file import FileStore
from bascule.store.standalone import read_standalone

ITEMS: dict[tuple[str, str], dict[str, Any]] = {
    ("routes", "10"): {"upstream_id": "u", "uri": "/ten", "id": "10", "create_time": 1, "update_time": 2},
    ("routes", "2"): {"plugins": {"b": {}, "a": {"z": 1, "y": [{"d": 1, "c": 2}]}}, "uri": "/two"},
    ("upstreams", "u"): {"nodes": {"127.0.0.1:80": 1}},
    ("credentials", "anna/credentials/c"): {"id": "c", "plugins": {"key-auth": {"key": "k"}}},
    ("consumers", "anna"): {"username": "anna"},
    ("consumers", "bert"): {"username": "bert"},
    ("plugin_metadata", "http-logger"): {"log_format": {}},
    ("secrets", "vault/1"): {"uri": "http://v", "prefix": "p", "token": "t"},
}
TEXT = """\
routes:
- id: '2'
  uri: /two
  plugins:
    a:
      y:
      - c: 2
        d: 1
      z: 1
    b: {}
- id: '10'
  uri: /ten
  upstream_id: u
upstreams:
- id: u
  nodes:
    127.0.0.1:80: 1
consumers:
- username: anna
- id: anna/credentials/c
  plugins:
    key-auth:
      key: k
- username: bert
plugin_metadata:
- id: http-logger
  log_format: {}
secrets:
- id: vault/1
  uri: http://v
  prefix: p
  token: t
#END
"""


def test_the_text_of_a_configuration() -> None:
    assert as_yaml(document_of(ITEMS)).decode() == TEXT


def test_the_same_whatever_order_things_came_in() -> None:
    turned = {key: dict(reversed(list(ITEMS[key].items()))) for key in reversed(list(ITEMS))}
    assert as_yaml(document_of(turned)) == as_yaml(document_of(ITEMS))
    assert as_json(document_of(turned)) == as_json(document_of(ITEMS))


def test_times_when_asked_for() -> None:
    assert document_of(ITEMS, times=True)["routes"][1]["create_time"] == 1


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_what_is_written_is_read_back(suffix: str, tmp_path: Any) -> None:
    document = document_of(ITEMS)
    data = as_yaml(document) if suffix == "yaml" else as_json(document)
    items = read_standalone(parse_body(data, f"application/{suffix}")).items
    assert {(item.kind, item.id) for item in items} == ITEMS.keys()
    again = {(item.kind, item.id): item.value for item in items}
    assert document_of(again) == document
    (tmp_path / f"apisix.{suffix}").write_bytes(data)
    loaded = FileStore(tmp_path / f"apisix.{suffix}", environ={}).load()
    assert not loaded.errors
    assert len(loaded.changes) == len(ITEMS)


def test_texts_that_yaml_might_take_for_something_else() -> None:
    value = {"desc": "line one\nline two\n", "name": "2020-01-01", "labels": {"80": "on", "a": "1e3", "b": "ünï"}}
    written = as_yaml(document_of({("services", "1"): value}))
    assert b"desc: |" in written
    assert yaml.safe_load(written)["services"] == [{"id": "1", **value}]
    assert parse_body(written, "text/yaml")["services"] == [{"id": "1", **value}]


def test_order_of_ids() -> None:
    ids = ["b10", "b2", "a", "10", "9", "b"]
    assert [id for _, id in in_order(("routes", id) for id in ids)] == ["9", "10", "a", "b", "b2", "b10"]


def test_bodies() -> None:
    assert parse_body(b'{"routes": []}', "application/json") == {"routes": []}
    assert parse_body(b'{"desc": "raw\nnewline"}', "") == {"desc": "raw\nnewline"}
    assert parse_body(b"name: ${{HOME:=x}}\n", "application/yaml") == {"name": "${{HOME:=x}}"}
    assert parse_body(b"name: ${{WHO}}\n", "application/yaml", {"WHO": "anna"}) == {"name": "anna"}


@pytest.mark.parametrize(
    ("body", "content_type", "sentence"),
    [
        (b" \n", "application/json", "empty request body"),
        (b"{abcd", "application/json", "Expecting property name"),
        (b"[" * 100_000, "application/json", ""),
        (b"a: [", "application/yaml", "line 2: "),
        (b"a: 1\na: 2", "application/yaml", 'line 2: the key "a" stands here and in line 1'),
        (b"\xff", "application/yaml", "line 1: is not UTF-8 text"),
    ],
)
def test_bodies_that_are_no_document(body: bytes, content_type: str, sentence: str) -> None:
    with pytest.raises(BodyRefused) as caught:
        parse_body(body, content_type)
    assert str(caught.value).startswith(sentence)
