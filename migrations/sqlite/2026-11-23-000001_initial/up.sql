-- Ids are UUIDs as BLOB(16), hashes BLOB(32), instants INTEGER microseconds since 1970-01-01T00:00:00Z, JSON is TEXT.
-- STRICT: a value of another type is an error when it is written, not a surprise when it is read.

CREATE TABLE projects (
    project_id BLOB NOT NULL PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    archived_at INTEGER
) STRICT;

CREATE TABLE pixels (
    pixel_id TEXT NOT NULL PRIMARY KEY,
    project_id BLOB NOT NULL REFERENCES projects (project_id),
    name TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    archived_at INTEGER
) STRICT;

CREATE INDEX pixels_project ON pixels (project_id, pixel_id);

CREATE TABLE api_keys (
    key_id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    scopes TEXT NOT NULL,
    -- NULL: every project.
    project_id BLOB REFERENCES projects (project_id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    revoked_at INTEGER
) STRICT;

-- From here on no foreign keys, unless they say so: these rows are written together, by one transaction that was
-- decided from what exists, and each key would cost the busiest path a look-up per row. The names of projects and
-- pixels are checked before an event is taken in, and neither is ever deleted.

CREATE TABLE visitors (
    visitor_id BLOB NOT NULL PRIMARY KEY,
    project_id BLOB NOT NULL,
    -- NULL: a visitor who is not recognised; any number of them.
    cookie TEXT,
    version INTEGER NOT NULL,
    first_seen_at INTEGER NOT NULL,
    UNIQUE (project_id, cookie)
) STRICT;

-- When a session's latest event occurred is not kept: it follows from the events.
CREATE TABLE sessions (
    session_id BLOB NOT NULL PRIMARY KEY,
    project_id BLOB NOT NULL,
    visitor_id BLOB NOT NULL,
    pixel_id TEXT NOT NULL,
    opening_event_id BLOB NOT NULL,
    started_at INTEGER NOT NULL,
    source TEXT,
    medium TEXT,
    campaign TEXT,
    channel TEXT,
    landing_page TEXT NOT NULL
) STRICT;

CREATE INDEX sessions_visitor ON sessions (visitor_id, started_at);

CREATE TABLE touchpoints (
    visitor_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    -- In the key, because the ids of events are unique per pixel only.
    pixel_id TEXT NOT NULL,
    project_id BLOB NOT NULL,
    session_id BLOB NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('utm', 'click_id', 'referrer', 'direct')),
    source TEXT,
    medium TEXT,
    campaign TEXT,
    channel TEXT,
    -- The whole touch; the columns beside it are for reports.
    touch TEXT NOT NULL,
    rules_version INTEGER NOT NULL,
    PRIMARY KEY (visitor_id, at, event_id, pixel_id)
) STRICT;

-- A rowid table: with the key's order as the table's own (WITHOUT ROWID) a row takes three times the space.
CREATE TABLE tracking_events (
    event_id BLOB NOT NULL,
    pixel_id TEXT NOT NULL,
    -- Follows from event_id alone; here only so that both databases hold the same.
    partition_at INTEGER NOT NULL,
    project_id BLOB NOT NULL,
    visitor_id BLOB NOT NULL,
    session_id BLOB NOT NULL,
    lead_id BLOB,
    original_id TEXT,
    -- No CHECK: sites name events of their own.
    event_type TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    page_url TEXT NOT NULL,
    page_title TEXT,
    referrer_url TEXT,
    utm_source TEXT,
    utm_medium TEXT,
    utm_campaign TEXT,
    utm_term TEXT,
    utm_content TEXT,
    utm_id TEXT,
    -- JSON list of [parameter, value]; NULL: none.
    utm_extra TEXT,
    gclid TEXT,
    fbclid TEXT,
    msclkid TEXT,
    ttclid TEXT,
    twclid TEXT,
    li_fat_id TEXT,
    sc_click_id TEXT,
    -- JSON list of [parameter, value] beyond the seven columns; [parameter] stands for a column where the order in
    -- which they came is not that of the columns. NULL: the columns say all.
    click_ids TEXT,
    campaign_region TEXT,
    ad_group TEXT,
    ad_id TEXT,
    search_query TEXT,
    form_data TEXT,
    viewport_width INTEGER,
    viewport_height INTEGER,
    screen_width INTEGER,
    screen_height INTEGER,
    language TEXT,
    -- JSON object; NULL: none.
    props TEXT,
    value REAL,
    consent TEXT CHECK (consent IN ('granted', 'denied')),
    ip_address TEXT,
    user_agent TEXT,
    device_type TEXT,
    operating_system TEXT,
    browser TEXT,
    bot TEXT,
    country TEXT,
    region TEXT,
    city TEXT,
    rules_version INTEGER NOT NULL,
    pipedrive_sync_status TEXT CHECK (
        pipedrive_sync_status IN (
            'pending', 'held', 'synced', 'not_found', 'ambiguous', 'error', 'superseded', 'skipped', 'erased'
        )
    ),
    pipedrive_sync_at INTEGER,
    pipedrive_person_id TEXT,
    PRIMARY KEY (event_id, pixel_id)
) STRICT;

