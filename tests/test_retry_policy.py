"""Laws of the retry policies: what they answer, how they combine, and how the engine asks them."""

from __future__ import annotations

import math
from datetime import timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow import retry_policy as module
from otflow.errors import WorkflowRuntimeError, WorkflowValidationError
from otflow.retry_policy import (
    ConstantDelayRetryPolicy,
    ExponentialBackoffRetryPolicy,
    RetryPolicy,
    ask,
    retry_all,
    retry_always,
    retry_any,
    retry_if_exception,
    retry_if_exception_cause_type,
    retry_if_exception_message,
    retry_if_exception_type,
    retry_if_not_exception_message,
    retry_if_not_exception_type,
    retry_never,
    retry_policy,
    retry_unless_exception_type,
    stop_after_attempt,
    stop_after_delay,
    stop_all,
    stop_any,
    stop_before_delay,
    stop_never,
    wait_chain,
    wait_combine,
    wait_exponential,
    wait_exponential_jitter,
    wait_fixed,
    wait_full_jitter,
    wait_incrementing,
    wait_none,
    wait_random,
    wait_random_exponential,
)

JITTERED = [
    wait_random(0, 10),
    wait_exponential_jitter(jitter=5),
    wait_random_exponential(multiplier=10),
    wait_random(0, 1) + wait_random(0, 2),
]


def caused(error: Exception, cause: Exception) -> Exception:
    """Give `error` as if raised from `cause`."""
    error.__cause__ = cause
    return error


# --- conditions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "yes", "no"),
    [
        (retry_if_exception(lambda e: "busy" in str(e)), OSError("so busy"), OSError("gone")),
        (retry_if_exception_type(), ValueError(), KeyboardInterrupt()),
        (retry_if_exception_type((ValueError, OSError)), ConnectionError(), KeyError()),
        (retry_if_not_exception_type((ValueError, OSError)), KeyError(), ConnectionError()),
        (retry_unless_exception_type(ValueError), KeyError(), ValueError()),
        (retry_if_exception_message(message="busy"), OSError("busy"), OSError("so busy")),
        (retry_if_exception_message(match=r"code=\d+"), OSError("a code=42"), OSError("code=x")),
        (retry_if_not_exception_message(message="busy"), OSError("so busy"), OSError("busy")),
        (retry_if_not_exception_message(match="bad key"), OSError("busy"), OSError("a bad key")),
        (
            retry_if_exception_cause_type(OSError),
            caused(KeyError(), caused(ValueError(), OSError())),
            caused(OSError(), ValueError()),
        ),
        (retry_always() & retry_if_exception_type(OSError), OSError(), KeyError()),
        (retry_never() | retry_if_exception_type(OSError), OSError(), KeyError()),
        (retry_any(retry_if_exception_type(OSError), lambda e: bool(e.args)), KeyError(1), KeyError()),
        (retry_all(retry_if_exception_type(OSError), lambda e: bool(e.args)), OSError(1), OSError()),
    ],
)
def test_conditions_choose(condition, yes, no):
    """A condition holds for the errors that its name says, and for no others."""
    assert condition(yes) is True
    assert condition(no) is False


def test_a_ring_of_causes_ends():
    """Looking for a cause ends even when the chain of causes is a ring."""
    first, second = KeyError(), ValueError()
    caused(first, caused(second, first))
    assert retry_if_exception_cause_type(OSError)(first) is False


def test_plain_functions_combine():
    """A plain function may stand on either side of an operator."""
    is_os_error = retry_if_exception_type(OSError)
    assert (is_os_error | (lambda e: True))(KeyError())
    assert ((lambda e: True) | is_os_error)(KeyError())
    assert not (is_os_error & (lambda e: False))(OSError())
    assert not ((lambda e: False) & is_os_error)(OSError())
    assert (wait_fixed(1) + (lambda n, *, seed=None: 2.0))(0) == 3
    assert ((lambda n, *, seed=None: 2.0) + wait_fixed(1))(0) == 3

    def late(attempts, elapsed, *, upcoming_sleep=0.0):
        return elapsed > 9

    assert (stop_never() | late)(1, 10.0)
    assert (late | stop_never())(1, 10.0)
    assert (late & stop_after_attempt(3))(3, 10.0)
    assert not (stop_after_attempt(3) & late)(3, 1.0)


