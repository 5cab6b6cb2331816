//! The one HTTP client of Leadtrail for calls to the world: timeouts, size caps, no redirects
