-- Ids that people write are compared byte by byte (COLLATE "C"), so that lists have the same order on every server and
-- on SQLite.

CREATE TABLE projects (
    project_id uuid PRIMARY KEY,
    slug text COLLATE "C" NOT NULL UNIQUE,
    name text NOT NULL,
    settings jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    archived_at timestamptz
);

CREATE TABLE pixels (
    pixel_id text COLLATE "C" PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects,
    name text NOT NULL,
    settings jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    archived_at timestamptz
);
CREATE INDEX pixels_project ON pixels (project_id, pixel_id);

CREATE TABLE api_keys (
    key_id uuid PRIMARY KEY,
    name text NOT NULL,
    prefix text NOT NULL,
    hash bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    scopes jsonb NOT NULL,
    project_id uuid REFERENCES projects,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz
);

-- The tables below name projects, pixels and one another without foreign keys: what they name is written in the same
-- statement or was checked when the message arrived, and a check per row would cost the hot path more than the row.

CREATE TABLE visitors (
    visitor_id uuid PRIMARY KEY,
    project_id uuid NOT NULL,
    cookie text COLLATE "C",
    version bigint NOT NULL CHECK (version >= 1),
    first_seen_at timestamptz NOT NULL,
    UNIQUE (project_id, cookie)
) WITH (fillfactor = 85); -- room for the next version on the same page

CREATE TABLE sessions (
    session_id uuid PRIMARY KEY,
    project_id uuid NOT NULL,
    visitor_id uuid NOT NULL,
    pixel_id text COLLATE "C" NOT NULL,
    opening_event_id uuid NOT NULL,
    started_at timestamptz NOT NULL,
    source text,
    medium text,
    campaign text,
    channel text,
    landing_page text NOT NULL
);
CREATE INDEX sessions_visitor ON sessions (visitor_id, started_at);

CREATE TABLE touchpoints (
    visitor_id uuid NOT NULL,
    at timestamptz NOT NULL,
    event_id uuid NOT NULL,
    -- In the key, because the ids of events are unique per pixel only.
    pixel_id text COLLATE "C" NOT NULL,
    project_id uuid NOT NULL,
    session_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('utm', 'click_id', 'referrer', 'direct')),
    source text,
    medium text,
    campaign text,
    channel text,
    touch jsonb NOT NULL,
    rules_version integer NOT NULL,
    PRIMARY KEY (visitor_id, at, event_id, pixel_id)
);

CREATE TABLE tracking_events (
    event_id uuid NOT NULL,
    pixel_id text COLLATE "C" NOT NULL,
    -- A function of the event id alone, so that a retry after midnight meets its first copy.
    partition_at timestamptz NOT NULL,
    project_id uuid NOT NULL,
    visitor_id uuid NOT NULL,
    session_id uuid NOT NULL,
    lead_id uuid,
    original_id text,
    event_type text NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    page_url text NOT NULL,
    page_title text,
    referrer_url text,
    utm_source text,
    utm_medium text,
    utm_campaign text,
    utm_term text,
    utm_content text,
    utm_id text,
    utm_extra jsonb,
    gclid text,
    fbclid text,
    msclkid text,
    ttclid text,
    twclid text,
    li_fat_id text,
    sc_click_id text,
    -- NULL where the seven columns, in their order, are all there is; else every click id in the order received: by
    -- name where a column holds its value, else as a pair of name and value.
    click_ids jsonb,
    campaign_region text,
    ad_group text,
    ad_id text,
    search_query text,
    form_data jsonb,
    viewport_width integer,
    viewport_height integer,
    screen_width integer,
    screen_height integer,
    language text,
    props jsonb,
    value double precision,
    consent text CHECK (consent IN ('granted', 'denied')),
    ip_address inet,
    user_agent text,
    device_type text,
    operating_system text,
    browser text,
    bot text,
    country text,
    region text,
    city text,
    rules_version integer NOT NULL,
    pipedrive_sync_status text CHECK (pipedrive_sync_status IN
        ('pending', 'held', 'synced', 'not_found', 'ambiguous', 'error', 'superseded', 'skipped', 'erased')),
    pipedrive_sync_at timestamptz,
    pipedrive_person_id text,
    -- Which transaction wrote the row: rollups fold what lies below their snapshot's xmin and skip no late commit.
    recorded_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (event_id, pixel_id, partition_at)
) PARTITION BY RANGE (partition_at);
CREATE INDEX tracking_events_pixel ON tracking_events (pixel_id, occurred_at);
CREATE INDEX tracking_events_visitor ON tracking_events (visitor_id, occurred_at);

CREATE TABLE tracking_events_undated PARTITION OF tracking_events
    FOR VALUES FROM (MINVALUE) TO ('2020-01-01 00:00:00+00');
CREATE TABLE tracking_events_default PARTITION OF tracking_events DEFAULT;

CREATE TABLE leads (
    lead_id uuid PRIMARY KEY,
    project_id uuid NOT NULL,
    pixel_id text COLLATE "C" NOT NULL,
    event_id uuid NOT NULL,
    visitor_id uuid NOT NULL,
    session_id uuid NOT NULL,
    job_id uuid,
    email text NOT NULL,
    email_hash bytea NOT NULL CHECK (length(email_hash) = 32),
    first_name text,
    last_name text,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    touches jsonb NOT NULL,
    session_touch jsonb,
    rules_version integer NOT NULL
);
CREATE INDEX leads_person ON leads (project_id, email_hash);
CREATE INDEX leads_job ON leads (job_id);

