import os
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bascule.errors.config_error import ConfigError
from bascule.model.change import Change
from bascule.store.file import FileStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "apisix.yaml"


def store_of(path: Path, **environ: str) -> FileStore:
    return FileStore(path, environ=environ)


def write(path: Path, document: Any) -> None:
    """In one step, as a careful writer does."""
    text = orjson.dumps(document).decode() if path.suffix == ".json" else yaml.safe_dump(document) + "#END\n"
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)


def told(errors: tuple[ConfigError, ...], path: Path) -> list[str]:
    return [str(error).replace(str(path), path.name) for error in errors]


def test_items_have_their_lines(path: Path) -> None:
    path.write_text("routes:\n  - id: 1\n    uri: /a\n  - id: 2\n    uri: /b\n#END\n")
    assert store_of(path).load().changes == [
        Change("routes", "1", {"id": 1, "uri": "/a"}, 0, str(path), 2),
        Change("routes", "2", {"id": 2, "uri": "/b"}, 0, str(path), 4),
    ]


@pytest.mark.parametrize("name", ["apisix.yaml", "apisix.json"])
def test_only_what_changed_is_handed_on(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write(path, {"routes": [{"id": 1, "uri": "/a"}, {"id": 2, "uri": "/b"}], "services": [{"id": 1}]})
    store = store_of(path)
    assert len(store.load().changes) == 3
    assert store.poll() is None
    write(path, {"routes": [{"uri": "/a", "id": 1}, {"id": 2, "uri": "/c"}, {"id": 3, "uri": "/d"}]})
    loaded = store.poll()
    assert loaded is not None
    assert [(c.kind, c.id, c.value and c.value["uri"]) for c in loaded.changes] == [
        ("routes", "2", "/c"),
        ("routes", "3", "/d"),
        ("services", "1", None),
    ]
    assert store.poll() is None


def test_the_same_text_written_again_is_no_change(path: Path) -> None:
    write(path, {"routes": [{"id": 1}]})
    store = store_of(path)
    store.load()
    write(path, {"routes": [{"id": 1}]})
    assert store.poll() is None


def test_two_writes_within_the_clock_s_grain_are_both_seen(path: Path) -> None:
    path.write_text("routes: [{id: 1}]\n#END")
    store = store_of(path)
    store.load()
    stamp = path.stat().st_mtime_ns
    path.write_text("routes: [{id: 2}]\n#END")
    os.utime(path, ns=(stamp, stamp))
    loaded = store.poll()
    assert loaded is not None
    assert {c.id for c in loaded.changes} == {"1", "2"}


def test_a_file_that_does_not_exist_is_read_once_it_appears(path: Path) -> None:
    store = store_of(path)
    assert store.load().changes == []
    assert store.load().errors == ()
    assert store.poll() is None
    write(path, {"routes": [{"id": 1}]})
    loaded = store.poll()
    assert loaded is not None
    assert [c.id for c in loaded.changes] == ["1"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"routes: []\n", "apisix.yaml: does not end with #END: it may be half written, and is not loaded"),
        (b"routes: [\n#END", "apisix.yaml:3: is not valid YAML: "),
        (b"a: \xff\n#END", "apisix.yaml:1: is not UTF-8 text: byte 0xff"),
        (b"routes:\n- id: ${{NOPE}}\n#END", "apisix.yaml:2: environment variable NOPE is not set"),
        (None, "apisix.yaml: the file is gone"),
    ],
)
def test_a_file_that_is_no_use_changes_nothing_and_is_said_once(path: Path, text: bytes | None, sentence: str) -> None:
    write(path, {"routes": [{"id": 1}]})
    store = store_of(path)
    store.load()
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text)
    loaded = store.poll()
    assert loaded is not None
    assert loaded.changes == []
    assert told(loaded.errors, path)[0].startswith(sentence)
    assert store.poll() is None
    write(path, {"routes": [{"id": 1}]})
    loaded = store.poll()
    assert loaded is not None, "the errors are over"
    assert (loaded.changes, loaded.errors) == ([], ())


