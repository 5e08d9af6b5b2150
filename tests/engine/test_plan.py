"""Chains unpacked for the phase runner."""

from bascule.engine.plan import ChainPlan, chain_plan
from bascule.snapshot.chain import Chain, Hook


def hook(**facts: object) -> Hook:
    return Hook(call=lambda *args: None, plugin="p", **facts)  # type: ignore[arg-type]


def test_a_chain_has_one_plan() -> None:
    chain = Chain(rewrite=(hook(),))
    assert chain_plan(chain) is chain_plan(chain)
    assert isinstance(chain.plan, ChainPlan)


def test_without_filters_only_the_log_phase_is_left_and_it_is_made_once() -> None:
    plan = chain_plan(Chain(rewrite=(hook(),), header_filter=(hook(),), log=(hook(),)))
    bare = plan.without_filters
    assert bare is plan.without_filters
    assert bare is not plan
    assert bare.chain is plan.chain
