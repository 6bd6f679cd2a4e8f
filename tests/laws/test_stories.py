"""The law of the runtime: it records what the core decides, whatever happens, however it is driven."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.drivers import CoreDriver
from tests.laws.stories import tell_story
from tests.runtime_driver import RuntimeDriver
from tests.scenario import print_scenario, run_scenario

number = st.integers(0, 2**32)


@settings(max_examples=25)
@given(number, st.lists(number, min_size=20, max_size=60) | st.lists(number, max_size=9))
def test_a_workflow_lives_through_what_the_core_decides(seed, numbers):
    """A real workflow that is told the same story as the core has the same records, line by line."""
    story = tell_story(seed, numbers)
    with RuntimeDriver(story) as driver:
        lived = print_scenario(story, run_scenario(story, driver))
    assert lived == print_scenario(story, run_scenario(story, CoreDriver(story)))
