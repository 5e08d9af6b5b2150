import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bascule.errors.sentences import Refused, json_path, nearest, sentences


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    weight: int = Field(ge=1, le=1000000)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    count: int | list[str] = 1
    name: str = Field(default="x", min_length=1, max_length=3)
    inner: Inner | None = None
    items: dict[str, list[Inner]] = Field(default={}, max_length=2)

    @field_validator("name")
    @classmethod
    def _no_dots(cls, name: str) -> str:
        if name == "a.b":
            raise ValueError("no dots")
        if name == "a{b":
            raise Refused("braces {like} these")
        return name

    @model_validator(mode="after")
    def _rule(self):
        if self.name == "bad":
            raise AssertionError("bad is bad")
        return self


def told(value):
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    return sentences(caught.value, value, Outer)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"inner": {}}, [("$.inner.weight", "is required")]),
        ({"inner": {"weight": 0}}, [("$.inner.weight", "must be at least 1")]),
        ({"inner": {"weight": 2000000}}, [("$.inner.weight", "must be at most 1000000")]),
        ({"inner": 3}, [("$.inner", "must be an object")]),
        ({"name": ""}, [("$.name", "must have at least 1 character")]),
        ({"name": "abcd"}, [("$.name", "must have at most 3 characters")]),
        ({"name": "a.b"}, [("$.name", "no dots")]),
        ({"name": "a{b"}, [("$.name", "braces {like} these")]),
        ({"name": "bad"}, [("$", "bad is bad")]),
        ({"name": 1}, [("$.name", "must be a string")]),
        ({"nam": "x"}, [("$.nam", 'unknown attribute "nam"; did you mean "name"?')]),
        ({"zzz": "x"}, [("$.zzz", 'unknown attribute "zzz"')]),
        ({"items": {"a.b": [{"weight": 1, "wieght": 2}]}}, [
            ('$.items["a.b"][0].wieght', 'unknown attribute "wieght"; did you mean "weight"?')
        ]),
        ({"items": {"a": [], "b": [], "c": []}}, [("$.items", "must hold at most 2 items")]),
        ({"count": "x"}, [("$.count", "must be an integer or a list")]),
        ([], [("$", "must be an object")]),
    ],
)  # fmt: skip
def test_sentence(value, expected):
    assert told(value) == expected


def test_every_error_at_once_without_the_library_s_name():
    found = told({"inner": {"weight": "x"}, "nam": 1, "name": ""})
    assert [path for path, _ in found] == ["$.name", "$.inner.weight", "$.nam"]
    assert not any("pydantic" in sentence or "http" in sentence for _, sentence in found)


def test_root_is_put_before_the_path():
    value = {"inner": {}}
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    assert sentences(caught.value, value, root="$.plugins.x")[0][0] == "$.plugins.x.inner.weight"


def test_json_path():
    assert json_path(("a", "b-c", 0, "d.e", 'f"g')) == '$.a.b-c[0]["d.e"]["f\\"g"]'


def test_nearest():
    assert nearest("limit-cout", ["limit-conn", "limit-count"]) == '; did you mean "limit-count"?'
    assert nearest("x", ["limit-count"]) == ""
