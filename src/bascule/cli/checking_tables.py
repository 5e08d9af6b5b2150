"""Tables that are made to be looked at: everything is compiled, nothing serves and no plugin acts."""

from __future__ import annotations

import os

from bascule.model.settings import Settings
from bascule.observe.metrics import Metrics
from bascule.plugin.registry import Registry
from bascule.snapshot.checking_host import CheckingHost
from bascule.snapshot.references import from_environment
from bascule.snapshot.tables import Tables
from bascule.snapshot.upstream_compiler import Served


def checking_tables(settings: Settings, registry: Registry) -> Tables:
    """Empty. `$env://` stands for this process' environment; what `$secret://` stands for isn't asked."""
    metrics = Metrics()
    return Tables(
        registry,
        lambda plugin, holder: CheckingHost(plugin, holder, settings.attr.get(plugin) or {}, metrics),
        settings.apisix.router.http,
        delete_uri_tail_slash=settings.apisix.delete_uri_tail_slash,
        resolve=from_environment(os.environ),
        served=Served(discovery=frozenset(settings.discovery)),
        checking=True,
    )
