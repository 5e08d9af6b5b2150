import json
import math
from functools import cache
from pathlib import Path

import pytest
from google.protobuf.message import EncodeError
from hypothesis import given
from hypothesis import strategies as st

from bascule.plugin.kit.proto_definition import ProtoDefinition
from bascule.plugin.kit.proto_json import DataError, JsonCodec, JsonOptions

OLD = """
syntax = "proto2";
package old;
message M {
  required int32 id = 1;
  optional string word = 2 [default = "w"];
  repeated int32 list = 3;
  optional Kind kind = 4;
  optional group Part = 5 { optional int32 n = 6; }
  enum Kind { ONE = 1; TWO = 2; }
}
"""
MORE = """
syntax = "proto3";
package more;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message M {
  map<bool, string> flags = 1;
  map<int32, M> trees = 2;
  map<string, bytes> blobs = 3;
  google.protobuf.Timestamp at = 4;
  google.protobuf.StringValue boxed = 5;
  string camel_case = 6;
  repeated double list = 7;
  repeated Side sides = 8;
  enum Side { option allow_alias = true; NO = 0; LEFT = 1; L = 1; }
}
"""
AS_DEFAULT = JsonOptions()
UNSET = {
    "i32": 0, "i64": 0, "u32": 0, "u64": 0, "s64": 0, "f64": 0, "flag": False, "single": 0.0, "twice": 0.0, "text": "",
    "data": "", "colour": "RED", "numbers": [], "inners": [], "counts": {},
}  # fmt: skip


@cache
def definition(source):
    return ProtoDefinition(source)


def types():
    path = Path(__file__).parents[2] / "servers" / "greeter.proto"
    return definition(path.read_text()).message("bascule.test.Types")


def filled(kind, data, options=AS_DEFAULT, **how):
    message = kind()
    JsonCodec(options).fill(message, data, **how)
    return kind.FromString(message.SerializeToString())


def there_and_back(kind, data, options=AS_DEFAULT, **how):
    """As JSON, to show that JSON has words for it."""
    return json.loads(json.dumps(JsonCodec(options).to_data(filled(kind, data, options, **how)), allow_nan=False))


def only(data, **options):
    return there_and_back(types(), data, JsonOptions(defaults="none", **options))


def test_what_is_not_set():
    assert JsonCodec().to_data(types()()) == UNSET
    assert JsonCodec(JsonOptions(defaults="none")).to_data(types()()) == {}
    assert JsonCodec(JsonOptions(defaults="all")).to_data(types()()) == {**UNSET, "perhaps": ""}
    assert JsonCodec(JsonOptions(enum_as_value=True)).to_data(types()())["colour"] == 0


def test_lists_of_unset_fields_are_made_anew():
    codec = JsonCodec()
    codec.to_data(types()())["numbers"].append(1)
    assert codec.to_data(types()())["numbers"] == []


def test_messages_that_are_set_show_their_unset_fields():
    data = there_and_back(types(), {"inner": {}, "inners": [{}], "perhaps": "", "word": ""})
    assert data == {**UNSET, "inner": {"text": ""}, "inners": [{"text": ""}], "perhaps": "", "word": ""}


