import pytest
from pydantic import BaseModel, ValidationError

from bascule.match.expression import ExpressionError
from bascule.model.change import Change
from bascule.snapshot.faults import Faults


class Conf(BaseModel):
    count: int


def test_faults_become_errors_of_the_change():
    faults = Faults()
    assert not faults
    faults.add(("plugins", "a.b", 0), "is bad")
    faults.add_expression(("vars",), ExpressionError("$[1][0]", "is worse", "worse"))
    with pytest.raises(ValidationError) as caught:
        Conf.model_validate({})
    faults.add_invalid(caught.value, {}, Conf, ("plugins", "x"))
    assert faults
    assert [str(error) for error in faults.errors(Change("routes", "1", {}, file="a.yaml", line=3))] == [
        'a.yaml:3: routes[1] $.plugins["a.b"][0]: is bad',
        "a.yaml:3: routes[1] $.vars[1][0]: is worse",
        "a.yaml:3: routes[1] $.plugins.x.count: is required",
    ]
    assert [fault.error_msg for fault in faults.found] == [
        "failed to check the configuration of plugin a.b err: failed to validate item 1: is bad",
        "failed to validate the 'vars' expression: worse",
        'failed to check the configuration of plugin x err: property "count" is required',
    ]


def test_apisix_words_with_and_without_their_place():
    faults = Faults()
    faults.add(("cert",), "is no certificate", "not PEM")
    faults.add(("cert",), "is no certificate", "failed to parse cert", semantic=True)
    faults.add(("snis",), "is empty", semantic=True)
    assert [fault.error_msg for fault in faults.found] == [
        'invalid configuration: property "cert" validation failed: not PEM',
        "failed to parse cert",
        "is empty",
    ]


def test_faults_around_a_place_are_left_out():
    faults = Faults()
    for parts in ((), ("a",), ("a", 0), ("a", 0, "b"), ("a", 1), ("ab",), ("a", 0, "b", "c"), ("a", 0, "bc")):
        faults.add(("plugins", "x", *parts), "is wrong")
    faults.leave_out([("a", 0, "b")], ("plugins", "x"))
    assert [fault.path for fault in faults.found] == [
        "$.plugins.x",
        "$.plugins.x.a[1]",
        "$.plugins.x.ab",
        "$.plugins.x.a[0].bc",
    ]
    faults.leave_out([], ("plugins", "x"))
    assert len(faults.found) == 4