def test_all_errors_at_once_and_the_rest_is_served(path: Path) -> None:
    path.write_text("routes:\n- id: 1\n- 7\n- id: 1\nservces: []\n#END\n")
    loaded = store_of(path).load()
    assert [c.id for c in loaded.changes] == ["1"]
    assert told(loaded.errors, path) == [
        "apisix.yaml:3: $.routes[1]: must be an object",
        'apisix.yaml:4: $.routes[2]: the id "1" is taken by $.routes[0]; this one is left out',
        'apisix.yaml:5: $.servces: unknown kind of resource "servces"; did you mean "services"?',
    ]


def test_json_errors_have_lines_too(tmp_path: Path) -> None:
    path = tmp_path / "apisix.json"
    path.write_text('{"routes": [\n{"id": 1},\n7]}')
    assert told(store_of(path).load().errors, path) == ["apisix.json:3: $.routes[1]: must be an object"]
    path.write_text('{"routes": [\n{"id": 1},\n')
    assert told(store_of(path).load().errors, path)[0].startswith("apisix.json:3: is not valid JSON")


def test_numbers_too_large_for_json_are_refused_by_item(path: Path) -> None:
    path.write_text(f"routes:\n- id: a\n  priority: {10**30}\n- id: b\n#END\n")
    loaded = store_of(path).load()
    assert [c.id for c in loaded.changes] == ["b"]
    assert told(loaded.errors, path)[0].startswith("apisix.yaml:2: $.routes[0]: can't be kept as JSON")


@pytest.mark.parametrize("name", ["apisix.yaml", "apisix.json"])
def test_errors_of_items_are_located(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("yaml"):
        path.write_text("routes:\n- id: 1\n- id: r\n  plugins:\n    cors:\n      max_age: x\n#END\n")
    else:
        path.write_text('{"routes": [{"id": 1},\n{"id":\n"r", "plugins":\n\n{"cors": {\n"max_age": "x"}}}]}')
    store = store_of(path)
    store.load()
    here = ConfigError("routes", "r", "$.plugins.cors.max_age", "must be an integer")
    other = ConfigError("routes", "gone", "$", "x")
    found = store.locate((here, other))
    assert (found[0].file, found[0].line) == (str(path), 6)
    assert found[1] == other


def test_variables(tmp_path: Path) -> None:
    path = tmp_path / "apisix.json"
    path.write_text('{"routes": [{"id": "${{ID}}", "priority": ${{P:=3}}}]}')
    assert [c.value for c in store_of(path, ID='a"b').load().changes] == [{"id": 'a"b', "priority": 3}]


def test_the_file_s_own_list_of_plugins(path: Path) -> None:
    write(path, {"plugins": [{"name": "cors"}]})
    store = store_of(path)
    assert store.load().plugins == ("cors",)
    write(path, {})
    loaded = store.poll()
    assert loaded is not None
    assert loaded.plugins is None


ITEMS = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 3), max_size=5)


@given(st.lists(ITEMS, min_size=1, max_size=6))
def test_following_the_changes_gives_what_the_file_says(tmp_path_factory: Any, versions: list[dict[str, int]]) -> None:
    path = tmp_path_factory.mktemp("store") / "apisix.json"
    store = store_of(path)
    followed: dict[str, int] = {}
    for number, version in enumerate(versions):
        write(path, {"routes": [{"id": id, "priority": p} for id, p in version.items()]})
        loaded = store.load() if number == 0 else store.poll()
        for change in loaded.changes if loaded else ():
            if change.value is None:
                assert followed.pop(change.id) is not None
            else:
                assert followed.get(change.id) != change.value["priority"]
                followed[change.id] = change.value["priority"]
        assert followed == version


def test_many_routes_load_fast(tmp_path: Path) -> None:
    path = tmp_path / "apisix.json"
    write(
        path,
        {"routes": [{"id": i, "uri": f"/r/{i}", "upstream": {"nodes": {"127.0.0.1:1": 1}}} for i in range(100_000)]},
    )
    store = store_of(path)
    start = time.process_time()
    assert len(store.load().changes) == 100_000
    assert time.process_time() - start < 3