# --- waits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [
        (wait_fixed(3.5), [3.5, 3.5, 3.5]),
        (wait_fixed(timedelta(minutes=1)), [60, 60, 60]),
        (wait_none(), [0, 0, 0]),
        (wait_exponential(), [1, 2, 4]),
        (wait_exponential(multiplier=0.5, max=timedelta(seconds=1.5)), [0.5, 1, 1.5]),
        (wait_exponential(multiplier=0.5, min=2), [2, 2, 2]),
        (wait_incrementing(1, 0.5, 1.8), [1, 1.5, 1.8]),
        (wait_incrementing(start=-5, increment=-1), [0, 0, 0]),
        (wait_exponential_jitter(jitter=0, max=3), [1, 2, 3]),
        (wait_chain(wait_fixed(1), wait_fixed(5)), [1, 5, 5]),
        (wait_combine(wait_fixed(1), wait_incrementing(0, 1)), [1, 2, 3]),
        (sum([wait_fixed(1), wait_fixed(2), wait_none()]), [3, 3, 3]),
    ],
)
def test_waits_start_at_zero(wait, seconds):
    """The first retry is number 0, and each wait grows as its name says."""
    assert [wait(n) for n in range(3)] == seconds


@pytest.mark.parametrize("wait", [wait_exponential(), wait_exponential_jitter(), wait_full_jitter()])
def test_waits_never_overflow(wait):
    """After any number of retries a wait is within its bound."""
    assert 0 <= wait(100_000) <= 60


@pytest.mark.parametrize("wait", JITTERED)
def test_a_seed_repeats_the_jitter(wait):
    """The same seed gives the same wait; another retry, another seed or none gives another."""
    assert wait(1, seed=7) == wait(1, seed=7)
    assert wait(1, seed=7) != wait(1, seed=8)
    assert wait(1, seed=7) != wait(1, seed=-7)
    assert wait(1) != wait(1)
    assert wait_random(0, 10)(1, seed=7) != wait_random(0, 10)(2, seed=7)


@given(st.integers(0, 50), st.integers())
def test_jitter_stays_in_its_bounds(retries, seed):
    """A jittered wait is within the bounds that its arguments give."""
    bound = min(2.0**retries, 60)
    assert 2 <= wait_random(2, timedelta(seconds=3))(retries, seed=seed) <= 3
    assert 0 <= wait_random_exponential()(retries, seed=seed) <= bound
    assert bound <= wait_exponential_jitter(jitter=1, max=100)(retries, seed=seed) <= max(bound + 1, 100)
    assert wait_exponential_jitter(initial=9, max=9, jitter=5)(retries, seed=seed) == 9


# --- stops --------------------------------------------------------------------------------------------------


def test_stops_count():
    """A stop holds from its bound on."""
    assert [stop_after_attempt(3)(n, 0.0) for n in (2, 3, 4)] == [False, True, True]
    assert [stop_after_delay(10)(1, s) for s in (9.9, 10.0)] == [False, True]
    assert [stop_before_delay(10)(1, 5.0, upcoming_sleep=s) for s in (4.9, 5.0)] == [False, True]
    assert [stop_after_delay(timedelta(minutes=1))(1, s) for s in (59.0, 60.0)] == [False, True]
    assert stop_never()(10**6, 1e9) is False


def test_stops_combine():
    """Operators on stops mean what the named combinations mean."""
    many, late = stop_after_attempt(3), stop_after_delay(10)
    for attempts, elapsed in [(1, 1.0), (3, 1.0), (1, 10.0), (3, 10.0)]:
        assert (many | late)(attempts, elapsed) is stop_any(many, late)(attempts, elapsed)
        assert (many & late)(attempts, elapsed) is stop_all(many, late)(attempts, elapsed)
    assert (many | late)(3, 1.0)
    assert not (many & late)(3, 1.0)
    assert (many | stop_before_delay(9))(1, 8.0, upcoming_sleep=1.0)


