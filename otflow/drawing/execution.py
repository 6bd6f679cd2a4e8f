"""Execution: a run as a picture, in which every arrow is something that happened.

Each attempt is a node. An event leads from the attempt that emitted it to every attempt that took it, a retry from the
attempt that failed to the next one, what a step collected from where it was put aside to where it was collected. A wait
is a node of its own: the answer leads into it, and what the step did afterwards leads out of it. What came from
outside, went to nobody, or is not recorded stands there as such. No arrow is drawn that no record tells of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from otflow.drawing.details import describe_error, only_put_aside, tell_fate
from otflow.drawing.facts import Payloads, describe_attempt, describe_event, describe_failure, describe_wait
from otflow.drawing.picture import Bar, Edge, EdgeStyle, Fact, Node, Picture, Span, Tone
from otflow.drawing.quantities import count, enumerate_some, format_duration, name_type
from otflow.records.history import Attempt, Event, Invocation, Run, Wait, summarize, tell_astray

__all__ = ["picture_run"]

_NS = 1_000_000_000
_TONES: dict[str, Tone] = {"completed": "", "failed": "bad"}
_RUN_TONES: dict[str, Tone] = {"completed": "good", "open": "wait", "paused": "wait"}
_MAX_FAULTS = 4


class _Canvas:
    """The nodes and edges so far."""

    def __init__(self, run: Run, payloads: Payloads) -> None:
        self.run = run
        self.payloads = payloads
        self.nodes: list[Node] = []
        self.edges: dict[Edge, None] = {}
        self.bars: list[Bar] = []
        self.takers: dict[int, int] = {}  # the first attempt of an invocation
        self.places: dict[int, int] = {}  # an event: the node out of which it comes
        self.kept: dict[int, list[int]] = defaultdict(list)  # an event: the nodes that put it aside
        self.waits: dict[int, int] = {}
        self.collections: list[tuple[int, tuple[int, ...]]] = []
        self.unknown = -1

    def add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def link(self, source: int, target: int, label: str = "", style: EdgeStyle = "event") -> None:
        if source != target:
            self.edges[Edge(source, target, label, style)] = None

    def find_unknown(self) -> int:
        """Give the node for what nobody knows the origin of."""
        if self.unknown < 0:
            facts = (Fact("not recorded", "Records are missing that would tell where this came from."),)
            self.unknown = self.add(Node("gap", "not recorded", _name_gaps(self.run), "wait", facts=facts))
        return self.unknown


def picture_run(run: Run, *, payloads: Payloads | None = None) -> Picture:
    """Make the picture of a run.

    Args:
        run: the run.
        payloads: how much of the payloads is shown; default 4,000 characters of each.
    """
    canvas = _Canvas(run, payloads or Payloads())
    for event in run.events.values():
        if event.outside:
            _add_outside(canvas, event)
    for invocation in run.invocations.values():
        _add_invocation(canvas, invocation)
    for event in run.events.values():
        _lead_event(canvas, event)
    _add_untaken(canvas)
    _lead_unknown(canvas)
    _lead_collections(canvas)
    _add_end(canvas)
    return Picture(
        title=run.workflow or "?",
        subtitle=_describe_run(run),
        nodes=tuple(canvas.nodes),
        edges=tuple(canvas.edges),
        bars=tuple(canvas.bars),
        pauses=_show_pauses(run),
        remarks=_remark(run),
        tone=_RUN_TONES.get(run.outcome, "bad"),
    )


def _describe_run(run: Run) -> str:
    sums = summarize(run)
    parts = [f"run {run.id}", run.outcome]
    if not run.astray:
        parts.append(format_duration(sums.duration))
    parts.append(count(sums.attempts, "attempt"))
    if sums.retries:
        parts.append(count(sums.retries, "retry"))
    return " · ".join([*parts, count(sums.events, "event")])


def _show_pauses(run: Run) -> tuple[tuple[Span, str], ...]:
    if run.astray:
        return ()
    return tuple((Span(each.started, each.ended or run.ended), each.reason) for each in run.pauses)


def _name_gaps(run: Run) -> str:
    stretches = [str(first) if first == last else f"{first}\N{EN DASH}{last}" for first, last in run.gaps]
    return f"records {enumerate_some(stretches, '…')}" if stretches else ""


def _remark(run: Run) -> tuple[str, ...]:
    remarks = []
    if run.parent_run:
        remarks.append(f"Started by step #{run.parent_invocation} of run {run.parent_run}.")
    match run.outcome:
        case "cancelled":
            remarks.append(f"The run was cancelled{f': {run.reason}' if run.reason else ''}.")
        case "timed out":
            remarks.append(
                f"The run timed out{f' while these steps were running: {run.reason}' if run.reason else ''}."
            )
        case "paused":
            remarks.append(f"Nothing executes: the run is {run.reason}.")
        case "open":
            remarks.append("The end of the run is not recorded.")
        case _:
            pass
    if run.astray:
        remarks.append(tell_astray(run))
    if run.gaps:
        remarks.append(f"Missing {_name_gaps(run)}.")
    remarks += run.faults[:_MAX_FAULTS]
    if len(run.faults) > _MAX_FAULTS:
        remarks.append(f"{len(run.faults) - _MAX_FAULTS:,} more like this.")
    return tuple(remarks)


def _add_outside(canvas: _Canvas, event: Event) -> None:
    silent = event.takers or event.answered
    fate = "" if silent else tell_fate(canvas.run, event)
    facts = describe_event(canvas.run, event, fate, canvas.payloads)
    note = f"from outside, {fate}" if fate else "from outside"
    canvas.places[event.id] = canvas.add(
        Node("event", name_type(event.type), note, facts=facts, of=("event", event.id, 0))
    )


def _add_invocation(canvas: _Canvas, invocation: Invocation) -> None:
    """Add the attempts of an invocation, one after another, and what each of them waited for."""
    before = -1
    several = len(invocation.attempts) > 1 or invocation.retry is not None
    for place, attempt in enumerate(invocation.attempts):
        node = _add_attempt(canvas, invocation, attempt, several=several)
        canvas.nodes[node] = canvas.nodes[node]._replace(of=("attempt", invocation.id, place))
        if before < 0:
            canvas.takers[invocation.id] = node
        else:
            canvas.link(before, node, _label_retry(attempt.delay), "retry")
        before = _add_waits(canvas, invocation, attempt, node)
    if invocation.retry is not None:
        title = f"{invocation.step or '?'} · attempt {invocation.retry.attempt}"
        due = canvas.run.since_start(invocation.retry.due)
        facts = (Fact("due after", format_duration(due)),) if due is not None else ()
        node = canvas.add(Node("step", title, "has not begun", "wait", invocation.step, facts))
        canvas.link(before, node, _label_retry(invocation.retry.delay), "retry")


def _label_retry(delay: float | None) -> str:
    if delay is None:
        return "again"
    return f"after {format_duration(round(delay * _NS))}" if delay else "at once"


def _add_attempt(canvas: _Canvas, invocation: Invocation, attempt: Attempt, *, several: bool) -> int:
    run = canvas.run
    aside = only_put_aside(invocation)
    title = invocation.step or "?"
    if several:
        title += f" · attempt {attempt.number or '?'}"
    tone: Tone = _TONES.get(attempt.outcome, "wait")
    note = _note_attempt(run, invocation, attempt, aside=aside)
    facts = describe_attempt(run, invocation, attempt, canvas.payloads)
    node = canvas.add(Node("aside" if aside else "step", title, note, tone, invocation.step, facts))
    if attempt.started and not run.astray:
        unknown = not attempt.ended and bool(run.gaps)  # without gaps it went on up to the last record
        end = attempt.started if unknown else attempt.ended or max(run.ended, attempt.started)
        ready = min(attempt.ready or attempt.started, attempt.started)
        stood = tuple(
            Span(each.started, each.ended or max(each.started, end)) for each in attempt.waits if each.started
        )
        canvas.bars.append(Bar(node, invocation.step or "?", ready, attempt.started, end, tone, stood, unknown))
    for kept in attempt.kept:
        canvas.kept[kept.event].append(node)
    canvas.collections += [(node, each.events) for each in attempt.collected]
    return node


def _note_attempt(run: Run, invocation: Invocation, attempt: Attempt, *, aside: bool) -> str:
    if attempt.error is not None:
        return describe_error(attempt.error)
    notes = [f"#{invocation.id}"]
    if aside:
        notes.append("put aside")
    elif attempt.outcome == "open":
        notes.append("still runs" if run.outcome in ("open", "paused") and not run.gaps else "no end")
    elif attempt.collected:
        notes.append(f"collected {sum(len(each.events) for each in attempt.collected)}")
    if attempt.worked and not aside:
        notes.append(format_duration(attempt.worked))
    return " · ".join(notes)


def _add_waits(canvas: _Canvas, invocation: Invocation, attempt: Attempt, node: int) -> int:
    """Add the waits of an attempt, say which of its events came after which wait, and give the last node."""
    stages: list[tuple[Wait, int]] = []
    for wait in attempt.waits:
        facts = describe_wait(canvas.run, wait, canvas.payloads)
        note, tone = _note_wait(canvas.run, wait, attempt)
        stage = canvas.add(
            Node("wait", f"wait for {name_type(wait.type)}", note, tone, invocation.step, facts, ("wait", wait.id, 0))
        )
        canvas.link(_stand(stages, wait.id, wait.started, node), stage, "", "answer")
        canvas.waits[wait.id] = stage
        stages.append((wait, stage))
    for id in attempt.sent:
        event = canvas.run.events.get(id)
        canvas.places[id] = _stand(stages, id, event.at if event is not None else 0, node)
    for kept in attempt.kept:
        if kept.body is not None:
            canvas.places[kept.seq] = _stand(stages, kept.seq, kept.at, node)
    ended = [stage for wait, stage in stages if wait.ended]
    return ended[-1] if ended else node


def _note_wait(run: Run, wait: Wait, attempt: Attempt) -> tuple[str, Tone]:
    if not wait.ended:
        goes_on = run.outcome in ("open", "paused") and attempt.outcome == "open"
        return ("still waits" if goes_on else "no answer"), "wait"
    took = format_duration(wait.took) if wait.started and not wait.astray else ""
    if wait.event:
        return took, ""
    return (f"nothing came for {took}" if took else "nothing came"), "faint"


def _stand(stages: Sequence[tuple[Wait, int]], seq: int, at: int, node: int) -> int:
    """Find where an attempt stood when it did something: behind the last wait that was over, or at its beginning."""
    for wait, stage in reversed(stages):
        if wait.ended and seq > max(wait.id, wait.event) and at >= wait.ended:
            return stage
    return node


def _lead_event(canvas: _Canvas, event: Event) -> None:
    """Lead an event from where it comes to everyone who took it."""
    run = canvas.run
    kind = name_type(event.type)
    known = event.id in canvas.places
    if not known and not (event.takers or event.answered or event.id == run.result):
        return
    if not known and event.source in canvas.takers:  # it was saved, and its step began again after that
        canvas.places[event.id] = canvas.takers[event.source]
        known = True
    if not known and (event.type or event.id < 0):  # it was saved, and its step is none of those that are recorded
        facts = describe_event(run, event, "", canvas.payloads)
        note = "of an earlier run" if event.id < 0 else "from before it went on"
        canvas.places[event.id] = canvas.add(Node("event", kind, note, "faint", facts=facts, of=("event", event.id, 0)))
        known = True
    source = canvas.places[event.id] if known else canvas.find_unknown()
    style: EdgeStyle = "event" if known else "gap"
    for taker in event.takers:
        if taker in canvas.takers:
            canvas.link(source, canvas.takers[taker], kind, style)
    for wait in event.answered:
        if wait in canvas.waits:
            canvas.link(source, canvas.waits[wait], kind, "answer" if known else "gap")
    if event.id == run.result:
        facts = describe_event(run, event, "which ended the run", canvas.payloads)
        end = canvas.add(Node("end", kind, "the result", "good", facts=facts))
        canvas.link(source, end, "", style)


def _add_untaken(canvas: _Canvas) -> None:
    """Show the events that nobody took, those of one kind from one attempt together."""
    run = canvas.run
    untaken: defaultdict[tuple[int, str, str], list[Event]] = defaultdict(list)
    for event in run.events.values():
        place = canvas.places.get(event.id)
        if place is None or event.outside or event.aside or event.id < 0:
            continue
        if not (event.takers or event.answered or event.id == run.result):
            untaken[place, name_type(event.type), tell_fate(run, event)].append(event)
    for (place, kind, fate), events in untaken.items():
        title = f"{len(events):,} \N{MULTIPLICATION SIGN} {kind}" if len(events) > 1 else kind
        facts = tuple(fact for event in events[:50] for fact in describe_event(run, event, fate, canvas.payloads))
        canvas.link(place, canvas.add(Node("event", title, fate, "faint", facts=facts)))


def _lead_unknown(canvas: _Canvas) -> None:
    """Say of what works on an event of which nothing is known that nobody knows where it comes from."""
    for invocation in canvas.run.invocations.values():
        if invocation.event not in canvas.run.events and invocation.id in canvas.takers:
            canvas.link(canvas.find_unknown(), canvas.takers[invocation.id], "?", "gap")


def _lead_collections(canvas: _Canvas) -> None:
    """Lead what was collected from where it was put aside to where it was collected."""
    for node, events in canvas.collections:
        for id in events:
            keepers = canvas.kept.get(id, [])
            own = canvas.run.invocations[canvas.nodes[node].of[1]].event
            if not keepers and id != own and id in canvas.places:
                keepers = [canvas.places[id]]
            for keeper in keepers:
                if keeper < node:
                    canvas.link(keeper, node, "", "collect")


def _add_end(canvas: _Canvas) -> None:
    """Show an end that is no result."""
    run = canvas.run
    if run.outcome == "failed" and run.error is not None:
        facts = describe_failure(run.error)
        end = canvas.add(Node("end", "failed", describe_error(run.error), "bad", facts=facts))
        failed = run.invocations.get(run.failed)
        if failed is not None and failed.id in canvas.takers:
            last = canvas.takers[failed.id]
            for edge in canvas.edges:  # follow its retries
                if edge.source == last and edge.style == "retry":
                    last = edge.target
            canvas.link(last, end, "", "error")
    elif run.outcome in ("cancelled", "timed out"):
        canvas.add(Node("end", run.outcome, run.reason, "bad"))
