DROP INDEX sync_jobs_ended;

CREATE INDEX sync_jobs_due ON sync_jobs (due_at, job_id) WHERE status = 'pending';

DROP INDEX sync_jobs_queue;

DROP TABLE crm_connections;

ALTER TABLE sync_attempts DROP COLUMN steps;
