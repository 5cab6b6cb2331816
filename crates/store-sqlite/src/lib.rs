//! The store ports of Leadtrail on embedded SQLite
