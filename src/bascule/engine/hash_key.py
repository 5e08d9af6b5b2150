"""What chash chooses the node by."""

from collections.abc import Callable
from typing import Any

from bascule.plugin.kit.template import Template


def key_reader(upstream: Any) -> Callable[[Any], str] | None:
    """For a CompiledUpstream: reads the key from an exchange, which is the client's address where there is no other.
    None: this upstream needs none."""
    if upstream.type != "chash":
        return None
    if upstream.hash_on == "vars_combinations":
        template = Template(upstream.hash_key)
        return lambda exchange: template(exchange.ensure()) or exchange.remote_addr
    name = _variable(upstream.hash_on, upstream.hash_key)

    def read(exchange: Any) -> str:
        value = exchange.var(name)
        return exchange.remote_addr if value in (None, "") else str(value)

    return read


def _variable(hash_on: str, key: str) -> str:
    if hash_on == "consumer":
        return "consumer_name"
    if hash_on == "header":
        return "http_" + key.replace("-", "_").lower()
    if hash_on == "cookie":
        return "cookie_" + key
    return key
