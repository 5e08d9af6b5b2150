import pytest

from bascule.admin.access import Access
from bascule.admin.answer import Refusal
from bascule.model.admin_settings import Admin, AdminKey

KEYS = (AdminKey(name="root", key="k1"), AdminKey(name="eyes", key="k2", role="viewer"))


def access(**settings: object) -> Access:
    return Access(Admin.model_validate(settings), KEYS)


@pytest.mark.parametrize("place", ["headers", "query", "cookies"])
def test_a_key_may_come_three_ways(place: str) -> None:
    given: dict[str, dict[str, str]] = {"headers": {}, "query": {}, "cookies": {}}
    given[place] = {{"headers": "X-API-KEY", "query": "api_key", "cookies": "x_api_key"}[place]: "k1"}
    assert access().permit("PUT", **given).name == "root"


@pytest.mark.parametrize(
    ("key", "method", "description"),
    [("", "GET", "missing apikey"), ("k3", "GET", "wrong apikey"), ("k2", "PUT", "invalid method for role viewer")],
)
def test_who_is_turned_away(key: str, method: str, description: str) -> None:
    with pytest.raises(Refusal) as caught:
        access().permit(method, {"X-API-KEY": key}, {}, {})
    assert caught.value.answer.status == 401
    assert caught.value.answer.body == {"error_msg": "failed to check token", "description": description}


def test_a_viewer_reads_and_without_keys_everybody_may() -> None:
    assert access().permit("GET", {"X-API-KEY": "k2"}, {}, {}).reads_only
    assert not access(admin_key_required=False).permit("PUT", {}, {}, {}).reads_only


@pytest.mark.parametrize(
    ("remote", "allowed"),
    [("127.0.0.1", True), ("127.0.1.1", False), ("::ffff:127.0.0.9", True), ("::1", False), (None, False)],
)
def test_addresses(remote: str | None, allowed: bool) -> None:
    if allowed:
        access().check_address(remote)
        return
    with pytest.raises(Refusal) as caught:
        access().check_address(remote)
    assert caught.value.answer.status == 403


def test_a_header_with_underscores_is_a_key_too_and_one_of_no_text_is_wrong() -> None:
    assert access().permit("PUT", {"X_API_KEY": "k1"}, {}, {}).name == "root"
    for key in ("ключ", "\udcff"):
        with pytest.raises(Refusal):
            access().permit("PUT", {"X-API-KEY": key}, {}, {})


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [(None, True), ("http://gw:9180", True), ("http://GW:9180", True), ("http://evil", False), ("null", False)],
)
def test_a_cookie_is_no_key_for_pages_of_other_origins(origin: str | None, allowed: bool) -> None:
    headers = {"Host": "gw:9180"} | ({} if origin is None else {"Origin": origin})
    if allowed:
        assert access().permit("PUT", headers, {}, {"x_api_key": "k1"}).name == "root"
        return
    with pytest.raises(Refusal) as caught:
        access().permit("PUT", headers, {}, {"x_api_key": "k1"})
    assert caught.value.answer.body["description"] == "missing apikey"
    assert access().permit("PUT", headers | {"X-API-KEY": "k1"}, {}, {}).name == "root"
