from __future__ import annotations

import pytest

from bascule.store.etcd_layout import FOLDERS, PLACEHOLDER, EtcdLayout, end_of, united

LAYOUT = EtcdLayout("/apisix/")


def test_keys_with_and_without_the_prefix() -> None:
    assert LAYOUT.raw("routes/1") == b"/apisix/routes/1"
    assert LAYOUT.key(b"/apisix/routes/1", b"{}") == "routes/1"
    assert LAYOUT.key("/apisix/routes/ü".encode(), None) == "routes/ü"
    assert LAYOUT.key(b"/apisix/routes/\xff", b"") == "routes/\ufffd"
    assert LAYOUT.span("") == (b"/apisix/", b"/apisix0")
    assert end_of("/ü".encode()) > "/üz".encode()


@pytest.mark.parametrize("raw", [b"/apisix/gen_id", LAYOUT.fence("x")])
def test_keys_without_configuration(raw: bytes) -> None:
    assert LAYOUT.key(raw, b"1") is None


def test_placeholders_hold_nothing() -> None:
    assert LAYOUT.key(b"/apisix/routes/", PLACEHOLDER) is None
    assert LAYOUT.key(b"/apisix/routes/", b"{}") == "routes/"


@pytest.mark.parametrize("prefix", ["", "r", "routes/", "routes/1", "g", "gen_id", "bascule/", "b", "zzz"])
def test_spans_leave_out_what_holds_no_configuration(prefix: str) -> None:
    spans = LAYOUT.spans(prefix)
    assert spans == sorted(spans)
    assert all(start < end for start, end in spans)

    def covered(key: str) -> bool:
        return any(start <= LAYOUT.raw(key) < end for start, end in spans)

    hidden = [*FOLDERS, "gen_id", "bascule/fence/1"]
    assert not any(map(covered, hidden))
    others = ["routes/1", "routes", "routes/1/2", "gen_id2", "gen_i", "b", "bascule0", "services/x", "a", "zzz"]
    for key in others:
        assert covered(key) == key.startswith(prefix), key


def test_united() -> None:
    assert united([(b"c", b"d"), (b"a", b"b"), (b"b", b"c"), (b"x", b"z"), (b"y", b"yy")]) == [
        (b"a", b"d"),
        (b"x", b"z"),
    ]
