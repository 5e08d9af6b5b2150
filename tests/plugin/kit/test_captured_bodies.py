import gzip
import zlib
from typing import Any

import pytest

from bascule.plugin.kit.captured_bodies import CapturedBodies, CapturedBodiesConf
from bascule.plugin.kit.drive import drive
from bascule.plugin.kit.testing import get, post
from bascule.plugin.response import Response


def captured(request: Any, chunks: list[bytes] = [], coding: str | None = None, **conf: Any) -> tuple[Any, Any]:  # noqa: B006 (never written)
    bodies = CapturedBodies(CapturedBodiesConf.model_validate(conf), "slot")
    if bodies.wants_request:
        drive(bodies.hold_request(request))
    request.response = Response(200, headers={"Content-Encoding": coding} if coding else None)
    if bodies.wants_response:
        for chunk in (*chunks, b""):
            bodies.collect_response(request, request.response, chunk)
    return bodies.request_text(request), bodies.response_text(request)


def test_nothing_is_wanted() -> None:
    request = post("/", b"body")
    assert captured(request, [b"answer"]) == (None, None)
    assert request.held_body is None


def test_both() -> None:
    conf = {"include_req_body": True, "include_resp_body": True}
    assert captured(post("/", b"body"), [b"ans", b"wer"], **conf) == ("body", "answer")
    assert captured(get("/"), [], **conf) == (None, "")
    assert captured(post("/", b"\xff"), ["é".encode()[:1]], **conf) == ("\ufffd", "\ufffd")


def test_limits() -> None:
    conf = {"include_req_body": True, "include_resp_body": True, "max_req_body_bytes": 3, "max_resp_body_bytes": 5}
    assert captured(post("/", b"body"), [b"ans", b"wer", b"!"], **conf) == ("bod", "answe")


def test_conditions() -> None:
    conf = {
        "include_req_body": True,
        "include_req_body_expr": [["arg_a", "==", "1"]],
        "include_resp_body": True,
        "include_resp_body_expr": [["arg_b", "==", "1"]],
    }
    assert captured(post("/?a=1", b"body"), [b"answer"], **conf) == ("body", None)
    assert captured(post("/?b=1", b"body"), [b"answer"], **conf) == (None, "answer")


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(b"hello " * 100, mtime=0)),
        ("GZIP", gzip.compress(b"hello " * 100, mtime=0)[:-10]),  # cut by the limit
        ("deflate", zlib.compress(b"hello " * 100)),
    ],
)
def test_codings(coding: str, packed: bytes) -> None:
    _, text = captured(get("/"), [packed], coding, include_resp_body=True)
    assert text.startswith("hello hello")


def test_brotli() -> None:
    brotli = pytest.importorskip("brotli")
    assert captured(get("/"), [brotli.compress(b"hello")], "br", include_resp_body=True)[1] == "hello"
    assert captured(get("/"), [b"plain text"], "br", include_resp_body=True)[1] == "plain text"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "identity"])
def test_what_cannot_be_unpacked_stays(coding: str) -> None:
    assert captured(get("/"), [b"plain"], coding, include_resp_body=True)[1] == "plain"


def test_unpacking_is_bounded() -> None:
    bomb = gzip.compress(b"a" * 10_000_000, mtime=0)
    _, text = captured(get("/"), [bomb], "gzip", include_resp_body=True, max_resp_body_bytes=50_000)
    assert len(text) == 50_000
