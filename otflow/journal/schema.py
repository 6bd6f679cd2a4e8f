"""The schema of a journal, with its version, and the way there from every earlier one.

Tables hold what is; the views are for people with the sqlite3 shell, and are made anew with each version. A record is
found by one number made of that of its run and its own, so that the records of a run lie together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from otflow.journal.faults import JournalError

__all__ = [
    "APPLICATION",
    "BITS",
    "COUNT",
    "ENDED",
    "LAST",
    "MIGRATIONS",
    "RECOUNT",
    "VIEWS",
    "check_version",
    "migrate",
]

APPLICATION = 0x07F10001
"""Says in the head of the file that it is a journal."""
BITS = 32
"""The id of a record is the number of its run, shifted by so many bits, plus its own."""

_FIRST = """
CREATE TABLE owner (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    pid INTEGER NOT NULL, host TEXT NOT NULL, since INTEGER NOT NULL, token TEXT NOT NULL
);
CREATE TABLE run (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workflow TEXT NOT NULL DEFAULT '',
    graph TEXT NOT NULL DEFAULT '',
    started INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    outcome TEXT NOT NULL DEFAULT 'open',
    reason TEXT NOT NULL DEFAULT '',
    parent_run TEXT NOT NULL DEFAULT '',
    session TEXT NOT NULL DEFAULT '',
    user TEXT NOT NULL DEFAULT '',
    last INTEGER NOT NULL,
    records INTEGER NOT NULL DEFAULT 0,
    redacted INTEGER NOT NULL DEFAULT 0,
    owner INTEGER
);
CREATE INDEX run_started ON run (started);
CREATE INDEX run_owner ON run (owner) WHERE owner IS NOT NULL;
CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    precise TEXT
);
CREATE TABLE superseded (
    run INTEGER NOT NULL, by_seq INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL,
    precise TEXT
);
CREATE INDEX superseded_run ON superseded (run);
CREATE TABLE inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL, at INTEGER NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL, step TEXT NOT NULL DEFAULT ''
);
"""

_SECOND = """
ALTER TABLE inbox ADD COLUMN reason TEXT NOT NULL DEFAULT '';
CREATE INDEX run_parent ON run (parent_run) WHERE parent_run != '';
"""

# Nothing moves, but `ended`, `last` and `records` of a run may tell how it stood some records ago, for a step gets a
# fifth dearer if each batch writes its row. Who reads them looks at the records behind `last`, of which there are few.
_THIRD = ""

MIGRATIONS: tuple[str, ...] = (_FIRST, _SECOND, _THIRD)
"""What leads from each version to the next one; the version of a file is how many of them it has seen."""


_TOP = f"((run.no << {BITS}) | {2**BITS - 1})"
_NEWEST = f"FROM record x WHERE x.id BETWEEN (run.no << {BITS}) AND {_TOP} ORDER BY x.id DESC LIMIT 1"
ENDED = f"coalesce((SELECT x.at {_NEWEST}), run.ended)"
"""The time of the last record of a run, beside its row of `run`."""
LAST = f"coalesce((SELECT x.id & {2**BITS - 1} {_NEWEST}), 0)"
"""The number of that record, likewise; 0 if there is none."""
COUNT = f"""(run.records + (
    SELECT count(*) FROM record x WHERE x.id > ((run.no << {BITS}) | run.last) AND x.id <= {_TOP}))"""
"""How many records the run has, likewise: few are counted."""
RECOUNT = f"(SELECT count(*) FROM record x WHERE x.id BETWEEN (run.no << {BITS}) AND {_TOP})"
"""The same, whatever its row says: all are counted."""


def _time(nanoseconds: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', {nanoseconds} / 1e9, 'unixepoch')"


_OF_RUN = f"x ON x.id BETWEEN (r.no << {BITS}) AND ((r.no << {BITS}) | {2**BITS - 1})"
_SEQ = f"(x.id & {2**BITS - 1})"
_FIELD = "json_extract(x.data, '$.{}')".format
_CARRIED = "coalesce(x.data -> '$.carried.state', x.data -> '$.snapshot.state')"
_PLACE = f"CASE x.kind WHEN 'ContextWritten' THEN {_FIELD('path')} ELSE '' END"
_CARRIES = f"x.kind IN ('RunStarted', 'RunResumed') AND {_CARRIED} IS NOT NULL"
_ABOVE = "substr(rtrim({0}, replace({0}, '.', '')), 1, length(rtrim({0}, replace({0}, '.', ''))) - 1)".format
"""Where the value of a path stands in: all before its last dot."""

# The last write to each path, unless it deleted, or one of the paths above was written later. All that stands above a
# path is listed and sorted: to compare each write with each other, or to look them up in here, takes quadratic time.
_STANDING = f"""
    WITH RECURSIVE
        latest AS (
            SELECT path, max(id) AS id, deleted FROM (
                SELECT x.id AS id, {_PLACE} AS path,
                    CASE x.kind WHEN 'ContextWritten' THEN coalesce({_FIELD("deleted")}, 0) ELSE 0 END AS deleted
                FROM record x WHERE x.id BETWEEN (r.no << {BITS}) AND ((r.no << {BITS}) | {2**BITS - 1})
                    AND (x.kind = 'ContextWritten' OR ({_CARRIES})))
            GROUP BY path),
        above AS (
            SELECT path, id, deleted, path AS upper FROM latest
            UNION ALL
            SELECT path, id, deleted, CASE WHEN instr(upper, '.') THEN {_ABOVE("upper")} ELSE '' END
            FROM above WHERE upper <> ''),
        compared AS (
            SELECT path, id, deleted, max(CASE upper WHEN path THEN id END) OVER (PARTITION BY upper) AS written
            FROM above)
    SELECT json_group_array(id) FROM (
        SELECT id FROM compared GROUP BY path HAVING NOT deleted AND id >= max(coalesce(written, 0)))"""

VIEWS = {
    "runs": f"""
        SELECT id, workflow, outcome, {_time("started")} AS started, {_time("last_at")} AS ended,
            (last_at - started) / 1e9 AS seconds, held AS records, reason, parent_run, session, user,
            (SELECT pid FROM owner WHERE number = told.owner) AS owner_pid,
            (SELECT host FROM owner WHERE number = told.owner) AS owner_host,
            started AS started_ns, last_at AS ended_ns
        FROM (SELECT run.*, {ENDED} AS last_at, {COUNT} AS held FROM run) told""",
    "records": f"""
        SELECT r.id AS run, {_SEQ} AS seq, {_time("x.at")} AS at, x.kind AS kind, x.data AS data
        FROM run r JOIN record {_OF_RUN}""",
    "events": f"""
        SELECT r.id AS run, {_SEQ} AS event, {_time("x.at")} AS at,
            CASE x.kind WHEN 'EventReceived' THEN 'received' ELSE 'sent' END AS how,
            {_FIELD("type")} AS type, x.data -> '$.body' AS payload, {_FIELD("invocation")} AS invocation,
            coalesce({_FIELD("target")}, '') AS target
        FROM run r JOIN record {_OF_RUN} WHERE x.kind IN ('EventReceived', 'EventSent')""",
    "writes": f"""
        SELECT r.id AS run, {_SEQ} AS seq, {_time("x.at")} AS at, {_FIELD("path")} AS path,
            x.data -> '$.value' AS value, coalesce({_FIELD("deleted")}, 0) AS deleted,
            {_FIELD("invocation")} AS invocation
        FROM run r JOIN record {_OF_RUN} WHERE x.kind = 'ContextWritten'
        UNION ALL
        SELECT r.id, {_SEQ}, {_time("x.at")}, '',
            {_CARRIED},
            0, NULL
        FROM run r JOIN record {_OF_RUN} WHERE x.kind IN ('RunStarted', 'RunResumed')
            AND {_CARRIED} IS NOT NULL""",
    "state": f"""
        SELECT r.id AS run, {_PLACE} AS path,
            CASE x.kind WHEN 'ContextWritten' THEN x.data -> '$.value' ELSE {_CARRIED} END AS value,
            {_SEQ} AS seq, {_time("x.at")} AS at,
            CASE x.kind WHEN 'ContextWritten' THEN {_FIELD("invocation")} END AS invocation
        FROM run r JOIN json_each(({_STANDING})) e JOIN record x ON x.id = e.value""",
    "steps": f"""
        SELECT r.id AS run, {_FIELD("invocation")} AS invocation, {_FIELD("attempt")} AS attempt,
            max({_FIELD("step")}) AS step, max({_FIELD("event")}) AS event,
            {_time("min(CASE x.kind WHEN 'StepStarted' THEN x.at END)")} AS started,
            {_time("max(CASE x.kind WHEN 'StepStarted' THEN NULL ELSE x.at END)")} AS ended,
            (max(CASE x.kind WHEN 'StepStarted' THEN NULL ELSE x.at END)
                - max(CASE x.kind WHEN 'StepStarted' THEN x.at END)) / 1e9 AS seconds,
            CASE min(x.kind) WHEN 'StepCompleted' THEN 'completed' WHEN 'StepFailed' THEN 'failed' ELSE 'open' END
                AS outcome,
            max({_FIELD("error.message")}) AS error,
            sum(x.kind = 'StepStarted') AS starts
        FROM run r JOIN record {_OF_RUN} WHERE x.kind IN ('StepStarted', 'StepCompleted', 'StepFailed')
        GROUP BY r.id, {_FIELD("invocation")}, {_FIELD("attempt")}""",
}
"""The views, by name."""


def check_version(connection: sqlite3.Connection, path: str, newest: int = len(MIGRATIONS)) -> int:
    """Return the version of a file; 0 for an empty one.

    Args:
        connection: the open file.
        path: its name, for messages.
        newest: the newest version that can be read; default that of this release.

    Raises:
        JournalError: it is another kind of database, or of a newer release.
    """
    [version] = connection.execute("PRAGMA user_version").fetchone()
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [tables] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION and (tables or version):
        raise JournalError(f"{path} is a database of something else, and no journal. Name another file.")
    if version > newest:
        raise JournalError(
            f"The journal {path} has the version {version}, and this release of otflow knows versions up to {newest}. "
            "Use the release that wrote it, or a newer one."
        )
    return int(version)


def migrate(connection: sqlite3.Connection, path: str, steps: Sequence[str] = MIGRATIONS) -> None:
    """Bring a file to the newest version; all of it or nothing.

    Args:
        connection: the open file, in autocommit mode.
        path: its name, for messages.
        steps: what leads from each version to the next; default those of this release.

    Raises:
        JournalError: it is another kind of database, or of a newer release.
    """
    if check_version(connection, path, len(steps)) == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in steps[check_version(connection, path, len(steps)) :]:  # another process may have been faster
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        for name, query in VIEWS.items():
            connection.execute(f"DROP VIEW IF EXISTS {name}")
            connection.execute(f"CREATE VIEW {name} AS {query}")
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:  # whatever it was, nothing is left half done
        connection.execute("ROLLBACK")
        raise
