//! What every adapter of a Leadtrail port must do: suites to run against your own
