use crate::time::Timestamp;

/// What time it is. Supplied by the store, so that every node of a service goes by one clock.
pub trait Clock: Send + Sync {
    /// Now. May step backwards; callers compare, they do not assume.
    fn now(&self) -> Timestamp;
}
