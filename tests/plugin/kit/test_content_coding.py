import gzip
import sys
import zlib
from importlib import import_module
from typing import Any

import pytest

from bascule.plugin.kit.content_coding import DecodeError, decoder

brotli: Any = import_module("brotli")
TEXT = b"what is packed here is long enough to be packed " * 50


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        (None, TEXT),
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT, mtime=0)),
        (" GZip ", gzip.compress(TEXT[:100], mtime=0) + gzip.compress(TEXT[100:], mtime=0)),
        ("x-gzip", gzip.compress(TEXT, mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)[2:-4]),
        ("br", brotli.compress(TEXT)),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100000])
def test_decodes_in_pieces(coding: str | None, packed: bytes, size: int) -> None:
    one = decoder(coding)
    assert one is not None
    assert b"".join(one.feed(packed[at : at + size]) for at in range(0, len(packed), size)) == TEXT


@pytest.mark.parametrize("coding", ["zstd", "gzip, br", "compress"])
def test_unknown(coding: str) -> None:
    assert decoder(coding) is None


def test_br_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "brotli", None)
    assert decoder("br") is None


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_says_when_the_bytes_are_something_else(coding: str) -> None:
    one = decoder(coding)
    assert one is not None
    with pytest.raises(DecodeError):
        one.feed(b"\xff\xfenot packed at all")
