-- What was asked of the CRM and what it answered, in order.
ALTER TABLE sync_attempts ADD COLUMN steps jsonb NOT NULL DEFAULT '[]';

CREATE TABLE crm_connections (
    project_id uuid PRIMARY KEY REFERENCES projects,
    -- Encrypted; who has the database alone cannot read it.
    sealed bytea NOT NULL CHECK (length(sealed) <= 16384),
    set_at timestamptz NOT NULL
);

-- Claims go by queue, a project's account, and what is due is counted by queue. A release that claims over all queues
-- still finds its jobs here, and sorts them.
CREATE INDEX sync_jobs_queue ON sync_jobs (project_id, account, due_at, job_id) WHERE status = 'pending';
DROP INDEX sync_jobs_due;

-- How the jobs of the last while ended.
CREATE INDEX sync_jobs_ended ON sync_jobs (ended_at, project_id, status) WHERE ended_at IS NOT NULL;
