"""The name of a run that a step begins follows from its attempt, and from nothing else."""

from __future__ import annotations

from itertools import product

from otflow.records.kinship import Attempted, mark_children, name_child


def test_names_tell_the_attempt() -> None:
    """Each run has a name of its own, and those of one attempt, and no others, end in the same way."""
    attempts = [Attempted(*parts) for parts in product(("r", "r 1", "\ud800"), (1, 11), (1, 2), (0, 5))]
    names = {name_child(attempted, number): attempted for attempted in attempts for number in range(3)}
    assert len(names) == 3 * len(attempts)
    assert len({mark_children(attempted) for attempted in attempts}) == len(attempts)
    for name, attempted in names.items():
        assert len(name) == 32
        assert int(name, 16)
        assert name.endswith(mark_children(attempted))
        assert name in {name_child(attempted, number) for number in range(3)}
