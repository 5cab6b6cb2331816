//! Use cases of Leadtrail: ingest batching and the sync loop
