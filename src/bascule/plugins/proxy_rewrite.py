"""proxy-rewrite: changes the request that goes upstream: path and query, method, host, headers."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote_to_bytes

from pydantic import Field, field_validator

from bascule.errors.apisix_text import MatchesAny
from bascule.errors.sentences import Refused
from bascule.match.regex import RegexError
from bascule.plugin.host import Host
from bascule.plugin.kit.header_edits import FlatIsSet, HeaderEdits, HeaderName, check_headers
from bascule.plugin.kit.substitution import Substitution
from bascule.plugin.kit.target import with_query
from bascule.plugin.kit.template import Template, Variables
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.quoting import encode_path
from bascule.plugin.request import Request

Method = Literal[
    "GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "MKCOL", "COPY", "MOVE", "PROPFIND", "LOCK", "UNLOCK", "PATCH",
    "TRACE",
]  # fmt: skip
HeaderValue = str | int | float
HeaderValueList = Annotated[list[HeaderValue], Field(min_length=1)]
HeaderValues = Annotated[dict[str, HeaderValue | HeaderValueList], Field(min_length=1)]


class HeaderChanges(Config):
    add: HeaderValues | None = None
    set: HeaderValues | None = None
    remove: list[HeaderName] | None = Field(None, min_length=1)

    @field_validator("add", "set")
    @classmethod
    def can_be_sent(cls, changes: dict[str, Any] | None) -> dict[str, Any] | None:
        check_headers((name, text) for name, values in (changes or {}).items() for text in _texts(values))
        return changes


def _texts(values: Any) -> list[str]:
    return [str(value) for value in (values if isinstance(values, list) else [values])]


class ProxyRewriteConfig(Config):
    uri: str | None = Field(None, min_length=1, max_length=4096, pattern=r"^\/.*")
    regex_uri: list[str] | None = Field(None, min_length=2)
    method: Method | None = None
    host: str | None = Field(None, pattern=r"^[0-9a-zA-Z-.]+(:\d{1,5})?$")
    headers: Annotated[HeaderChanges | None, FlatIsSet, MatchesAny] = None
    use_real_request_uri_unsafe: bool = False

    @field_validator("regex_uri")
    @classmethod
    def pairs(cls, regex_uri: list[str] | None) -> list[str] | None:
        if regex_uri is not None:
            if len(regex_uri) % 2:
                raise Refused("The length of regex_uri should be an even number", None, True)
            substitutions(regex_uri)
        return regex_uri


def substitutions(regex_uri: list[str]) -> list[Substitution]:
    found = []
    for pattern, replacement in zip(regex_uri[::2], regex_uri[1::2], strict=True):
        try:
            found.append(Substitution(pattern, replacement))
        except RegexError as error:
            sentence = f"invalid regex_uri({pattern}, {replacement}): {error}"
            raise Refused(sentence, sentence, True) from error
    return found


class ProxyRewrite(Plugin):
    name = "proxy-rewrite"
    priority = 1008
    Config = ProxyRewriteConfig
    conf: ProxyRewriteConfig

    def __init__(self, conf: ProxyRewriteConfig, host: Host) -> None:
        super().__init__(conf, host)
        self.uri = Template(conf.uri) if conf.uri else None
        # `uri` beats `regex_uri`.
        self.regexes = substitutions(conf.regex_uri) if conf.regex_uri and not conf.uri else []
        self.unsafe = conf.use_real_request_uri_unsafe
        self.headers: HeaderEdits | None = None
        if conf.headers is not None:
            self.headers = HeaderEdits(
                [(name, _texts(values)) for name, values in (conf.headers.add or {}).items()],
                [(name, _texts(values)) for name, values in (conf.headers.set or {}).items()],
                conf.headers.remove or (),
            )

    def rewrite(self, request: Request) -> None:
        variables: Variables = request
        if self.uri is not None:
            request.set_upstream_target(with_query(self.target(uri_pieces(self.uri, request)), request.query))
        else:
            match = self.rewrite_by_regex(request)
            if match is not None:
                variables = Captures(request, match)
        if self.conf.method is not None:
            request.method = self.conf.method
        if self.conf.host is not None:
            request.set_upstream_host(self.conf.host)
        if self.headers is not None:
            self.headers.apply(request, variables)

    def rewrite_by_regex(self, request: Request) -> re.Match[str] | None:
        """The first pair that matches rewrites; without one the path goes on as it was normalised."""
        path = request.raw_target.partition("?")[0] if self.unsafe else request.path
        for substitution in self.regexes:
            match = substitution.search(path)
            if match is not None:
                target = self.target(regex_pieces(substitution, match, path))
                if not target.startswith("/"):
                    target = f"/{target}"
                request.set_upstream_target(with_query(target, request.query))
                return match
        if not self.unsafe:
            request.set_upstream_target(with_query(normalised_path(request), request.query))
        return None

    def target(self, pieces: Iterator[tuple[str, bool]]) -> str:
        """Joins (text, whether it is a decoded value). Values are escaped so that in the path they can't end it."""
        out = []
        in_query = False
        for text, is_value in pieces:
            if is_value and not self.unsafe:
                # In the query, "&" and "=" of a value keep their meaning, as they always had for users of APISIX.
                text = text.replace("%", "%25") if in_query else encode_path(text)
            elif "?" in text and not is_value:
                in_query = True
            out.append(text)
        return "".join(out)


def uri_pieces(uri: Template, request: Request) -> Iterator[tuple[str, bool]]:
    in_query = False
    for part in uri.parts:
        if isinstance(part, str):
            in_query = in_query or "?" in part
            yield part, False
        else:
            # Variables in the query are taken as they are: $args and $request_uri are escaped already.
            yield part.text(request), not in_query


def regex_pieces(substitution: Substitution, match: re.Match[str], path: str) -> Iterator[tuple[str, bool]]:
    """The path with the match replaced."""
    yield path[: match.start()], True
    for part in substitution.parts:
        yield (part, False) if isinstance(part, str) else (match[part] or "", True)
    yield path[match.end() :], True


def normalised_path(request: Request) -> str:
    """The path, escaped afresh: what was decoded as latin-1, for it wasn't UTF-8, keeps its bytes."""
    path = request.path
    if not path.isascii():
        try:
            unquote_to_bytes(request.raw_target.encode("latin-1")).decode()
        except UnicodeDecodeError:
            return quote(path, safe="/!$&'()*+,;=:@", encoding="latin-1", errors="replace")
    return encode_path(path)


class Captures:
    """Variables of a request, and $0, $1, … of the match of regex_uri."""

    def __init__(self, request: Request, match: re.Match[str]) -> None:
        self.request = request
        self.match = match

    def var(self, name: str) -> Any:
        if name.isdigit():
            return self.match[int(name)] if int(name) <= self.match.re.groups else None
        return self.request.var(name)
