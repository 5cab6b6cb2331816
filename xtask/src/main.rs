//! Development commands of Leadtrail.

fn main() {}
