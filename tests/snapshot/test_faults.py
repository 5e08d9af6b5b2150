import pytest
from pydantic import BaseModel, ValidationError

from bascule.model.change import Change
from bascule.snapshot.faults import Faults


class Conf(BaseModel):
    count: int


def test_faults_become_errors_of_the_change():
    faults = Faults()
    assert not faults
    faults.add(("plugins", "a.b", 0), "is bad")
    faults.add_inside(("vars",), "$[1][0]", "is worse")
    with pytest.raises(ValidationError) as caught:
        Conf.model_validate({})
    faults.add_invalid(caught.value, {}, Conf, ("plugins", "x"))
    assert faults
    assert [str(error) for error in faults.errors(Change("routes", "1", {}, file="a.yaml", line=3))] == [
        'a.yaml:3: routes[1] $.plugins["a.b"][0]: is bad',
        "a.yaml:3: routes[1] $.vars[1][0]: is worse",
        "a.yaml:3: routes[1] $.plugins.x.count: is required",
    ]
