"""Random sequences of writes on a live store, compared with a plain dictionary, and with what a watcher makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from bascule.store.entry import (
    Batch,
    Condition,
    Conflict,
    Delete,
    Entry,
    Exists,
    LiveStore,
    Operation,
    Origin,
    Put,
    Unchanged,
)

_KEYS = st.sampled_from(["a/1", "a/2", "a/10", "b/1", "b/ü", "c"])
_PREFIXES = st.sampled_from(["", "a/", "a/1", "b/", "c", "nothing/"])
_VALUES = st.binary(max_size=8)
_EXPECTATIONS = st.sampled_from(["any", "none", "right", "old"])
_CONDITIONS = st.sampled_from(["exists", "unchanged", "unchanged before"])
_DRAWN_OPERATIONS = st.lists(
    st.tuples(_KEYS, st.one_of(st.none(), _VALUES), _EXPECTATIONS), min_size=1, max_size=4, unique_by=lambda o: o[0]
)
_DRAWN_CONDITIONS = st.lists(st.tuples(_CONDITIONS, _KEYS, _PREFIXES), max_size=2)


def check_against_model(make_store: Callable[[str], LiveStore], examples: int = 15, steps: int = 25) -> None:
    names = count()

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.runner = asyncio.Runner()
            self.name = f"model-{next(names)}"
            self.model: dict[str, Entry] = {}
            self.revision = 0  # the last that the model knows
            self.ids: list[int] = []
            self.run(self.open())

        def run(self, main: Any) -> Any:
            return self.runner.run(asyncio.wait_for(main, 20))

        async def open(self) -> None:
            self.store = make_store(self.name)
            await self.store.open()
            self.batches = self.store.watch()
            first = await anext(self.batches)
            assert first.complete
            self.seen = {event.key: Entry(*event) for event in first.events}

        async def close(self) -> None:
            await self.batches.aclose()  # type: ignore[attr-defined]
            await self.store.close()

        @rule(drawn=_DRAWN_OPERATIONS, conditions=_DRAWN_CONDITIONS)
        def write(self, drawn: list[tuple[str, bytes | None, str]], conditions: list[tuple[str, str, str]]) -> None:
            operations = [self.operation(*one) for one in drawn]
            needed = [self.condition(*one) for one in conditions]
            self.run(self.write_and_compare(operations, needed))

        @rule()
        def restart(self) -> None:
            self.run(self.close())
            self.run(self.open())

        @rule()
        def new_id(self) -> None:
            id = self.run(self.store.new_id())
            assert not self.ids or id > self.ids[-1]
            self.ids.append(id)

        @rule(key=_KEYS)
        def get(self, key: str) -> None:
            assert self.run(self.store.get(key)) == self.model.get(key)

        @rule(prefix=_PREFIXES)
        def list(self, prefix: str) -> None:
            entries, revision = self.run(self.store.list(prefix))
            expected = [entry for entry in self.model.values() if entry.key.startswith(prefix)]
            assert entries == sorted(expected, key=lambda entry: (entry.created, entry.key))
            assert revision >= self.revision

        @invariant()
        def the_watcher_knows_the_same(self) -> None:
            assert self.seen == self.model

        def operation(self, key: str, value: bytes | None, expectation: str) -> Operation:
            modified = self.model[key].modified if key in self.model else 0
            expect = {"any": None, "none": 0, "right": modified, "old": max(0, modified - 1)}[expectation]
            return Delete(key, expect) if value is None else Put(key, value, expect)

        def condition(self, kind: str, key: str, prefix: str) -> Condition:
            if kind == "exists":
                return Exists(key)
            return Unchanged(prefix, self.revision if kind == "unchanged" else max(0, self.revision - 2))

        def holds(self, operations: list[Operation], conditions: list[Condition]) -> bool:
            for condition in conditions:
                if isinstance(condition, Exists):
                    if condition.key not in self.model:
                        return False
                elif any(
                    entry.modified > condition.revision
                    for entry in self.model.values()
                    if entry.key.startswith(condition.prefix)
                ):
                    return False
            found = {key: entry.modified for key, entry in self.model.items()}
            return all(one.expect is None or one.expect == found.get(one.key, 0) for one in operations)

        async def write_and_compare(self, operations: list[Operation], conditions: list[Condition]) -> None:
            expected = self.holds(operations, conditions)
            try:
                revision = await self.store.write(operations, Origin("model"), conditions)
            except Conflict:
                assert not expected
                return
            assert expected
            changes = [one for one in operations if isinstance(one, Put) or one.key in self.model]
            if not changes:
                assert revision >= self.revision
                return
            assert revision > self.revision
            self.revision = revision
            for one in changes:
                if isinstance(one, Put):
                    before = self.model.get(one.key)
                    self.model[one.key] = Entry(one.key, one.value, before.created if before else revision, revision)
                else:
                    del self.model[one.key]
            self.see(await anext(self.batches), revision, {one.key for one in changes})

        def see(self, step: Batch, revision: int, keys: set[str]) -> None:
            assert (step.revision, step.complete) == (revision, False)
            assert {event.key for event in step.events} == keys
            for event in step.events:
                if event.value is None:
                    del self.seen[event.key]
                else:
                    self.seen[event.key] = Entry(*event)

        def teardown(self) -> None:
            self.run(self.close())
            self.runner.close()

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