def test_definitions_of_proto2():
    kind = definition(OLD).message("old.M")
    assert there_and_back(kind, {"id": 0}) == {"id": 0, "list": []}
    assert there_and_back(kind, {"id": 0}, JsonOptions(defaults="all")) == {
        "id": 0, "word": "w", "list": [], "kind": "ONE",
    }  # fmt: skip
    assert there_and_back(kind, {"id": 1, "part": {"n": 2}, "kind": 2})["part"] == {"n": 2}
    with pytest.raises(EncodeError, match="id"):
        filled(kind, {})
    with pytest.raises(DataError, match=r"^\$\.kind: "):
        filled(kind, {"id": 1, "kind": 3})


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"i32": -5, "u32": 2**32 - 1}, None),
        ({"i64": 2**53 + 1, "u64": 2**64 - 1, "s64": -(2**63)}, None),
        ({"i64": "12", "u64": "#18446744073709551615", "i32": "-0x1F"}, {"i64": 12, "u64": 2**64 - 1, "i32": -31}),
        ({"i32": 3.0, "single": 5, "twice": "1e3"}, {"i32": 3, "single": 5.0, "twice": 1000.0}),
        ({"flag": "true"}, {"flag": True}),
        ({"flag": 1}, {"flag": True}),
        ({"single": 0.1, "twice": 0.1}, None),
        ({"single": 3.4028234663852886e38}, None),
        ({"single": "NaN", "twice": "-Infinity"}, None),
        ({"text": 5, "data": 1.5}, {"text": "5", "data": "1.5"}),
        ({"text": "ä\0€", "data": "ä"}, None),
        ({"colour": "BLUE"}, None),
        ({"colour": 7}, {"colour": "BLUE"}),
        ({"colour": "7"}, {"colour": "BLUE"}),
        ({"colour": 99}, None),
        ({"inner": {"text": "a", "next": {"next": {}}}, "inners": [{"text": "b"}, {}]}, None),
        ({"numbers": [1, "2", -3]}, {"numbers": [1, 2, -3]}),
        ({"counts": {"a": 1, "": "2"}}, {"counts": {"a": 1, "": 2}}),
        ({"word": "x"}, None),
        ({"word": "x", "number": 1}, {"number": 1}),
        ({"i32": None, "inner": None, "unknown": {"x": 1}}, {}),
    ],
)
def test_values(given, shown):
    assert only(given) == (given if shown is None else shown)


@pytest.mark.parametrize(
    ("value", "as_string", "as_hexstring"),
    [
        (3, 3, 3),
        (-(2**31), -(2**31), -(2**31)),
        (2**32 - 1, 2**32 - 1, 2**32 - 1),
        (2**32, "#4294967296", "#0x100000000"),
        (-(2**31) - 1, "#-2147483649", "#-0x80000001"),
        (2251799813685261, "#2251799813685261", "#0x800000000000D"),
    ],
)
def test_long_integers(value, as_string, as_hexstring):
    assert only({"i64": value}, int64="string") == {"i64": as_string}
    assert only({"i64": value}, int64="hexstring") == {"i64": as_hexstring}
    assert only({"i64": as_hexstring, "counts": {"a": as_string}}) == {"i64": value, "counts": {"a": value}}


def test_bytes():
    kind = types()
    assert JsonCodec().to_data(kind(data=b"\xff\x00"))["data"] == "/wA="
    base64 = JsonOptions(bytes_as_base64=True, defaults="none")
    assert JsonCodec(base64).to_data(kind(data=b"hi")) == {"data": "aGk="}
    for text in ("_wA", "/wA="):
        assert filled(kind, {"data": text}, base64).data == b"\xff\x00"
    for wrong in ("?", 5, "a"):
        with pytest.raises(DataError, match=r"^\$\.data: must be base64"):
            filled(kind, {"data": wrong}, base64)


