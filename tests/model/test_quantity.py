import pytest

from bascule.model.quantity import duration_s, size_bytes


@pytest.mark.parametrize(
    ("text", "size"), [(0, 0), (4096, 4096), ("16384", 16384), ("16k", 16384), ("10m", 10 << 20), ("1G", 1 << 30)]
)
def test_sizes(text: object, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", [-1, True, None, "", "10x", "1.5m", "m"])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        size_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(60, 60), (0.5, 0.5), ("60", 60), ("60s", 60), ("500ms", 0.5), ("1h30m", 5400), ("1d 2h", 93600)],
)
def test_durations(text: object, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", [-1, True, None, "", "5x", "s", float("inf"), float("nan"), "1 parsec"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        duration_s(text)
