"""Decoding of compressed bodies as they stream by: gzip, deflate and, with the extra `bascule[brotli]`, br."""

import zlib
from collections.abc import Callable
from importlib import import_module


class DecodeError(ValueError):
    """The bytes are not what Content-Encoding says."""


class Decoder:
    """Feed it the chunks of one body in order; each call returns what is decoded so far."""

    def feed(self, chunk: bytes) -> bytes:
        raise NotImplementedError


class _Zlib(Decoder):
    """gzip (RFC 1952; members may follow each other) or deflate (RFC 9110 means zlib's, some send it bare)."""

    def __init__(self, gzip: bool) -> None:
        self.gzip = gzip
        self.stream: zlib._Decompress | None = None

    def feed(self, chunk: bytes) -> bytes:
        out = []
        try:
            while chunk:
                if self.stream is None:
                    self.stream = zlib.decompressobj(31 if self.gzip else 15 if chunk[0] & 0x0F == 8 else -15)
                out.append(self.stream.decompress(chunk))
                if not self.stream.eof:
                    break
                # What follows the end of bare or zlib data is no concern of ours.
                chunk = self.stream.unused_data if self.gzip else b""
                self.stream = None if self.gzip else self.stream
        except zlib.error as error:
            raise DecodeError(str(error)) from error
        return b"".join(out)


class _Brotli(Decoder):
    def __init__(self) -> None:
        module = import_module("brotli")
        self.process: Callable[[bytes], bytes] = module.Decompressor().process
        self.error: type[Exception] = module.error

    def feed(self, chunk: bytes) -> bytes:
        try:
            return self.process(chunk)
        except self.error as error:
            raise DecodeError(str(error)) from error


class _Identity(Decoder):
    def feed(self, chunk: bytes) -> bytes:
        return chunk


def decoder(content_encoding: str | None) -> Decoder | None:
    """A fresh decoder for this Content-Encoding; None when it is one that can't be decoded here."""
    coding = (content_encoding or "identity").strip().lower()
    if coding == "identity":
        return _Identity()
    if coding in ("gzip", "x-gzip", "deflate"):
        return _Zlib(coding != "deflate")
    if coding == "br":
        try:
            return _Brotli()
        except ImportError:
            return None
    return None
