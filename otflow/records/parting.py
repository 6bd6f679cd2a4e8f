"""Parting: what two runs that were laid beside each other do not have in common, told difference by difference.

It is given what belongs together and asks, of each such pair, whether both sides say the same. Order is no difference
here; what turns out to be a matter of order is put aside for whoever tells that. What may be otherwise in records that
are missing is not proven; where it is not even certain what belongs together, nothing is told but that.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from otflow.records.history import Invocation, Run
from otflow.records.invocations import Attempt, Wait
from otflow.records.matching import Act
from otflow.records.points import Kind, Point, name_event, name_invocation, name_kind
from otflow.records.record import ContextWritten
from otflow.records.site import Site, doubt, invocation_of
from otflow.records.values import Change

__all__ = ["find_points"]


def find_points(site: Site) -> Iterator[Point]:
    """Find the differences of two runs, in no particular order."""
    yield from _compare_payloads(site)
    yield from _tell_events(site)
    yield from _tell_work(site)
    for one, other in site.found.invocations.items():
        pair = site.a.invocations[one], site.b.invocations[other]
        points = [*_compare_attempts(site, *pair), *_compare_waits(site, *pair)]
        if site.sure.has_invocation(one):
            yield from points
        else:
            site.vague += len(points)
    acts, others = site.acts
    for one, other in site.found.acts.items():
        sides = acts[one], others[other]
        points = [*_compare_writes(site, *sides), *_compare_stream(site, *sides), *_compare_members(site, *sides)]
        if site.sure.has_act(one):
            yield from points
        else:
            site.vague += len(points)
    yield from _compare_ends(site, max((0, *acts, *site.a.events)))


def _compare_payloads(site: Site) -> Iterator[Point]:
    for one, other in site.found.events.items():
        left, right = site.a.events[one].body, site.b.events[other].body
        if left is not None and right is not None:  # else the record of one of them is missing
            change = site.compare(left, right)
            if change is not None and site.sure.has_event(one):
                yield _tell("payload", name_event(site.a, one), change, one, other)
            elif change is not None:
                site.skip()


def _tell(kind: Kind, what: str, change: Change, a: int, b: int, at: int = 0) -> Point:
    where = f" at {change.path}" if change.path else ""
    left, right = change.left or "nothing", change.right or "nothing"
    sentence = f"{what} differs{where}: {left} in the first run, {right} in the second."
    path, left, right = change
    return Point(kind=kind, sentence=sentence, at=at or a, a=a, b=b, path=path, left=left, right=right)


def _tell_events(site: Site) -> Iterator[Point]:
    sources = {id: act for act, each in site.acts[0].items() for id in each.sent}
    for id in site.found.lost:
        act = site.acts[0][sources[id]]
        if site.a.events[id].type and site.sure.has_act(act.id):
            more = _tell_more(site.a, [id])
            sentence = f"The second run has no record of {name_event(site.a, id)}, which the first run has{more}."
            other = invocation_of(site.acts[1][site.found.acts[act.id]])
            proven = site.sure.is_closed(1, other) and site.sure.is_placed(0, invocation_of(act), id)
            yield Point(kind="event", sentence=sentence, at=id, a=id, proven=proven)
        else:
            site.skip()
    for act_id, id in site.found.added:
        if site.b.events[id].type and site.sure.has_act(act_id):
            more = _tell_more(site.b, [id])
            sentence = f"The first run has no record of {name_event(site.b, id)}, which the second run has{more}."
            act, other = site.acts[0][act_id], invocation_of(site.acts[1][site.found.acts[act_id]])
            proven = site.sure.is_closed(0, invocation_of(act)) and site.sure.is_placed(1, other, id)
            yield Point(kind="event", sentence=sentence, at=act_id or id, b=id, proven=proven)
        else:
            site.skip()


def _tell_more(run: Run, events: Sequence[int]) -> str:
    """Count the work that followed from events, so that it need not be told piece by piece."""
    sent: defaultdict[int, list[int]] = defaultdict(list)
    for event in run.events.values():
        sent[event.source].append(event.id)
    seen: set[int] = set()
    below = list(events)
    while below:
        fresh = set(run.events[below.pop()].takers) - seen
        seen |= fresh
        below += [id for one in fresh for id in sent[one]]
    if not seen:
        return ""
    return (
        f", with the {len(seen):,} invocations that follow from it" if len(seen) > 1 else ", with what follows from it"
    )


def _tell_work(site: Site) -> Iterator[Point]:
    a, b, found, sure = site.a, site.b, site.found, site.sure
    for id in found.undone:
        event = a.invocations[id].event
        if sure.has_event(event):
            what = f"{name_invocation(a, id)} worked on {name_event(a, event)} in the first run"
            sentence = f"{what}; the second run has no record of that."
            yield Point(kind="step", sentence=sentence, at=id, a=id, proven=sure.is_known(1, found.events[event]))
        else:
            site.skip()
    for event, id in found.done:
        if sure.has_event(event):
            what = f"{name_invocation(b, id)} worked on {name_event(b, b.invocations[id].event)} in the second run"
            sentence = f"{what}; the first run has no record of that."
            yield Point(kind="step", sentence=sentence, at=event, b=id, proven=sure.is_known(0, event))
        else:
            site.skip()
    yield from _tell_collections(site)


def _tell_collections(site: Site) -> Iterator[Point]:
    a, b, (acts, others) = site.a, site.b, site.acts
    for id in site.found.uncollected:
        if site.sure.whole or (site.sure.is_complete(1) and _is_of_step(acts[id])):
            what = f"{_name_act(a, acts[id])} completed a collection in the first run"
            yield Point(kind="collection", sentence=f"{what}; the second run has no such record.", at=id, a=id)
        else:
            site.skip()
    for id in site.found.collected:
        if site.sure.whole or (site.sure.is_complete(0) and _is_of_step(others[id])):
            what = f"{_name_act(b, others[id])} completed a collection in the second run"
            yield Point(kind="collection", sentence=f"{what}; the first run has no such record.", at=id, b=id)
        else:
            site.skip()


def _is_of_step(act: Act) -> bool:
    return act.invocation is not None and bool(act.invocation.step)


def _name_act(run: Run, act: Act) -> str:
    return name_invocation(run, act.invocation.id if act.invocation is not None else 0)


def _compare_attempts(site: Site, one: Invocation, other: Invocation) -> Iterator[Point]:
    name = name_invocation(site.a, one.id)
    for left, right in _pair_attempts(site, one, other):
        told, others = _tell_attempt(left), _tell_attempt(right)
        if told != others:
            sentence = f"Attempt {left.number or '?'} of {name} {told} in the first run, {others} in the second."
            proven = all(
                attempt.outcome != "open" or site.sure.is_known(side, attempt.first or id)
                for side, (attempt, id) in enumerate(((left, one.id), (right, other.id)))
            )
            yield Point(
                kind="attempt",
                sentence=sentence,
                at=one.id,
                a=one.id,
                b=other.id,
                left=told,
                right=others,
                proven=proven,
            )
            return
    tries = len(one.attempts), len(other.attempts)
    if tries[0] != tries[1]:
        sentence = f"{_times(tries[0])} of {name} in the first run, {_times(tries[1])} in the second."
        left_count, right_count = map(str, tries)
        less = (one, other)[tries[1] < tries[0]]
        point = Point(
            kind="attempt", sentence=sentence, at=one.id, a=one.id, b=other.id, left=left_count, right=right_count
        )
        yield doubt(point, proven=site.sure.is_closed(int(less is other), less.id))


def _pair_attempts(site: Site, one: Invocation, other: Invocation) -> list[tuple[Attempt, Attempt]]:
    """Lay the attempts beside each other; where some may be missing, those with one number that only one has."""
    if site.sure.whole:
        return list(zip(one.attempts, other.attempts, strict=False))
    counts = [Counter(each.number for each in side.attempts) for side in (one, other)]
    theirs = {each.number: each for each in other.attempts}
    return [
        (each, theirs[each.number])
        for each in one.attempts
        if each.number and counts[0][each.number] == counts[1][each.number] == 1
    ]


def _tell_attempt(attempt: Attempt) -> str:
    if attempt.error is not None:
        return f"failed with {name_kind(attempt.error.type)}: {attempt.error.message}"
    return {"open": "has no recorded end"}.get(attempt.outcome, attempt.outcome)


def _times(number: int) -> str:
    return f"{number} attempt is recorded" if number == 1 else f"{number} attempts are recorded"


def _compare_waits(site: Site, one: Invocation, other: Invocation) -> Iterator[Point]:
    ours, theirs = ([wait for each in side.attempts for wait in each.waits] for side in (one, other))
    name = name_invocation(site.a, one.id)
    closed = site.is_closed(one, other)
    for left, right in zip(ours, theirs, strict=False) if closed or len(ours) == len(theirs) else ():
        told, others = _tell_wait(left), _tell_wait(right)
        crossed = site.found.events.get(left.event, right.event) != right.event and site.sure.has_event(left.event)
        if told != others or crossed:
            told, others = (told, others) if told != others else ("got one event", "another one")
            sentence = f"A wait of {name} {told} in the first run, {others} in the second."
            point = Point(kind="wait", sentence=sentence, at=left.id, a=left.id, b=right.id, left=told, right=others)
            yield from site.tell_if(point, closed=closed)
            return
    if len(ours) != len(theirs):
        sentence = f"Of {name}, {len(ours)} waits are recorded in the first run, {len(theirs)} in the second."
        yield doubt(Point(kind="wait", sentence=sentence, at=one.id, a=one.id, b=other.id), proven=closed)


def _tell_wait(wait: Wait) -> str:
    kind = f"for {name_kind(wait.type)}"
    if not wait.ended:
        return f"{kind} has no recorded end"
    return f"{kind} was answered" if wait.event else f"{kind} ended unanswered"


def _compare_writes(site: Site, one: Act, other: Act) -> Iterator[Point]:
    name = _name_act(site.a, one)
    closed = site.is_closed(one, other)
    ours, theirs = _by_path(one.written), _by_path(other.written)
    for path in dict.fromkeys((*ours, *theirs)):
        if path in site.ignore:
            continue
        point = _compare_path(site, path, name, (ours.get(path, []), theirs.get(path, [])), (one.id, other.id))
        if point is None:
            continue
        if site.is_only_order(path):
            sentence = f"{point.sentence} Taken together, both runs wrote the same to it."
            site.moved.append(Point(kind="order", sentence=sentence, at=point.at, a=point.a, b=point.b, path=path))
        elif point.a and point.b and not closed:  # one before it may be missing
            site.skip()
        else:
            yield doubt(point, proven=closed and (site.sure.whole or not site.may_be_order(path)))


def _by_path(writes: Sequence[ContextWritten]) -> Mapping[str, list[ContextWritten]]:
    paths: defaultdict[str, list[ContextWritten]] = defaultdict(list)
    for write in writes:
        paths[write.path].append(write)
    return paths


def _compare_path(
    site: Site,
    path: str,
    name: str,
    writes: tuple[Sequence[ContextWritten], Sequence[ContextWritten]],
    act: tuple[int, int],
) -> Point | None:
    """Find the first write of a path, in one act, that is not the same in both runs."""
    shown = path or "the whole state"
    for place in range(max(map(len, writes))):
        left, right = (side[place] if place < len(side) else None for side in writes)
        change = site.compare(*(None if each is None or each.deleted else each.value for each in (left, right)))
        if change is None and left is not None and right is not None and left.deleted == right.deleted:
            continue
        if change is None:  # one run deleted what the other one never wrote
            change = Change("", "deleted" if left else "", "deleted" if right else "")
        inner = Change(".".join(filter(None, (path, change.path))), change.left, change.right)
        a, b = (each.seq if each is not None else 0 for each in (left, right))
        sentence = _tell_write(name, inner.path or shown, change, both=left is not None and right is not None)
        where, left_text, right_text = inner
        return Point(
            kind="state", sentence=sentence, at=a or act[0], a=a, b=b, path=where, left=left_text, right=right_text
        )
    return None


def _tell_write(name: str, path: str, change: Change, *, both: bool) -> str:
    if both:
        told, others = change.left or "nothing", change.right or "nothing"
        return f"{name} wrote {told} to {path} in the first run, {others} in the second."
    here, there = ("first", "second") if change.left else ("second", "first")
    return f"{name} wrote {change.left or change.right} to {path} in the {here} run; the {there} has no record of that."


def _compare_stream(site: Site, one: Act, other: Act) -> Iterator[Point]:
    name = _name_act(site.a, one)
    closed = site.is_closed(one, other)
    for left, right in zip(one.streamed, other.streamed, strict=False):
        change = site.compare(left.body, right.body)
        if left.type != right.type:
            change = Change("", name_kind(left.type), name_kind(right.type))
        if change is not None:
            what = f"What {name} wrote to the stream ({name_kind(left.type)})"
            yield from site.tell_if(_tell("stream", what, change, left.seq, right.seq), closed=closed)
            return
    counts = len(one.streamed), len(other.streamed)
    if counts[0] != counts[1]:
        what = f"Of what {name} wrote to the stream, {counts[0]} events are recorded"
        sentence = f"{what} in the first run, {counts[1]} in the second."
        yield doubt(Point(kind="stream", sentence=sentence, at=one.id, a=one.id, b=other.id), proven=closed)


def _compare_members(site: Site, one: Act, other: Act) -> Iterator[Point]:
    if one.collected is None or other.collected is None:
        return
    known = site.found.events
    ours = [known.get(id, min(0, id)) for id in one.collected.events]
    theirs = list(other.collected.events)
    name = _name_act(site.a, one)
    if sorted(ours) != sorted(theirs):
        if not site.sure.whole:  # what it collected may be the same, and the record of it may be missing
            site.skip()
            return
        sentence = f"{name} collected {len(ours)} events in the first run; in the second it collected other ones."
        yield Point(kind="collection", sentence=sentence, at=one.id, a=one.id, b=other.id)
    elif ours != theirs and all(map(site.sure.has_event, one.collected.events)):
        sentence = f"{name} collected the same events in another order."
        site.moved.append(Point(kind="order", sentence=sentence, at=one.id, a=one.id, b=other.id))


def _compare_ends(site: Site, last: int) -> Iterator[Point]:
    one, other = (_tell_end(run) for run in (site.a, site.b))
    if one != other:
        sentence = f"The first run {one}; the second {other}."
        point = Point(kind="outcome", sentence=sentence, at=last + 1, left=site.a.outcome, right=site.b.outcome)
        yield doubt(point, proven=not {site.a.outcome, site.b.outcome} & {"open", "paused"})


def _tell_end(run: Run) -> str:
    match run.outcome:
        case "open":
            return "has no recorded end"
        case "paused":
            return f"is paused ({run.reason})"
        case "cancelled" | "timed out":
            return f"{'was ' if run.outcome == 'cancelled' else ''}{run.outcome}"
        case "failed" if run.error is not None:
            return f"failed with {name_kind(run.error.type)}: {run.error.message}"
        case _:
            return run.outcome
