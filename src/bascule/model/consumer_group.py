"""A consumer group: plugins that its consumers bring along."""

from __future__ import annotations

from bascule.model.attributes import Plugins, Resource


class ConsumerGroup(Resource):
    plugins: Plugins
