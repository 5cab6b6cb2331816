DROP TABLE crm_writes;

DROP TABLE sync_attempts;

DROP TABLE sync_jobs;

DROP TABLE identities;

DROP TABLE submissions;

DROP TABLE leads;

DROP TABLE tracking_events;

DROP TABLE touchpoints;

DROP TABLE sessions;

DROP TABLE visitors;

DROP TABLE api_keys;

DROP TABLE pixels;

DROP TABLE projects;
