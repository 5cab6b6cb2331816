//! The store ports of Leadtrail on PostgreSQL
