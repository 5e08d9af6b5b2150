"""L4 plugin: the plugin author's API; kit/ holds what plugins share.

Plugin, Config: what you derive from. Request, Response: what phases get. Host: what the gateway offers a plugin.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bascule.plugin.exchange import BodyTooLarge, ConsumerBinding
    from bascule.plugin.fields import check_field
    from bascule.plugin.frame import DROP, Close, Frame
    from bascule.plugin.host import Host, HttpAnswer, HttpClientError
    from bascule.plugin.plugin import Config, Plugin
    from bascule.plugin.request import Request
    from bascule.plugin.response import AddHeaders, Response
    from bascule.plugin.upstream import UpstreamHandle

_PLACES = {
    "DROP": "frame",
    "AddHeaders": "response",
    "BodyTooLarge": "exchange",
    "Close": "frame",
    "Config": "plugin",
    "ConsumerBinding": "exchange",
    "Frame": "frame",
    "Host": "host",
    "HttpAnswer": "host",
    "HttpClientError": "host",
    "Plugin": "plugin",
    "Request": "request",
    "Response": "response",
    "UpstreamHandle": "upstream",
    "check_field": "fields",
}
__all__ = [
    "DROP",
    "AddHeaders",
    "BodyTooLarge",
    "Close",
    "Config",
    "ConsumerBinding",
    "Frame",
    "Host",
    "HttpAnswer",
    "HttpClientError",
    "Plugin",
    "Request",
    "Response",
    "UpstreamHandle",
    "check_field",
]


def __getattr__(name: str) -> Any:
    # Lazily: a module of this room that the engine imports must not bring all others with it.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
