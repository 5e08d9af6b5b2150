from typing import Any

import pytest

from bascule.admin.answer import Refusal
from bascule.admin.listing import filter_of, page_of

ITEMS: list[dict[str, Any]] = [
    {"value": {"id": "1", "name": "alpha", "uri": "/a", "labels": {"env": "x"}, "service_id": "1"}},
    {"value": {"id": "2", "name": "beta", "uris": ["/b", "/both"]}},
    {"value": {"id": "3", "uri": "/a/b", "service_id": 1, "upstream_id": "2"}},
]


def ids(query: dict[str, str]) -> list[str]:
    wanted = filter_of(query, ("service_id", "upstream_id"))
    return [item["value"]["id"] for item in ITEMS if wanted.passes(item["value"])]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["1", "2", "3"]),
        ({"name": "^al"}, ["1"]),
        ({"uri": "b"}, ["2", "3"]),
        ({"label": "env"}, ["1"]),
        ({"filter": "service_id=1"}, ["1", "3"]),
        ({"filter": "service_id=1&upstream_id=2"}, ["3"]),
        ({"filter": "service_id=7&service_id=1"}, ["1", "3"]),
        ({"filter": "name=alpha"}, ["1", "2", "3"]),
    ],
)
def test_filters(query: dict[str, str], found: list[str]) -> None:
    assert ids(query) == found


def test_a_filter_that_is_no_expression_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        ids({"name": "("})
    assert caught.value.answer.status == 400


def test_an_expression_that_would_take_years_is_stopped() -> None:
    value = {"uri": "/" + "a" * 60}
    wanted = filter_of({"uri": "^/(a|a)*[0-9]$"}, ())
    with pytest.raises(Refusal) as caught:
        wanted.passes(value)
    assert caught.value.answer.status == 400
    assert caught.value.answer.body == {"error_msg": "the filter uri takes longer than 0.5 s to look for"}


@pytest.mark.parametrize("value", [{}, {"name": 3, "uris": "/a", "labels": []}, {"uris": [1, None], "labels": None}])
def test_values_of_any_shape_are_looked_at(value: dict[str, Any]) -> None:
    for query in ({"name": "^a"}, {"uri": "a"}, {"label": "env"}, {"filter": "service_id=1"}):
        assert not filter_of(query, ("service_id",)).passes(value)
    assert filter_of({}, ()).passes(value)


def test_pages() -> None:
    items: list[dict[str, Any]] = [{"n": n} for n in range(25)]
    assert page_of({"page": "2"})(items) == items
    assert page_of({"page": "2", "page_size": "10"})(items) == items[10:20]
    assert page_of({"page": "0", "page_size": "10"})(items) == items[:10]
    assert page_of({"page": "9", "page_size": "10"})(items) == []
    with pytest.raises(Refusal) as caught:
        page_of({"page": "1", "page_size": "501"})
    assert caught.value.answer.body == {"error_msg": "page_size must be between 10 and 500"}