def test_maps_and_well_known_types():
    kind = definition(MORE).message("more.M")
    data = {
        "flags": {"true": "t", "false": "f"},
        "trees": {"-1": {"trees": {"2": {}}}},
        "blobs": {"a": "x"},
        "at": {"seconds": 5},
        "boxed": {"value": ""},
        "camelCase": "x",
        "list": [1, 2.5, "NaN"],
        "sides": ["LEFT", "L", 0],
    }
    assert there_and_back(kind, data, JsonOptions(defaults="none")) == {
        "flags": {"true": "t", "false": "f"},
        "trees": {"-1": {"trees": {"2": {}}}},
        "blobs": {"a": "x"},
        "at": {"seconds": 5},
        "boxed": {},
        "camel_case": "x",
        "list": [1.0, 2.5, "NaN"],
        "sides": ["LEFT", "LEFT", "NO"],
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "$: must be an object, not a list"),
        ("x", "$: must be an object, not a string"),
        (None, "$: must be an object, not null"),
        ({"i32": "a"}, "$.i32: must be an integer, not 'a'"),
        ({"i32": 1.5}, "$.i32: must be an integer, not a number"),
        ({"i32": True}, "$.i32: must be an integer, not a boolean"),
        ({"i32": 2**31}, "$.i32: 2147483648 is not within -2147483648 to 2147483647"),
        ({"u64": -1}, "$.u64: -1 is not within 0 to 18446744073709551615"),
        ({"u64": "1" * 9999}, f"$.u64: must be an integer, not {'1' * 40!r}"),
        ({"i64": 1e300}, "is not within"),
        ({"flag": "yes"}, "$.flag: must be true or false"),
        ({"single": [1]}, "$.single: must be a number, not a list"),
        ({"twice": "x"}, "$.twice: must be a number, not 'x'"),
        ({"text": True}, "$.text: must be a string, not a boolean"),
        ({"text": "\ud800"}, "$.text: "),
        ({"data": "\ud800"}, "$.data: "),
        ({"colour": "PINK"}, "$.colour: 'PINK' is no value of bascule.test.Colour"),
        ({"colour": {}}, "$.colour: must be an integer, not an object"),
        ({"inner": 5}, "$.inner: must be an object, not a number"),
        ({"inner": {"next": {"text": []}}}, "$.inner.next.text: must be a string, not a list"),
        ({"inners": {}}, "$.inners: must be a list, not an object"),
        ({"inners": [{}, 1]}, "$.inners[1]: must be an object, not a number"),
        ({"numbers": 1}, "$.numbers: must be a list, not a number"),
        ({"numbers": [1, "x"]}, "$.numbers[1]: must be an integer, not 'x'"),
        ({"counts": []}, "$.counts: must be an object, not a list"),
        ({"counts": {"k": "x"}}, "$.counts.k: must be an integer, not 'x'"),
        ({"counts": {"\ud800": 1}}, "$.counts."),
    ],
)
def test_data_that_does_not_fit(given, told):
    with pytest.raises(DataError) as error:
        filled(types(), given)
    assert told in str(error.value)
    assert str(error.value).startswith("$")


def test_map_keys_that_do_not_fit():
    kind = definition(MORE).message("more.M")
    for wrong, told in (
        ({"flags": {"yes": ""}}, "$.flags.yes: must be true or false"),
        ({"trees": {"x": {}}}, "$.trees.x: must be an integer"),
        ({"trees": {"1": {"trees": {"1": 5}}}}, "$.trees.1.trees.1: must be an object"),
    ):
        with pytest.raises(DataError) as error:
            filled(kind, wrong)
        assert str(error.value).startswith(told)


def test_depth_is_bounded():
    deep = {}
    for _ in range(101):
        deep = {"next": deep}
    with pytest.raises(DataError, match="more than 100 messages"):
        filled(types(), {"inner": deep})


def test_of_a_query():
    data = {"numbers": "1", "i32": ["5", "6"], "text": "x", "colour": "BLUE", "flag": "false", "twice": "0.5"}
    shown = there_and_back(types(), data, JsonOptions(defaults="none"), text=True)
    assert shown == {"numbers": [1], "i32": 5, "text": "x", "colour": "BLUE", "twice": 0.5}
    with pytest.raises(DataError, match=r"^\$\.inner: must be an object"):
        filled(types(), {"inner": "x"}, text=True)
    with pytest.raises(DataError, match=r"^\$\.i32: must be an integer, not ''"):
        filled(types(), {"i32": ""}, text=True)


@given(st.floats(width=32))
def test_single_floats_come_back_as_they_were(value):
    shown = JsonCodec().to_data(types()(single=value))["single"]
    back = filled(types(), {"single": shown}).single
    assert back == value or (math.isnan(back) and math.isnan(value))
