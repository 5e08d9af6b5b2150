import pytest
from pydantic import BaseModel

from bascule.model.attributes import (
    Cert,
    FilterFunc,
    Host,
    Hosts,
    Id,
    Int,
    Ip,
    Key,
    Labels,
    Methods,
    Number,
    Regex,
    Resource,
    Script,
    Status,
    TimeoutConf,
)


class Every(BaseModel):
    id: Id = "x"
    host: Host = "x"
    hosts: Hosts = ("x",)
    ip: Ip = "::1"
    labels: Labels = {}
    methods: Methods = ()
    number: Number = 1
    integer: Int = 1
    status: Status = 1
    regex: Regex = ""
    cert: Cert = "x" * 128
    key: Key = "x" * 64
    timeout: TimeoutConf | None = None
    script: Script = None
    filter_func: FilterFunc = None


@pytest.mark.parametrize(
    "value",
    [
        {"id": 1},
        {"id": "a-b_c.d"},
        {"id": "x" * 64},
        {"host": "*"},
        {"host": "*.example.com"},
        {"host": "[::1]:80"},
        {"hosts": ["a", "*.b"]},
        {"ip": "1.2.3.4"},
        {"ip": "1.2.3.4/8"},
        {"ip": "::1"},
        {"ip": "2001:db8::/32"},
        {"labels": {"any key": "v/1"}},
        {"methods": ["GET", "PURGE"]},
        {"methods": []},
        {"number": 1.5},
        {"status": 0},
        {"regex": "^a+$"},
        {"cert": "$secret://vault/1/cert"},
        {"key": "$ENV://KEY"},
        {"timeout": {"connect": 0.5, "send": 1, "read": 60}},
    ],
)
def test_accepted(told, value):
    assert told(Every, value) == []


@pytest.mark.parametrize(
    ("value", "errors"),
    [
        ({"id": 0}, ["$.id: must be at least 1 when it is a number"]),
        ({"id": True}, ["$.id: must be a string or a positive integer"]),
        ({"id": ""}, ["$.id: must have at least 1 character"]),
        ({"id": "x" * 65}, ["$.id: must have at most 64 characters"]),
        ({"id": "a/b"}, [r"$.id: must match the pattern ^[a-zA-Z0-9\-_.]+$"]),
        ({"host": "a*"}, [r"$.host: must match the pattern ^(\*|\*?[0-9a-zA-Z\-._\[\]:]+)$"]),
        ({"hosts": []}, ["$.hosts: must hold at least 1 item"]),
        ({"hosts": ["a", "b", "a"]}, ["$.hosts: holds 'a' twice"]),
        ({"hosts": "a"}, ["$.hosts: must be a list"]),
        ({"ip": "1.2.3.4/33"}, ["$.ip: '1.2.3.4/33' is neither an IP address nor a CIDR range"]),
        ({"labels": {"a": "b c"}}, [r"$.labels.a: must match the pattern ^\S+$"]),
        ({"labels": {"a": 1}}, ["$.labels.a: must be a string"]),
        ({"number": "1"}, ["$.number: must be a number"]),
        ({"number": True}, ["$.number: must be a number"]),
        ({"number": float("inf")}, ["$.number: must be a finite number"]),
        ({"integer": 1.0}, ["$.integer: must be an integer"]),
        ({"integer": True}, ["$.integer: must be an integer"]),
        ({"status": 2}, ["$.status: must be at most 1"]),
        ({"cert": "short"}, ["$.cert: must be PEM text of 128 to 65536 characters, or a secret reference"]),
        ({"key": "short"}, ["$.key: must be PEM text of 64 to 65536 characters, or a secret reference"]),
        (
            {"timeout": {"connect": 0, "send": 1, "reed": 1}},
            [
                "$.timeout.connect: must be greater than 0",
                "$.timeout.read: is required",
                '$.timeout.reed: unknown attribute "reed"; did you mean "read"?',
            ],
        ),
    ],
)
def test_refused(told, value, errors):
    assert told(Every, value) == errors


def test_a_bad_regex_is_explained(told):
    assert told(Every, {"regex": "(a"})[0].startswith("$.regex: '(a' is not a regular expression: ")


def test_lua_is_refused_with_what_to_use_instead(told):
    assert told(Every, {"filter_func": "function(vars) return true end"}) == [
        '$.filter_func: filter_func is Lua source, which Bascule doesn\'t run; say the condition in "vars", '
        "or write a Python plugin"
    ]
    assert "Lua" in told(Every, {"script": "return 1"})[0]


def test_an_integer_id_names_the_same_key_as_its_string():
    assert Every.model_validate({"id": 7}).id == "7"


def test_common_attributes(told):
    value = {"id": 1, "name": "n", "desc": "", "labels": {}, "create_time": 1, "update_time": 2}
    assert told(Resource, value) == []
    assert told(Resource, {"name": "", "desc": "d" * 257, "create_time": "now"}) == [
        "$.name: must have at least 1 character",
        "$.desc: must have at most 256 characters",
        "$.create_time: must be an integer",
    ]
