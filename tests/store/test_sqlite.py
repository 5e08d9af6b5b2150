from __future__ import annotations

from pathlib import Path

import pytest

from bascule.store.sqlite import SqliteStore
from tests.store.live_store_cases import LiveStoreCases, StoreFactory


class TestSqliteStore(LiveStoreCases):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> StoreFactory:
        return lambda name: SqliteStore(tmp_path / name / "bascule.db", history=1000)
