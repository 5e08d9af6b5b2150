import pytest

from bascule.admin.answer import Refusal
from bascule.admin.permit import Permit
from bascule.model.admin_settings import KeyScope

TEAM = Permit("team-a", scope=KeyScope(kinds=("routes", "upstreams"), labels={"team": "a"}))


def test_a_key_without_a_scope_may_everything() -> None:
    Permit().check("routes", {})
    Permit().check_everything()
    assert Permit().covers("ssls", {})


def test_a_scope_holds_kinds_and_labels() -> None:
    TEAM.check("routes", {"labels": {"team": "a", "x": "y"}})
    for kind, value in (("routes", {}), ("routes", {"labels": {"team": "b"}}), ("ssls", {"labels": {"team": "a"}})):
        assert not TEAM.covers(kind, value)
        with pytest.raises(Refusal) as caught:
            TEAM.check(kind, value)
        assert caught.value.answer.status == 403
        assert 'the key "team-a" may only touch' in caught.value.answer.body["error_msg"]
    with pytest.raises(Refusal):
        TEAM.check_everything()