# --- policies -----------------------------------------------------------------------------------------------


def test_the_default_policy():
    """Without arguments: three attempts, five seconds between them, for every error."""
    policy = retry_policy()
    assert isinstance(policy, RetryPolicy)
    assert [policy.next(0.0, n, OSError()) for n in (0, 1, 2, 3)] == [5, 5, 5, None]


def test_a_policy_asks_its_parts():
    """The condition sees the error, the wait the retry from 0, the stop the attempts and the coming wait."""
    policy = retry_policy(
        retry=retry_if_exception_type(OSError),
        wait=wait_chain(wait_fixed(1), wait_fixed(2)),
        stop=stop_after_attempt(4) | stop_before_delay(10),
    )
    assert policy.next(0.0, 1, OSError()) == 1
    assert policy.next(1.0, 2, OSError()) == 2
    assert policy.next(8.0, 2, OSError()) is None
    assert policy.next(0.0, 4, OSError()) is None
    assert policy.next(0.0, 1, KeyError()) is None


def test_the_exponential_policy():
    """Without jitter the waits double up to their limit; attempts are counted; a seed repeats the jitter."""
    plain = ExponentialBackoffRetryPolicy(max_delay=3, jitter=False)
    assert [plain.next(0.0, n, OSError()) for n in (1, 2, 3, 4, 5)] == [1, 2, 3, 3, None]
    jittered = ExponentialBackoffRetryPolicy()
    waits = [jittered.next(0.0, 3, OSError(), seed=n) for n in range(50)]
    assert waits == [jittered.next(0.0, 3, OSError(), seed=n) for n in range(50)]
    assert all(0 <= wait <= 4 for wait in waits)
    assert len(set(waits)) > 40


def test_the_constant_policy_counts_retries():
    """Three retries are four executions: the engine's count of attempts is made a count of retries."""
    policy = ConstantDelayRetryPolicy(maximum_attempts=3, delay=4.2)
    assert policy.next(0.0, 2, OSError()) == 4.2
    assert policy.next(0.0, 3, OSError()) is None
    assert [ask(policy, 0.0, n, OSError(), None) for n in (1, 2, 3, 4)] == [4.2, 4.2, 4.2, None]


def test_policies_are_values():
    """Parts and policies built alike are equal, hashable and unchangeable."""
    assert retry_policy(wait=wait_fixed(1) + wait_none()) == retry_policy(wait=wait_fixed(1) + wait_none())
    assert len({wait_fixed(1), wait_fixed(1), stop_after_attempt(1), retry_any(retry_always())}) == 3
    with pytest.raises(AttributeError):
        wait_fixed(1).wait = 2


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: wait_fixed(-1), "wait_fixed(wait=-1): give wait as a number of at least 0"),
        (lambda: wait_fixed("5"), "wait='5'"),
        (lambda: wait_fixed(math.nan), "wait=nan"),
        (lambda: wait_fixed(True), "wait=True"),
        (lambda: wait_random(2, 1), "max=1"),
        (lambda: wait_exponential(min=61), "max=60"),
        (lambda: wait_incrementing(start=math.nan), "start=nan"),
        (lambda: wait_exponential_jitter(jitter=-1), "jitter=-1"),
        (wait_chain, "needs at least one"),
        (lambda: wait_fixed(1) + 5, "give an instance or a plain function"),
        (lambda: retry_if_exception_type("OSError"), "exception_types='OSError'"),
        (lambda: retry_if_exception_cause_type(()), "exception_types=()"),
        (retry_if_exception_message, "'message' or 'match'"),
        (lambda: retry_if_exception_message("a", "a"), "either 'message' or 'match'"),
        (lambda: retry_if_exception_message(match="("), "no regular expression"),
        (lambda: retry_always() | retry_never, "give an instance"),
        (lambda: stop_after_attempt(-1), "max_attempt_number=-1"),
        (lambda: stop_after_attempt(None), "max_attempt_number=None"),
        (lambda: stop_after_delay(timedelta(seconds=-1)), "max_delay="),
        (lambda: retry_policy(stop=5), "retry_policy(5)"),
        (lambda: ConstantDelayRetryPolicy(maximum_attempts=-1), "maximum_attempts=-1"),
        (lambda: ExponentialBackoffRetryPolicy(multiplier=None), "multiplier=None"),
    ],
)
def test_bad_arguments_are_refused(make, text):
    """An argument that cannot work is refused where it is given, as every caller may expect it."""
    for kind in (WorkflowValidationError, ValueError, TypeError):
        with pytest.raises(kind) as caught:
            make()
        assert text in str(caught.value)


