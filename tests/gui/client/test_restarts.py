"""The restart budget."""

from __future__ import annotations

from gui.client.restarts import RestartBudget


def test_three_in_a_minute_and_no_more() -> None:
    now = 0.0
    budget = RestartBudget(limit=3, period_s=60.0, clock=lambda: now)
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]
    now = 59.9
    assert not budget.spend()
    now = 60.0
    assert budget.spend()


def test_the_user_may_ask_for_more() -> None:
    budget = RestartBudget(limit=1, clock=lambda: 0.0)
    assert budget.spend()
    assert not budget.spend()
    budget.refill()
    assert budget.spend()
