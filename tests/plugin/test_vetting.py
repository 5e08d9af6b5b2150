import pytest

from bascule.plugin import Config, Plugin
from bascule.plugin.user_code import PluginCodeError
from bascule.plugin.vetting import vet


def make(**attributes):
    present = {"name": "mine", "priority": 5, "Config": Config, **attributes}
    return type("Mine", (Plugin,), {key: value for key, value in present.items() if value is not ...})


async def later(self, request, response=None):
    return None


def generator(self, request):
    yield


class Odd:
    pass


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"name": ...}, "Mine: name must be a string"),
        ({"name": ""}, "name must be a string"),
        ({"priority": ...}, "priority must be an integer"),
        ({"priority": "5"}, "priority must be an integer"),
        ({"priority": True}, "priority must be an integer"),
        ({"Config": ...}, "Config must be a class derived from bascule.plugin.Config"),
        ({"Config": Odd}, "Config must be a class"),
        ({"Metadata": Odd}, "Metadata must be a class"),
        ({"type": "auth"}, "needs a ConsumerConfig"),
        ({"header_filter": later}, "Mine.header_filter must be a plain function, not async"),
        ({"log": later}, "Mine.log must be a plain function"),
        ({"access": generator}, "must not yield"),
        ({"access": lambda self: None}, r"must take \(self, request\)"),
        ({"body_filter": lambda self, request, chunk: None}, r"must take \(self, request, response, chunk, last\)"),
        ({"on_request": lambda self, request: None}, "on_request is no phase"),
    ],
)
def test_mistakes_are_told(attributes, sentence):
    with pytest.raises(PluginCodeError, match=sentence):
        vet(make(**attributes))


def test_good_ones_pass():
    vet(make())
    vet(make(rewrite=later, access=lambda self, request: None, log=lambda self, request, more=1: None))
    vet(make(type="auth", ConsumerConfig=Config))
