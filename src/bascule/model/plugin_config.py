"""A plugin config: plugins that several routes share."""

from __future__ import annotations

from bascule.model.attributes import Plugins, Resource


class PluginConfig(Resource):
    plugins: Plugins