# --- ask ----------------------------------------------------------------------------------------------------


class Plain:
    def next(self, elapsed_time, attempts, error):
        return elapsed_time + attempts


class Seeded:
    def next(self, elapsed_time, attempts, error, *, seed=None):
        return seed


class Keywords:
    def next(self, elapsed_time, attempts, error, **keywords):
        return keywords["seed"]


def test_ask_hands_over_what_the_policy_takes():
    """Attempts count from 1; the seed goes to those policies that take it, and to no others."""
    assert ask(Plain(), 2.0, 1, OSError(), 9) == 3
    assert ask(Seeded(), 0.0, 1, OSError(), 9) == 9
    assert ask(Keywords(), 0.0, 1, OSError(), 9) == 9
    assert ask(retry_policy(), 0.0, 3, OSError(), 9) is None


def test_ask_looks_at_an_instance_with_its_own_next():
    """A `next` put on an instance is asked as it is, whatever its class would take."""
    policy = Seeded()
    assert ask(policy, 0.0, 1, OSError(), 9) == 9
    policy.next = lambda elapsed_time, attempts, error: 4
    assert ask(policy, 0.0, 1, OSError(), 9) == 4
    assert ask(SimpleNamespace(next=lambda a, b, c, /, seed=0: seed), 0.0, 1, OSError(), 9) == 9
    assert ask(SimpleNamespace(next=lambda a, b, c: 4), 0.0, 1, OSError(), 9) == 4


def test_ask_remembers_classes_weakly():
    """What a class takes is looked up once, and forgotten with the class."""
    ask(Seeded(), 0.0, 1, OSError(), 9)
    assert Seeded in module._seed_taken
    assert SimpleNamespace not in module._seed_taken


class Answer:
    def __init__(self, answer):
        self.answer = answer

    def next(self, elapsed_time, attempts, error):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def later():
    """Stand for a `next` that was written as a coroutine."""


@pytest.mark.parametrize("answer", [-1, math.nan, math.inf, "5", True, [1], timedelta(seconds=1)])
def test_ask_refuses_strange_answers(answer):
    """An answer that is no wait ends the run with the name of the policy, the answer and the remedy."""
    with pytest.raises(WorkflowRuntimeError) as caught:
        ask(Answer(answer), 0.0, 2, OSError(), None)
    assert "Answer answered" in str(caught.value)
    assert repr(answer) in str(caught.value)
    assert "after attempt 2" in str(caught.value)
    assert "None to give up" in str(caught.value)


def test_ask_refuses_coroutines():
    """A policy whose `next` is a coroutine function is told so."""
    with pytest.raises(WorkflowRuntimeError, match="plain function"):
        ask(Answer(later()), 0.0, 1, OSError(), None)


def test_ask_names_a_policy_that_raises():
    """What a policy raises is the cause of an error that names the policy and the failure of the step."""
    fault = KeyError("mine")
    with pytest.raises(WorkflowRuntimeError, match=r"Answer raised KeyError\('mine'\).*OSError\('theirs'\)") as caught:
        ask(Answer(fault), 0.0, 1, OSError("theirs"), None)
    assert caught.value.__cause__ is fault


def test_ask_gives_floats():
    """Whatever kind of number a policy answers, the engine gets a float or None."""
    assert isinstance(ask(Answer(5), 0.0, 1, OSError(), None), float)
    assert ask(Answer(0), 0.0, 1, OSError(), None) == 0
    assert ask(Answer(None), 0.0, 1, OSError(), None) is None
