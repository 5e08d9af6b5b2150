import pytest

from bascule.plugin.kit.drive import Suspended, drive


class Ready:
    def __await__(self):
        return 5
        yield


class Never:
    def __await__(self):
        yield


async def plus_one(awaitable):
    return await awaitable + 1


def test_what_never_waits_is_driven_to_its_end():
    assert drive(plus_one(Ready())) == 6
    assert drive(Ready()) == 5


def test_what_waits_is_refused_and_closed():
    with pytest.raises(Suspended, match="run_async"):
        drive(plus_one(Never()))


def test_errors_pass():
    async def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        drive(fail())
