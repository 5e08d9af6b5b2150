import logging
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from bascule.plugin.kit.limits import (
    Amount,
    InvalidLimit,
    KeyReader,
    Positive,
    integer,
    number,
    rejection,
    resolve,
    rule_reader,
)
from bascule.plugin.kit.template import Template
from bascule.plugin.kit.testing import get

LOG = logging.getLogger("test")


class Conf(BaseModel):
    positive: Positive = 1
    amount: Amount = 0
    rejected_code: int = 503
    rejected_msg: str | None = None


def test_integers_out_of_texts() -> None:
    assert (integer("3"), integer("2.0"), integer("0", 0)) == (3, 2, 0)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "9999999999999999", "many", "nan", "inf", "1e400", ""])
def test_texts_that_are_no_limit(text: str) -> None:
    with pytest.raises(InvalidLimit):
        integer(text)


@pytest.mark.parametrize("text", ["-1", "0.5", "nan"])
def test_texts_that_are_no_amount(text: str) -> None:
    with pytest.raises(InvalidLimit):
        integer(text, 0)


@pytest.mark.parametrize(
    "conf", [{"positive": 0}, {"positive": "0"}, {"positive": "x"}, {"amount": -1}, {"amount": "-1"}]
)
def test_attributes(conf: dict[str, Any]) -> None:
    assert Conf(positive="${http_n}", amount="0").amount == "0"
    with pytest.raises(ValidationError):
        Conf(**conf)


def test_numbers_of_a_request() -> None:
    request = get("/", headers={"n": "4", "bad": "x"})
    assert (number(3), number("3"), number("0", 0)) == (3, 3, 0)
    assert resolve(number("${http_n}"), "conn", request) == 4
    assert resolve(number("${http_no ?? 7}"), "conn", request) == 7
    with pytest.raises(InvalidLimit, match="conn: the resolved value must be a number, not 'x'"):
        resolve(number("${http_bad}"), "conn", request)


@pytest.mark.parametrize(
    ("key", "kind", "value"),
    [
        ("remote_addr", "var", "10.0.0.1"),
        ("http_a", "var", "1"),
        ("http_no", "var", "10.0.0.1"),
        ("$http_a $http_no", "var_combination", "1 "),
        ("$http_no", "var_combination", "10.0.0.1"),
        ("no variables", "var_combination", "10.0.0.1"),
        ("all", "constant", "all"),
    ],
)
def test_keys(key: str, kind: str, value: str, caplog: pytest.LogCaptureFixture) -> None:
    reader = KeyReader(key, kind, LOG)
    request = get("/", headers={"a": "1"}, remote_addr="10.0.0.1")
    assert [reader.read(request) for _ in range(2)] == [value] * 2
    assert len(caplog.records) == (value == "10.0.0.1" and key != "remote_addr")


def test_keys_of_rules() -> None:
    request = get("/", headers={"a": "1"})
    assert [rule_reader(Template(key))(request) for key in ("${http_a}", "${http_no}", "all")] == ["1", None, "all"]


def test_rejections() -> None:
    answer = rejection(Conf())
    assert (answer.status, answer.body) == (503, b"")
    assert rejection(Conf(rejected_code=429, rejected_msg="no")).body == b'{"error_msg":"no"}'
