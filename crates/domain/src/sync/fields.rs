//! Our fields.
/// Whether a name is one of our fields.
pub fn is_field(_name: &str) -> bool { true }
