"""Which model checks which kind of resource."""

from __future__ import annotations

from types import MappingProxyType

from pydantic import BaseModel

from bascule.model.consumer import Consumer
from bascule.model.consumer_group import ConsumerGroup
from bascule.model.credential import Credential
from bascule.model.global_rule import GlobalRule
from bascule.model.graphql_cost_decoration import GraphqlCostDecoration
from bascule.model.plugin_config import PluginConfig
from bascule.model.plugin_metadata import PluginMetadata
from bascule.model.proto import Proto
from bascule.model.route import Route
from bascule.model.secret import MANAGERS, Secret
from bascule.model.service import Service
from bascule.model.ssl import Ssl
from bascule.model.stream_route import StreamRoute
from bascule.model.upstream import Upstream

KINDS: MappingProxyType[str, type[BaseModel]] = MappingProxyType(
    {
        "routes": Route,
        "services": Service,
        "upstreams": Upstream,
        "consumers": Consumer,
        "credentials": Credential,
        "consumer_groups": ConsumerGroup,
        "plugin_configs": PluginConfig,
        "global_rules": GlobalRule,
        "plugin_metadata": PluginMetadata,
        "ssls": Ssl,
        "stream_routes": StreamRoute,
        "protos": Proto,
        "secrets": Secret,
        "graphql_cost_decorations": GraphqlCostDecoration,
    }
)


def model_of(kind: str, id: str) -> type[BaseModel] | None:
    """The model of a resource; None for an unknown kind or secret manager. A secret's depends on its manager."""
    if kind == "secrets":
        return MANAGERS.get(id.partition("/")[0])
    return KINDS.get(kind)
