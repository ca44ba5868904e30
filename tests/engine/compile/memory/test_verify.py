"""The verifier finds each way in which a plan or a schedule can be wrong, and names the place."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.compile.memory import Access, Buffer, MemoryPlan, MemoryProblem, plan_greedy, verify, verify_accesses
from engine.errors import CompileError

from .problems import problems

PROBLEM = MemoryProblem((Buffer("a", 0, 2, 8, 4), Buffer("b", 2, 4, 8, 4), Buffer("c", 3, 5, 4)), capacity_bytes=16)


def plan_at(*addresses: int, problem: MemoryProblem = PROBLEM) -> MemoryPlan:
    ends = (a + b.size_bytes for a, b in zip(addresses, problem.buffers, strict=False))
    return MemoryPlan(addresses, max(ends), problem.lower_bound_bytes, "by hand", problem.capacity_bytes)


def test_a_sound_plan_passes() -> None:
    verify(PROBLEM, plan_at(0, 8, 4))


@pytest.mark.parametrize(
    ("addresses", "line"),
    [
        ((0, 8), "a plan of 2 addresses for 3 buffers"),
        ((-4, 8, 0), "buffer 'a' is at the negative address -4"),
        ((0, 10, 0), "buffer 'b' is at 10, which is no multiple of its alignment 4"),
        ((0, 12, 0), "buffer 'b' ends at 20, beyond the memory's 16 bytes"),
        (
            (0, 4, 0),
            "buffer 'a' at 0 to 8 and buffer 'b' at 4 to 12 share memory while both are live, from step 2 on",
        ),
        (
            (8, 0, 7),
            "buffer 'b' at 0 to 8 and buffer 'c' at 7 to 11 share memory while both are live, from step 3 on",
        ),
    ],
)
def test_each_violation_is_named(addresses: tuple[int, ...], line: str) -> None:
    with pytest.raises(CompileError) as caught:
        verify(PROBLEM, plan_at(*addresses))
    assert str(caught.value) == line


def test_a_peak_that_is_not_that_of_the_addresses_is_refused() -> None:
    with pytest.raises(CompileError, match="states a peak of 12 bytes, where its buffers end at 16"):
        verify(PROBLEM, replace(plan_at(0, 8, 4), peak_bytes=12))


def test_capacity_may_be_left_out() -> None:
    verify(PROBLEM, plan_at(0, 12, 0), within_capacity=False)


@given(problems(), st.data())
def test_a_buffer_moved_into_another_is_found(problem: MemoryProblem, data: st.DataObject) -> None:
    plan = plan_greedy(problem)
    solid = [i for i, buffer in enumerate(problem.buffers) if buffer.size_bytes]
    pairs = [
        (i, j)
        for i in solid
        for j in solid
        if i < j
        and problem.buffers[i].first <= problem.buffers[j].last
        and problem.buffers[j].first <= problem.buffers[i].last
    ]
    if not pairs:
        return
    moved, onto = data.draw(st.sampled_from(pairs))
    addresses = list(plan.addresses)
    addresses[moved] = addresses[onto]
    with pytest.raises(CompileError):
        verify(problem, plan_at(*addresses, problem=problem))


def test_accesses_in_any_order_pass() -> None:
    accesses = Access(0, (), ("a",)), Access(2, ("a",), ("b",)), Access(3, (), ("c",)), Access(4, ("b", "c"), ())
    verify_accesses(PROBLEM, reversed(accesses))


@pytest.mark.parametrize(
    ("accesses", "line"),
    [
        ((Access(2, ("a",), ()),), "step 2 reads buffer 'a', which no step writes"),
        ((Access(1, ("a",), ()), Access(2, (), ("a",))), "step 1 reads buffer 'a', which is first written at step 2"),
        ((Access(2, ("a",), ("a",)),), "step 2 reads buffer 'a', which is first written at step 2"),
        ((Access(0, (), ("a",)), Access(3, ("a",), ())), "step 3 uses buffer 'a', which is live from step 0 to 2"),
        ((Access(1, (), ("b",)),), "step 1 uses buffer 'b', which is live from step 2 to 4"),
        ((Access(1, (), ("x",)),), "step 1 uses buffer 'x', which has no place in the memory"),
    ],
)
def test_each_access_out_of_order_is_named(accesses: tuple[Access, ...], line: str) -> None:
    with pytest.raises(CompileError) as caught:
        verify_accesses(PROBLEM, accesses)
    assert str(caught.value) == line


def test_what_is_given_needs_no_write() -> None:
    verify_accesses(PROBLEM, [Access(1, ("a",), ())], given=("a",))


def test_a_name_may_have_several_lifetimes() -> None:
    problem = MemoryProblem((Buffer("v", 0, 1, 4), Buffer("v", 5, 6, 4)))
    verify_accesses(problem, [Access(0, (), ("v",)), Access(6, ("v",), ())])
    with pytest.raises(CompileError, match=r"step 3 uses buffer 'v', which is live from step 0 to 1, 5 to 6"):
        verify_accesses(problem, [Access(0, (), ("v",)), Access(3, ("v",), ())])
