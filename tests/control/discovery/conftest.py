import pytest

from bascule.control.discovery import discovery


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registries that fail are asked again at once."""
    monkeypatch.setattr(discovery, "FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(discovery, "LAST_RETRY_S", 0.1)
