"""redirect: answers with another place to go to."""

from typing import Self
from urllib.parse import quote

from pydantic import ConfigDict, Field, field_validator, model_validator

from bascule.errors.apisix_text import BOTH, ONE
from bascule.errors.sentences import Refused
from bascule.match.regex import RegexError
from bascule.plugin.host import Host
from bascule.plugin.kit.ip_list import IpList
from bascule.plugin.kit.substitution import Substitution
from bascule.plugin.kit.template import Template
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request
from bascule.plugin.response import Response

_KINDS = ("uri", "regex_uri", "http_to_https")
# RFC 3986: reserved characters and "~" stay as they are; encode_uri escapes the rest, "%" included.
_RESERVED = ";/?:@&=+$,-_.!~*'()#"
# Without encode_uri only what no URI may hold (controls, blanks, non-ASCII) is escaped.
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


class RedirectConfig(Config):
    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [kind]} for kind in _KINDS]})

    uri: str | None = Field(None, min_length=2, pattern=r"[^\\]")
    regex_uri: list[str] | None = Field(None, min_length=2, max_length=2)
    http_to_https: bool | None = None
    ret_code: int = Field(302, ge=200, le=599)
    append_query_string: bool = False
    encode_uri: bool = False

    @field_validator("regex_uri")
    @classmethod
    def pair(cls, regex_uri: list[str] | None) -> list[str] | None:
        if regex_uri is not None:
            try:
                Substitution(*regex_uri)
            except RegexError as error:
                raise Refused(f"invalid regex_uri({regex_uri[0]}, {regex_uri[1]}): {error}") from error
        return regex_uri

    @model_validator(mode="after")
    def one_kind(self) -> Self:
        kinds = self.model_fields_set.intersection(_KINDS)
        if len(kinds) != 1:
            sentence = f"needs exactly one of {', '.join(_KINDS)}, not {'both' if len(kinds) == 2 else len(kinds)}"
            first = [position for position, kind in enumerate(_KINDS, 1) if kind in kinds][:2]
            raise Refused(sentence, f"{BOTH} {first[0]} and {first[1]}" if first else ONE)
        if self.http_to_https and self.append_query_string:
            raise Refused("only one of `http_to_https` and `append_query_string` can be configured.")
        return self


class Redirect(Plugin):
    name = "redirect"
    priority = 900
    Config = RedirectConfig
    conf: RedirectConfig

    def __init__(self, conf: RedirectConfig, host: Host) -> None:
        super().__init__(conf, host)
        self.uri = Template(conf.uri) if conf.uri else None
        self.regex_uri = Substitution(*conf.regex_uri) if conf.regex_uri else None
        port = host.attr.get("https_port") or host.settings.get("https_port")
        # Only a proxy that apisix.trusted_addresses names may say how the client came to it.
        self.proxies = IpList(host.settings["trusted_addresses"])
        self.https_port = "" if port in (None, 443) else f":{port}"

    def rewrite(self, request: Request) -> Response | None:
        if self.conf.http_to_https:
            return self.to_https(request)
        if self.uri is not None:
            location: str | None = self.uri.render(request)
        else:
            location = self.regex_uri.apply(request.path) if self.regex_uri is not None else None
        if location is None:
            return None
        location = quote(location, safe=_RESERVED if self.conf.encode_uri else _VISIBLE)
        if self.conf.append_query_string and request.query:
            location += ("&" if "?" in location else "?") + request.query
        return Response(self.conf.ret_code, headers={"Location": location})

    def to_https(self, request: Request) -> Response | None:
        """301; 308 for methods whose body must be sent again (RFC 9110, section 15.4.9)."""
        scheme = request.scheme
        if request.var("realip_remote_addr") in self.proxies:
            scheme = request.header("X-Forwarded-Proto") or scheme
        if scheme != "http":
            return None
        location = quote(f"https://{request.host}{self.https_port}{request.request_uri}", safe=_VISIBLE)
        return Response(301 if request.method in ("GET", "HEAD") else 308, headers={"Location": location})
