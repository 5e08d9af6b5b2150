import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bascule.store.json_positions import JsonPositions

TEXT = """{
  "routes": [
    {"id": 1,
     "uri": "/a\\"]}",
     "plugins": {"cors": {
        "max_age": "x"}}},
    {"id": 2}
  ]
}"""


def test_lines_of_places() -> None:
    positions = JsonPositions(TEXT)
    assert positions.line(["routes"]) == 2
    assert positions.line(["routes", 0]) == 3
    assert positions.line(["routes", 0, "uri"]) == 4
    assert positions.line(["routes", 0, "plugins", "cors", "max_age"]) == 6
    assert positions.line(["routes", 0, "plugins", "cors", "absent"]) == 5
    assert positions.line(["routes", 1]) == 7
    assert positions.line(["routes", 1, "id", "deeper"]) == 7
    assert positions.line(["routes", 9]) == 2
    assert positions.line([]) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_every_place_of_any_document_is_found(value: Any) -> None:
    text = json.dumps(value, indent=1)
    positions = JsonPositions(text)
    lines = text.split("\n")

    def walk(value: Any, path: list[str | int]) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                assert lines[positions.line([*path, key]) - 1].strip().startswith(json.dumps(key) + ":")
                walk(inner, [*path, key])
        elif isinstance(value, list):
            found = [positions.line([*path, i]) for i in range(len(value))]
            assert found == sorted(set(found))
            for i, inner in enumerate(value):
                walk(inner, [*path, i])

    walk(value, [])
