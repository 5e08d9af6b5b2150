from bascule.engine.error_window import ErrorWindow
from bascule.model.outlier_detection import ErrorRate

RATE = ErrorRate(percent=50, min_requests=10, window=10)


def test_needs_enough_requests() -> None:
    window = ErrorWindow(RATE)
    assert [window.exceeds(True, 1) for _ in range(10)] == [False] * 9 + [True]


def test_the_share_of_failures() -> None:
    window = ErrorWindow(RATE)
    results = [window.exceeds(n % 3 == 0, 1) for n in range(30)]
    assert results == [False] * 30
    assert any(window.exceeds(True, 1) for n in range(20))


def test_a_success_never_exceeds() -> None:
    window = ErrorWindow(RATE)
    for _ in range(20):
        window.exceeds(True, 1)
    assert not window.exceeds(False, 1)


def test_old_windows_are_forgotten() -> None:
    window = ErrorWindow(RATE)
    for _ in range(9):
        window.exceeds(True, 1)
    assert window.exceeds(True, 12)  # the last window counts
    assert not window.exceeds(True, 100)
    assert repr(window) == "<error window 1 of 1 failed>"
