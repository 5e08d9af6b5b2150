from bascule.control.configuration import Configuration, PackedChange, pack, unpack
from bascule.errors.config_error import ConfigError
from bascule.model.change import Change


def route(id: str, priority: int | None) -> Change:
    return Change("routes", id, None if priority is None else {"priority": priority}, 0, "f", 1)


def values(step: object) -> list[tuple[str, bytes | None]]:
    assert isinstance(step, list)
    return [(packed.id, packed.value) for packed in step]


def test_packing_loses_nothing() -> None:
    for change in (route("a", 1), route("a", None)):
        assert unpack(pack(change)) == change


def test_steps_hold_what_is_present() -> None:
    held = Configuration()
    held.take([route("a", 1), route("b", 1)])
    sent = held.take([route("a", 2), route("b", None)])
    assert [packed.id for packed in sent] == ["a", "b"]
    held.settle(2, ())
    assert held.steps() == ([PackedChange("routes", "a", b'{"priority":2}', "f", 1)],)
    assert (held.generation, len(held)) == (2, 1)


def test_a_new_worker_is_given_the_last_good_version_first() -> None:
    held = Configuration()
    held.take([route("a", 1), route("b", 1)])
    held.settle(1, ())
    held.take([route("a", -1)])
    held.settle(2, [ConfigError("routes", "a", "$.priority", "x")])
    held.take([route("a", -2)])
    held.settle(3, [ConfigError("routes", "a", "$.priority", "x")])
    first, then = held.steps()
    assert values(first) == [("b", b'{"priority":1}'), ("a", b'{"priority":1}')]
    assert values(then) == [("a", b'{"priority":-2}')]
    held.take([route("a", 3)])
    held.settle(4, ())
    assert len(held.steps()) == 1


def test_what_an_older_step_refused_settles_nothing() -> None:
    held = Configuration()
    held.take([route("a", 1)])
    held.take([route("a", -1)])
    held.settle(1, ())
    assert len(held.steps()) == 2


def test_a_deleted_item_leaves_no_good_version() -> None:
    held = Configuration()
    held.take([route("a", 1)])
    held.take([route("a", -1)])
    held.take([route("a", None)])
    assert held.steps() == ([],)


def test_versions_that_may_be_served() -> None:
    held = Configuration()
    held.take([route("a", 1)])
    held.take([route("a", 2)])
    assert values(held.versions("routes", "a")) == [("a", b'{"priority":2}'), ("a", b'{"priority":1}')]
    held.settle(2, ())
    assert values(held.versions("routes", "a")) == [("a", b'{"priority":2}')]
    assert held.versions("routes", "b") == []
