import pytest

from bascule.plugin.kit.drive import drive
from bascule.plugin.kit.template import Template
from bascule.plugin.kit.testing import get


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$host", "gateway.test"),
        ("${host}", "gateway.test"),
        ("a$arg_x-b", "a1-b"),
        ("a${arg_x}b", "a1b"),
        ("$absent", ""),
        ("${absent ?? none}", "none"),
        ("${absent??none at all}", "none at all"),
        ("${ arg_x ?? none }", "1"),
        (r"\$host", "$host"),
        (r"\${host} $arg_x", "${host} 1"),
        ("5$ and $", "5$ and $"),
        ("$host.x", "gateway.test.x"),
        ("$post_arg.a.b.", "7."),
        ("$server_port", "9080"),
        ("$remote_addr $http_x_a", "127.0.0.1 v"),
        ("$flag $half $whole $list", "true 0.5 2 a, 1"),
    ],
)
def test_templates(text, filled):
    sent = {"headers": {"X-A": "v"}, "body": {"a": {"b": 7}}}
    request = get("/?x=1", **sent, variables={"flag": True, "half": 0.5, "whole": 2.0, "list": ["a", 1]})
    drive(request.body(100))
    assert Template(text)(request) == filled
    assert Template(text).render(request) == filled


def test_variables_of_a_template():
    template = Template("$a ${b ?? $} $a")
    assert template.variables == {"a", "b"}
    assert Template("no variables").constant == "no variables"
    assert repr(template) == "Template('$a ${b ?? $} $a')"
