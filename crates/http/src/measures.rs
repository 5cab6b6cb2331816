//! What is counted and timed of requests, by its name in Prometheus, and the events that came in them.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use leadtrail_app::measures::EventCounters;
use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};

use crate::routes::routes;

/// Requests that were answered, by `method`, `route` and `status`. What the HTTP layer refuses by itself, such as a head
/// that is none, is not among them.
pub const REQUESTS: &str = "leadtrail_http_requests_total";
/// How long answers took, by `route`.
pub const REQUEST_SECONDS: &str = "leadtrail_http_request_duration_seconds";

/// The route of a request that matches none: its path may hold anything and is nobody's label.
pub(crate) const NO_ROUTE: &str = "none";

/// Tells the recorder what the names mean.
pub fn describe_measures() {
    describe_counter!(REQUESTS, "Requests answered, by method, route and status");
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "How long answers took, by route");
}

/// The counters of a service, looked up once each.
pub(crate) struct Measures {
    pub(crate) events: EventCounters,
    routes: BTreeMap<&'static str, RouteMeasures>,
}

struct RouteMeasures {
    route: &'static str,
    seconds: Histogram,
    /// Made when first met: of the methods and statuses that there are, few occur.
    answered: RwLock<BTreeMap<(&'static str, u16), Counter>>,
}

impl Measures {
    /// Those of the recorder that is installed now.
    pub(crate) fn new() -> Self {
        let known = routes().into_iter().map(|entry| entry.path).chain([NO_ROUTE]);
        let routes = known.map(|route| {
            let seconds = histogram!(REQUEST_SECONDS, "route" => route);
            (route, RouteMeasures { route, seconds, answered: RwLock::default() })
        });
        Self { events: EventCounters::new(), routes: routes.collect() }
    }

    /// Counts an answer. `route` is the pattern, never the path.
    pub(crate) fn answered(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let Some(measures) = self.routes.get(route).or_else(|| self.routes.get(NO_ROUTE)) else { return };
        measures.seconds.record(took.as_secs_f64());
        measures.count(method_label(method), status.as_u16());
    }
}

impl RouteMeasures {
    fn count(&self, method: &'static str, status: u16) {
        let answered = self.answered.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = answered.get(&(method, status)) {
            counter.increment(1);
            return;
        }
        drop(answered);
        let counter =
            counter!(REQUESTS, "method" => method, "route" => self.route, "status" => status.to_string());
        counter.increment(1);
        self.answered.write().unwrap_or_else(PoisonError::into_inner).insert((method, status), counter);
    }
}

/// A method by its name where it is a usual one: anybody may invent others.
pub(crate) fn method_label(method: &Method) -> &'static str {
    const KNOWN: [(Method, &str); 7] = [
        (Method::GET, "GET"),
        (Method::HEAD, "HEAD"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::PATCH, "PATCH"),
        (Method::DELETE, "DELETE"),
        (Method::OPTIONS, "OPTIONS"),
    ];
    KNOWN.iter().find(|(known, _)| known == method).map_or("other", |(_, label)| label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_invent_a_label() {
        let invented = Method::from_bytes(b"BREW-a-long-story").unwrap();
        assert_eq!(method_label(&invented), "other");
        assert_eq!(method_label(&Method::PATCH), "PATCH");
        let measures = Measures::new();
        for path in ["/api/track", "/nowhere", "/api/projects/acme"] {
            measures.answered(&invented, path, StatusCode::NOT_FOUND, Duration::ZERO);
        }
        let seen: Vec<&str> = measures
            .routes
            .values()
            .filter(|route| !route.answered.read().unwrap().is_empty())
            .map(|route| route.route)
            .collect();
        assert_eq!(seen, ["/api/track", NO_ROUTE]);
    }
}
