//! Bounded read-through cache over the store ports of Leadtrail
