"""The statements of the store: its tables, and the state changes of a cell, each one UPDATE."""

from __future__ import annotations

SCHEMA_VERSION = 1
SCHEMA = (
    """CREATE TABLE cells (
    id TEXT PRIMARY KEY,
    position INTEGER,                       -- place in the present plan; NULL: of an earlier plan; < 0: of another method's
    role TEXT NOT NULL,
    cell TEXT NOT NULL,                     -- JSON
    status TEXT NOT NULL DEFAULT 'pending',
    attempts INTEGER NOT NULL DEFAULT 0,    -- claims, ever
    failures INTEGER NOT NULL DEFAULT 0,    -- attempts that ended in an error or a death
    failure TEXT,                           -- JSON of the last one
    owner TEXT, started REAL, heartbeat REAL, lease_until REAL,
    spent_tokens INTEGER, spent_steps INTEGER,      -- reached by the present attempt
    carried_tokens INTEGER, carried_steps INTEGER,  -- reached by the one before, until it is known where work resumed
    wasted_tokens INTEGER NOT NULL DEFAULT 0, wasted_steps INTEGER NOT NULL DEFAULT 0,
    lost_s REAL NOT NULL DEFAULT 0,                 -- wall time of attempts that did not finish
    result TEXT, result_sha256 TEXT
)""",
    """CREATE INDEX cells_by_place ON cells (status, position)""",
    """CREATE TABLE needs (cell TEXT NOT NULL, need TEXT NOT NULL, PRIMARY KEY (cell, need)) WITHOUT ROWID""",
    """CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID""",
)

END_ATTEMPT = """owner = NULL, lease_until = NULL,
    lost_s = lost_s + MAX(0, COALESCE(heartbeat - started, 0)), started = NULL"""
"""Assignments that end an attempt without a result."""

_FIRST = """SELECT * FROM (
    SELECT c.id, c.position FROM cells c
    WHERE c.status = '{status}' AND c.position >= 0 AND {free}
      AND NOT EXISTS (SELECT 1 FROM needs n JOIN cells d ON d.id = n.need WHERE n.cell = c.id AND d.status <> 'done')
    ORDER BY c.position LIMIT 1)"""
_FREE = _FIRST.format(status="pending", free="TRUE")
_EXPIRED = _FIRST.format(status="running", free="c.lease_until < :now AND c.owner <> :owner")

CLAIM = f"""
UPDATE cells SET status = 'running', owner = :owner, heartbeat = :now, lease_until = :until, attempts = attempts + 1,
    lost_s = lost_s + MAX(0, COALESCE(heartbeat - started, 0)), started = :now,
    carried_tokens = COALESCE(spent_tokens, carried_tokens), carried_steps = COALESCE(spent_steps, carried_steps),
    spent_tokens = NULL, spent_steps = NULL
WHERE id = (SELECT id FROM ({_FREE} UNION ALL {_EXPIRED}) ORDER BY position LIMIT 1)
RETURNING id, cell, role, attempts
"""
"""Take the first free cell of the plan whose needs are all done; a lease that ran out counts as free.

Not the owner's own, though: after a machine slept, its workers are still at it. One status at a time, so that the index
gives the first of each and no cell that is done is looked at.
"""

REPORT = """
UPDATE cells SET heartbeat = :now, lease_until = :until,
    wasted_tokens = wasted_tokens + MAX(0, COALESCE(carried_tokens, 0) - :tokens),
    wasted_steps = wasted_steps + MAX(0, COALESCE(carried_steps, 0) - :steps),
    carried_tokens = NULL, carried_steps = NULL, spent_tokens = :tokens, spent_steps = :steps
WHERE id = :id AND owner = :owner AND status = 'running'
"""
"""Extend a lease; the first report of an attempt settles how much of the one before was in vain."""

COMMIT = """
UPDATE cells SET status = 'done', result = :result, result_sha256 = :sha256, failure = NULL,
    owner = NULL, lease_until = NULL, started = NULL, heartbeat = :now,
    wasted_tokens = wasted_tokens + COALESCE(carried_tokens, 0),
    wasted_steps = wasted_steps + COALESCE(carried_steps, 0),
    carried_tokens = NULL, carried_steps = NULL, spent_tokens = NULL, spent_steps = NULL
WHERE id = :id AND owner = :owner AND status = 'running'
"""
"""Finish a cell, if the owner still holds it."""

CONTENT = (
    "SELECT name, sql FROM sqlite_master ORDER BY name",
    "SELECT * FROM cells ORDER BY id",
    "SELECT * FROM needs ORDER BY cell, need",
    "SELECT * FROM facts WHERE key <> :without ORDER BY key",
)
"""All that a store holds, in a fixed order."""
