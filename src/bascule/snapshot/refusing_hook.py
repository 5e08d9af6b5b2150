"""A hook that answers 503, for a consumer whose group can't be used."""

from __future__ import annotations

from typing import Any

from bascule.plugin.response import Response
from bascule.snapshot.chain import Hook


def refusing_hook(reason: str) -> Hook:
    def refuse(request: Any) -> Response:
        return Response(503, {"error_msg": reason})

    return Hook(call=refuse, plugin="consumer-group")
