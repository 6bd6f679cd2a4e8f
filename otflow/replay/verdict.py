"""The verdict on one history: whether a workflow accepts it, and if not, where and why."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Divergence", "Verdict"]


class Divergence(NamedTuple):
    """The first point at which a workflow would have done something else than what is recorded.

    Args:
        seq: the number of the record.
        kind: what it is about, in one word: "step", "event", "payload", "retry", "workers", "returns", "collected",
            "saved" or "order".
        sentence: what has changed.
    """

    seq: int
    kind: str
    sentence: str


class Verdict(NamedTuple):
    """What a workflow of today says to a recorded run.

    Args:
        run: the id of the run.
        workflow: the name of the workflow of today.
        judged: how many records were compared.
        records: how many there are.
        divergence: the first one; None if there is none.
        notes: what could not be judged, and what is worth to know, one sentence each.
    """

    run: str
    workflow: str
    judged: int
    records: int
    divergence: Divergence | None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing that is recorded contradicts the workflow."""
        return self.divergence is None

    @property
    def position(self) -> int:
        """The number of the record at which they part; 0 if they do not."""
        return self.divergence.seq if self.divergence is not None else 0

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        if self.divergence is not None:
            return self.divergence.sentence
        some = f"{self.judged} of {self.records}" if self.judged < self.records else f"all {self.records}"
        return f"Workflow '{self.workflow}' accepts {some} records."

    @property
    def lines(self) -> list[str]:
        """The verdict for a terminal."""
        if self.divergence is None:
            first = f"ok    {self.run}  {self.sentence}"
        else:
            first = f"FAIL  {self.run}  record {self.divergence.seq}: {self.divergence.sentence}"
        return [first, *(f"      {note}" for note in self.notes)]
