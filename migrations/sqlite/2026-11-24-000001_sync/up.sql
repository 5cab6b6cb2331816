-- What was asked of the CRM and what it answered: a JSON list.
ALTER TABLE sync_attempts ADD COLUMN steps TEXT NOT NULL DEFAULT '[]';

CREATE TABLE crm_connections (
    project_id BLOB NOT NULL PRIMARY KEY REFERENCES projects (project_id),
    -- Encrypted; who has the file alone cannot read it.
    sealed BLOB NOT NULL CHECK (length(sealed) <= 16384),
    set_at INTEGER NOT NULL
) STRICT;

-- Claims go by queue, a project's account, and what is due is counted by queue: with the lease, from the index alone.
-- A release that claims over all queues still finds its jobs here, and sorts them.
CREATE INDEX sync_jobs_queue ON sync_jobs (project_id, account, due_at, job_id, lease_until) WHERE status = 'pending';

DROP INDEX sync_jobs_due;

-- How the jobs of the last while ended. Not `IS NOT NULL`, for the reason given at `tracking_events_lead`.
CREATE INDEX sync_jobs_ended ON sync_jobs (ended_at, project_id, status) WHERE ended_at > 0;