CREATE TABLE submissions (
    submission_key bytea NOT NULL CHECK (length(submission_key) = 32),
    count bigint NOT NULL,
    project_id uuid NOT NULL,
    lead_id uuid NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (submission_key, count)
);

CREATE TABLE identities (
    project_id uuid NOT NULL,
    email_hash bytea NOT NULL CHECK (length(email_hash) = 32),
    visitor_id uuid NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (project_id, email_hash, visitor_id)
);

CREATE TABLE sync_jobs (
    job_id uuid PRIMARY KEY,
    project_id uuid NOT NULL,
    account text COLLATE "C" NOT NULL,
    lead_id uuid NOT NULL,
    email_hash bytea NOT NULL CHECK (length(email_hash) = 32),
    sequence bigint NOT NULL,
    created_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN
        ('pending', 'held', 'synced', 'not_found', 'ambiguous', 'error', 'superseded', 'skipped', 'erased')),
    looks integer NOT NULL DEFAULT 0,
    failures integer NOT NULL DEFAULT 0,
    wanted jsonb,
    planned jsonb,
    persons jsonb NOT NULL DEFAULT '[]',
    last_error text,
    ended_at timestamptz,
    lease_number bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    UNIQUE (project_id, email_hash, sequence)
);
CREATE INDEX sync_jobs_due ON sync_jobs (due_at, job_id) WHERE status = 'pending';
CREATE INDEX sync_jobs_project ON sync_jobs (project_id, job_id);

CREATE TABLE sync_attempts (
    job_id uuid NOT NULL REFERENCES sync_jobs,
    number integer NOT NULL,
    project_id uuid NOT NULL,
    at timestamptz NOT NULL,
    status text NOT NULL CHECK (status IN
        ('pending', 'held', 'synced', 'not_found', 'ambiguous', 'error', 'superseded', 'skipped', 'erased')),
    note text NOT NULL,
    PRIMARY KEY (job_id, number)
);

-- A ledger: one row per field per write, no key, because nothing forbids the same field twice.
CREATE TABLE crm_writes (
    project_id uuid NOT NULL,
    account text COLLATE "C" NOT NULL,
    person_id text COLLATE "C" NOT NULL,
    field_key text COLLATE "C" NOT NULL,
    job_id uuid NOT NULL REFERENCES sync_jobs,
    at timestamptz NOT NULL,
    value_before jsonb,
    value_after jsonb NOT NULL
);
CREATE INDEX crm_writes_person ON crm_writes (project_id, account, person_id);
CREATE INDEX crm_writes_job ON crm_writes (job_id);

-- Ends a statement whose conditions no longer hold. The constraint's name is how the caller knows it.
CREATE FUNCTION leadtrail_require(holds boolean) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF holds THEN
        RETURN true;
    END IF;
    RAISE EXCEPTION USING
        ERRCODE = 'LT001', MESSAGE = 'the state has changed meanwhile', CONSTRAINT = 'leadtrail_stale';
END
$$;

-- Whether any of the visitors has an event after its instant that was committed before this transaction wrote.
-- VOLATILE on purpose: it looks with a snapshot of its own, taken after the caller's locks were granted.
CREATE FUNCTION leadtrail_event_after(visitors uuid[], instants timestamptz[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM unnest(visitors, instants) AS known (visitor_id, latest_at)
        JOIN tracking_events e ON e.visitor_id = known.visitor_id AND e.occurred_at > known.latest_at
        WHERE e.recorded_xid <> pg_current_xact_id()
    );
END
$$;

-- Creates the partition of the month (UTC) that an instant lies in; false where it was there. Rows of that month that
-- lie in DEFAULT, which would make ATTACH fail, are moved first, while nobody can add to them. The lock on DEFAULT
-- stops every statement on events for as long as it is waited for and held, hence the short lock_timeout: who gives
-- up tries again at the next upkeep, months before the partition is needed.
CREATE FUNCTION leadtrail_create_partition(instant timestamptz) RETURNS boolean
LANGUAGE plpgsql
SET lock_timeout = '1s'
SET TimeZone = 'UTC'
AS $$
DECLARE
    begins_at timestamptz := date_trunc('month', instant);
    ends_at timestamptz := date_trunc('month', instant) + interval '1 month';
    partition_name text := 'tracking_events_' || to_char(instant, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('leadtrail'), hashtext('partitions'));
    IF to_regclass(partition_name) IS NOT NULL THEN
        RETURN false;
    END IF;
    LOCK TABLE tracking_events_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE %I (LIKE tracking_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition_name);
    EXECUTE format(
        'WITH moved AS (DELETE FROM tracking_events_default WHERE partition_at >= %L AND partition_at < %L RETURNING *) '
        'INSERT INTO %I SELECT * FROM moved',
        begins_at, ends_at, partition_name);
    EXECUTE format(
        'ALTER TABLE tracking_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition_name, begins_at, ends_at);
    RETURN true;
END
$$;
