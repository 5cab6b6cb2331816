-- No foreign keys, as with the events that they are.
CREATE TABLE conversions (
    project_id uuid NOT NULL,
    -- Begins with the time, so that a project's newest are the last of it.
    conversion_id uuid NOT NULL,
    name text NOT NULL,
    pixel_id text NOT NULL,
    event_id uuid NOT NULL,
    visitor_id uuid NOT NULL,
    session_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    -- NULL: nobody said what it is worth.
    value double precision,
    touches jsonb NOT NULL,
    rules_version integer NOT NULL,
    PRIMARY KEY (project_id, conversion_id)
);

CREATE INDEX conversions_event ON conversions (event_id);

CREATE INDEX conversions_visitor ON conversions (visitor_id);
