-- No foreign keys, as with the events that they are.
CREATE TABLE conversions (
    project_id BLOB NOT NULL,
    -- Begins with the time, so that a project's newest are the last of it.
    conversion_id BLOB NOT NULL,
    name TEXT NOT NULL,
    pixel_id TEXT NOT NULL,
    event_id BLOB NOT NULL,
    visitor_id BLOB NOT NULL,
    session_id BLOB NOT NULL,
    occurred_at INTEGER NOT NULL,
    -- NULL: nobody said what it is worth.
    value REAL,
    touches TEXT NOT NULL,
    rules_version INTEGER NOT NULL,
    PRIMARY KEY (project_id, conversion_id)
) STRICT;

CREATE INDEX conversions_event ON conversions (event_id);

CREATE INDEX conversions_visitor ON conversions (visitor_id);
