"""Checks of a user's plugin class, so that a mistake is told when it is loaded and not at the first request."""

from __future__ import annotations

import inspect

from bascule.plugin.plugin import PHASES, Config, Plugin
from bascule.plugin.user_code import PluginCodeError

_ASYNC_ALLOWED = ("rewrite", "access", "before_proxy")
_NEAR_MISSES = {
    "preread": "stream plugins are not there yet",
    "on_request": "name it rewrite or access",
    "on_response": "name it header_filter or body_filter",
    "request": "name it rewrite or access",
    "response": "name it header_filter or body_filter",
}


def vet(plugin: type[Plugin]) -> None:
    """Raises PluginCodeError with a sentence that names the class and what to write instead."""
    who = plugin.__name__
    name = getattr(plugin, "name", None)
    if not isinstance(name, str) or not name:
        raise PluginCodeError(f'{who}: name must be a string, e.g. name = "my-plugin"')
    priority = getattr(plugin, "priority", None)
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise PluginCodeError(f"{who}: priority must be an integer, e.g. priority = 500 (higher runs earlier)")
    for attribute in ("Config", "ConsumerConfig", "Metadata", "Attr"):
        model = getattr(plugin, attribute, None)
        if model is None and attribute != "Config":
            continue
        if not (isinstance(model, type) and issubclass(model, Config)):
            raise PluginCodeError(f"{who}: {attribute} must be a class derived from bascule.plugin.Config")
    if plugin.type == "auth" and plugin.ConsumerConfig is None:
        raise PluginCodeError(f"{who}: a plugin of type auth needs a ConsumerConfig: what a consumer holds")
    for method, hint in _NEAR_MISSES.items():
        if callable(getattr(plugin, method, None)):
            raise PluginCodeError(f"{who}: {method} is no phase ({hint}); phases are {', '.join(PHASES)}")
    if getattr(plugin, "ws_payload", None) not in ("none", "frame", "message"):
        raise PluginCodeError(f'{who}: ws_payload must be "none", "frame" or "message"')
    for phase in PHASES:
        _vet_phase(plugin, phase)


def _vet_phase(plugin: type[Plugin], phase: str) -> None:
    method = getattr(plugin, phase)
    original = getattr(Plugin, phase)
    if method is original:
        return
    who = f"{plugin.__name__}.{phase}"
    if phase not in _ASYNC_ALLOWED and inspect.iscoroutinefunction(method):
        raise PluginCodeError(
            f"{who} must be a plain function, not async: only rewrite, access and before_proxy may await "
            "(start background work with self.host.spawn)"
        )
    if inspect.isasyncgenfunction(method) or inspect.isgeneratorfunction(method):
        raise PluginCodeError(f"{who} must not yield: return a Response or None")
    parameters = list(inspect.signature(original).parameters)
    try:
        inspect.signature(method).bind(*parameters)
    except TypeError:
        raise PluginCodeError(f"{who} must take ({', '.join(parameters)})") from None
