import pytest

from bascule.model.locality import Locality


def test_defaults():
    assert Locality.model_validate({}) == Locality(disable=False, threshold=70)


@pytest.mark.parametrize("value", [{"threshold": -1}, {"threshold": 101}, {"threshold": 0.7}, {"disable": "yes"}])
def test_refused(told, value):
    assert len(told(Locality, value)) == 1