CREATE INDEX tracking_events_pixel ON tracking_events (pixel_id, occurred_at);

-- With the session, so that a visitor's sessions and their ends are read from the index alone.
CREATE INDEX tracking_events_visitor ON tracking_events (visitor_id, occurred_at, session_id);

-- Few events have a lead: what becomes of it is shown on them. Not `IS NOT NULL`: for each query on this table SQLite
-- would ask whether one of its parameters proves that, and prepare the statement anew with each value bound (an eighth
-- of all time under load).
CREATE INDEX tracking_events_lead ON tracking_events (lead_id) WHERE lead_id > x'';

CREATE TABLE leads (
    lead_id BLOB NOT NULL PRIMARY KEY,
    project_id BLOB NOT NULL,
    pixel_id TEXT NOT NULL,
    event_id BLOB NOT NULL,
    visitor_id BLOB NOT NULL,
    session_id BLOB NOT NULL,
    job_id BLOB,
    email TEXT NOT NULL,
    email_hash BLOB NOT NULL,
    first_name TEXT,
    last_name TEXT,
    occurred_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    touches TEXT NOT NULL,
    session_touch TEXT,
    rules_version INTEGER NOT NULL
) STRICT;

CREATE INDEX leads_person ON leads (project_id, email_hash);

CREATE INDEX leads_job ON leads (job_id);

CREATE TABLE submissions (
    submission_key BLOB NOT NULL,
    count INTEGER NOT NULL,
    project_id BLOB NOT NULL,
    lead_id BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (submission_key, count)
) STRICT, WITHOUT ROWID;

CREATE TABLE identities (
    project_id BLOB NOT NULL,
    email_hash BLOB NOT NULL,
    visitor_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (project_id, email_hash, visitor_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE sync_jobs (
    job_id BLOB NOT NULL PRIMARY KEY,
    project_id BLOB NOT NULL,
    account TEXT NOT NULL,
    lead_id BLOB NOT NULL,
    email_hash BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (
        status IN (
            'pending', 'held', 'synced', 'not_found', 'ambiguous', 'error', 'superseded', 'skipped', 'erased'
        )
    ),
    looks INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    -- NULL: nothing is frozen yet, further leads may join.
    wanted TEXT,
    planned TEXT,
    persons TEXT NOT NULL,
    last_error TEXT,
    ended_at INTEGER,
    lease_number INTEGER NOT NULL,
    -- NULL: nobody works on it.
    lease_until INTEGER,
    UNIQUE (project_id, email_hash, sequence)
) STRICT;

CREATE INDEX sync_jobs_due ON sync_jobs (due_at, job_id) WHERE status = 'pending';

CREATE INDEX sync_jobs_project ON sync_jobs (project_id, job_id);

CREATE TABLE sync_attempts (
    job_id BLOB NOT NULL REFERENCES sync_jobs (job_id),
    number INTEGER NOT NULL,
    project_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (
        status IN (
            'pending', 'held', 'synced', 'not_found', 'ambiguous', 'error', 'superseded', 'skipped', 'erased'
        )
    ),
    note TEXT NOT NULL,
    PRIMARY KEY (job_id, number)
) STRICT, WITHOUT ROWID;

-- The ledger of what was told to the CRM: one row per field and write. It outlives the jobs, hence no key to them.
CREATE TABLE crm_writes (
    project_id BLOB NOT NULL,
    account TEXT NOT NULL,
    person_id TEXT NOT NULL,
    field_key TEXT NOT NULL,
    job_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    -- NULL: the field was empty.
    value_before TEXT,
    value_after TEXT NOT NULL
) STRICT;

CREATE INDEX crm_writes_person ON crm_writes (project_id, account, person_id);

-- Whether a newer job of a person has been written.
CREATE INDEX crm_writes_job ON crm_writes (job_id);
