"""Certificates that the gateway obtains by itself: a keeper for what config.yaml says, another when it says so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bascule.control.acme.challenges import Challenges
from bascule.control.acme.keeper import AcmeKeeper
from bascule.control.announcer import Announcer
from bascule.control.launch import Launch
from bascule.model.change import Change
from bascule.observe.metrics import Metrics


class Obtaining:
    def __init__(self, launch: Launch, announcer: Announcer, version: str) -> None:
        self._announcer = announcer
        self._version = version
        self._keeper = self._make(launch)

    @property
    def challenges(self) -> Challenges:
        return self._keeper.challenges

    def load(self) -> None:
        """Workers are told what was obtained earlier."""
        self._tell(self._keeper.load())

    def start(self) -> None:
        self._keeper.start()

    async def stop(self) -> None:
        await self._keeper.stop()

    async def use(self, launch: Launch) -> None:
        """As config.yaml says it now."""
        if launch.settings.bascule.acme == self._keeper.section:
            return
        before = self._keeper
        await before.stop()
        self._keeper = self._make(launch)
        loaded = self._keeper.load()
        self._tell(before.unload(self._keeper) + loaded)
        self._keeper.start()

    def details(self) -> list[dict[str, Any]]:
        return self._keeper.details()

    def set_metrics(self, metrics: Metrics) -> None:
        self._keeper.set_metrics(metrics)

    def _make(self, launch: Launch) -> AcmeKeeper:
        section = launch.settings.bascule.acme
        return AcmeKeeper(
            section,
            Path(launch.store_folder),
            ca_file=None if section.ca_file is None else os.path.join(launch.folder, section.ca_file),
            agent=f"bascule/{self._version}",
            tell=self._tell,
            tell_challenges=self._tell_challenges,
            told=self._announcer.all_told,
        )

    def _tell(self, changes: list[Change]) -> None:
        if changes:
            self._announcer.changes(changes)

    def _tell_challenges(self, challenges: Challenges) -> None:
        self._announcer.tell("challenges", challenges)
