import pytest

from bascule.admin.resource_kind import KINDS, is_id
from bascule.model import kinds
from bascule.store import keys


def test_every_kind_that_a_store_keeps_is_here() -> None:
    assert set(KINDS) == {*keys.KINDS, *keys.NESTED} >= set(kinds.KINDS)


@pytest.mark.parametrize(
    ("kind", "id", "good"),
    [
        ("routes", "1", True),
        ("consumers", "jack/credentials/c1", False),
        ("services", "s/graphql_cost_decorations/d", False),
        ("credentials", "jack/credentials/c1", True),
        ("credentials", "jack/credentials/c 1", False),
        ("credentials", "jack/credentials/" + "c" * 65, False),
        ("credentials", "jack/graphql_cost_decorations/d", False),
        ("secrets", "vault/1", True),
        ("secrets", "vault", False),
        ("secrets", "vault/1/2", False),
        ("routes", "", False),
    ],
)
def test_ids_that_would_lead_elsewhere_are_none(kind: str, id: str, good: bool) -> None:
    assert is_id(kind, id) is good
