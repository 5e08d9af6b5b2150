"""A global rule: plugins that run for every request."""

from __future__ import annotations

from bascule.model.attributes import Id, Model, Plugins, Time


class GlobalRule(Model):
    id: Id | None = None
    plugins: Plugins
    create_time: Time | None = None
    update_time: Time | None = None
