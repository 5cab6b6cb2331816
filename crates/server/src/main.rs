//! The Leadtrail server.

fn main() {}
