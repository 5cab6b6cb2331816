//! Driving adapter of Leadtrail: actix routes, wire shapes, problem+json
