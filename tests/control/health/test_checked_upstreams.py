from typing import Any

import pytest

from bascule.control.health.checked_upstreams import checked_upstreams
from bascule.model.change import Change

CHECKED = {"nodes": {"a:1": 1}, "checks": {"active": {}}}
PLAIN = {"nodes": {"a:1": 1}}


@pytest.mark.parametrize(
    ("kind", "value", "keys"),
    [
        ("upstreams", CHECKED, ["upstreams/1"]),
        ("upstreams", PLAIN, []),
        ("upstreams", None, []),
        ("upstreams", [CHECKED], []),
        ("routes", {"upstream": CHECKED}, ["routes/1#upstream"]),
        ("routes", {"upstream": CHECKED, "status": 0}, []),
        ("routes", {"upstream": PLAIN, "plugins": {}}, []),
        ("services", {"upstream": CHECKED}, ["services/1#upstream"]),
        ("stream_routes", {"upstream": CHECKED}, []),
        (
            "routes",
            {
                "upstream": CHECKED,
                "plugins": {
                    "traffic-split": {
                        "rules": [
                            {"weighted_upstreams": [{"upstream": PLAIN}, {"upstream": CHECKED}, {"upstream_id": "2"}]}
                        ]
                    }
                },
            },
            ["routes/1#upstream", "routes/1#plugins/traffic-split/rules/0/weighted_upstreams/1/upstream"],
        ),
        (
            "global_rules",
            {"plugins": {"x": {"upstream": {"service_name": "s", "discovery_type": "dns", "checks": {"active": {}}}}}},
            ["global_rules/1#plugins/x/upstream"],
        ),
        ("plugin_configs", {"plugins": {"x": {"checks": {"active": {}}}}}, []),
        ("plugin_configs", {"plugins": {"x": {"odd": {1, 2}}}}, []),
        ("routes", {"upstream": {"checks": []}, "plugins": [1]}, []),
    ],
)
def test_keys(kind: str, value: Any, keys: list[str]) -> None:
    assert [key for key, _ in checked_upstreams(Change(kind, "1", value))] == keys
