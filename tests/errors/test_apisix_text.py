from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError, model_validator

from bascule.errors.apisix_text import Keys, MatchesAny, Pattern, Told
from bascule.errors.sentences import Refused, faults


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    weight: Annotated[StrictInt, Field(ge=0, le=9)] = 1
    ratio: Annotated[float, Field(gt=0, lt=1, strict=True)] = 0.5
    on: StrictBool = True


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    uri: Annotated[StrictStr, Field(min_length=2, max_length=4, pattern="^/")]
    host: Annotated[StrictStr, Field(pattern=r"^[a-z\-]+$"), Pattern("^[a-z-]+$")] | None = None
    inner: Inner | None = None
    items: Annotated[tuple[Inner, ...], Field(min_length=1, max_length=2)] | None = None
    labels: Annotated[dict[str, StrictStr], Keys(".*")] | None = None
    headers: Annotated[dict[str, StrictStr], Field(min_length=1)] | None = None
    method: Literal["GET", "PUT"] = "GET"
    id: Annotated[StrictStr | StrictInt, MatchesAny] | None = None
    bare: StrictStr | StrictInt | None = None
    conf: dict[str, Annotated[dict[str, int], Told("invalid conf {value} for [{key}]", semantic=True)]] | None = None

    @model_validator(mode="after")
    def _rules(self):
        if self.uri == "/no":
            raise Refused("needs something", "then clause did not match")
        if self.uri == "/not":
            raise Refused("isn't there", "failed to fetch it", semantic=True)
        if self.uri == "/bad":
            raise ValueError("is bad")
        return self


def messages(value):
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    return [fault.error_msg.removeprefix("invalid configuration: ") for fault in faults(caught.value, value, Outer)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, 'property "uri" is required'),
        ({"uri": 1}, 'property "uri" validation failed: wrong type: expected string, got number'),
        ({"uri": None}, 'property "uri" validation failed: wrong type: expected string, got userdata'),
        ({"uri": ["/"]}, 'property "uri" validation failed: wrong type: expected string, got table'),
        ({"uri": True}, 'property "uri" validation failed: wrong type: expected string, got boolean'),
        ({"uri": "/"}, 'property "uri" validation failed: string too short, expected at least 2, got 1'),
        ({"uri": "/abcd"}, 'property "uri" validation failed: string too long, expected at most 4, got 5'),
        ({"uri": 'a"'}, 'property "uri" validation failed: failed to match pattern "^/" with "a\\""'),
        ({"uri": "/a", "zz": 1}, "additional properties forbidden, found zz"),
        ({"uri": "/a", "host": "A"}, 'property "host" validation failed: failed to match pattern "^[a-z-]+$" with "A"'),
        (
            {"uri": "/a", "inner": {"weight": 1.5}},
            'property "inner" validation failed: property "weight" validation failed: '
            "wrong type: expected integer, got number",
        ),
        (
            {"uri": "/a", "inner": {"weight": -1}},
            'property "inner" validation failed: property "weight" validation failed: expected -1 to be at least 0',
        ),
        (
            {"uri": "/a", "inner": {"weight": 10}},
            'property "inner" validation failed: property "weight" validation failed: expected 10 to be at most 9',
        ),
        (
            {"uri": "/a", "inner": {"ratio": 0}},
            'property "inner" validation failed: property "ratio" validation failed: expected 0 to be greater than 0',
        ),
        (
            {"uri": "/a", "inner": {"on": "yes"}},
            'property "inner" validation failed: property "on" validation failed: '
            "wrong type: expected boolean, got string",
        ),
        ({"uri": "/a", "inner": []}, 'property "inner" validation failed: wrong type: expected object, got table'),
        (
            {"uri": "/a", "inner": {"x": 1}},
            'property "inner" validation failed: additional properties forbidden, found x',
        ),
        ({"uri": "/a", "items": {}}, 'property "items" validation failed: wrong type: expected array, got table'),
        ({"uri": "/a", "items": []}, 'property "items" validation failed: expect array to have at least 1 items'),
        ({"uri": "/a", "items": [{}] * 3}, 'property "items" validation failed: expect array to have at most 2 items'),
        (
            {"uri": "/a", "items": [{}, {"weight": "x"}]},
            'property "items" validation failed: failed to validate item 2: property "weight" validation failed: '
            "wrong type: expected integer, got string",
        ),
        (
            {"uri": "/a", "labels": {"env": {}}},
            'property "labels" validation failed: failed to validate env (matching ".*"): '
            "wrong type: expected string, got table",
        ),
        (
            {"uri": "/a", "headers": {"X-A": 1}},
            'property "headers" validation failed: failed to validate additional property X-A: '
            "wrong type: expected string, got number",
        ),
        (
            {"uri": "/a", "headers": {}},
            'property "headers" validation failed: expect object to have at least 1 properties',
        ),
        ({"uri": "/a", "method": "POST"}, 'property "method" validation failed: matches none of the enum values'),
        ({"uri": "/a", "id": {}}, 'property "id" validation failed: object matches none of the required'),
        ({"uri": "/a", "bare": {}}, 'property "bare" validation failed: object matches none of the required'),
        ({"uri": "/a", "conf": {"x": "blah"}}, 'invalid conf "blah" for [x]'),
        ({"uri": "/no"}, "then clause did not match"),
        ({"uri": "/not"}, "failed to fetch it"),
        ({"uri": "/bad"}, "is bad"),
    ],
)
def test_one_fault(value, expected):
    assert messages(value) == [expected]


def test_semantic_faults_have_no_prefix():
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"uri": "/not"})
    (fault,) = faults(caught.value, {"uri": "/not"}, Outer)
    assert (fault.path, fault.sentence, fault.error_msg) == ("$", "isn't there", "failed to fetch it")


def test_more_faults_than_anybody_reads_are_cut():
    told = messages({"uri": "/a", "headers": {f"h{i}": i for i in range(100_000)}})
    assert len(told) == 201
    assert told[-1] == "too many faults"


def test_long_values_are_cut():
    (told,) = messages({"uri": "/a", "host": "A" * 5000})
    assert len(told) < 1200
