//! What a request's head tells about the browser behind it.
//!
//! ```
//! use leadtrail_domain::ports::{Enrich, RequestFacts};
//! use leadtrail_enrich::Plain;
//!
//! let facts = RequestFacts { ip: None, user_agent: Some("Browser/1.0") };
//! assert_eq!(Plain.enrich(&facts).user_agent.as_deref(), Some("Browser/1.0"));
//! ```

use leadtrail_domain::event::Client;
use leadtrail_domain::ports::{Enrich, RequestFacts};
use leadtrail_domain::text::{self, USER_AGENT_CHARS_MAX};

/// Passes on what was received and concludes nothing from it: no browser, no place, no bot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Plain;

impl Enrich for Plain {
    fn enrich(&self, facts: &RequestFacts<'_>) -> Client {
        Client {
            ip: facts.ip,
            user_agent: facts.user_agent.and_then(|agent| text::clean(agent, USER_AGENT_CHARS_MAX)),
            ..Client::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_passed_on_whole_and_the_user_agent_clean_and_cut() {
        let long = format!("Browser\u{0}\r\n{}", "x".repeat(1_000_000));
        let ip = "2001:db8::1".parse().ok();
        let client = Plain.enrich(&RequestFacts { ip, user_agent: Some(&long) });
        let agent = client.user_agent.clone().unwrap();
        assert_eq!(agent.chars().count(), USER_AGENT_CHARS_MAX);
        assert!(agent.starts_with("Browserx"));
        assert_eq!(client, Client { ip, user_agent: Some(agent), ..Client::default() });
    }

    #[test]
    fn a_user_agent_of_nothing_is_absent() {
        assert_eq!(Plain.enrich(&RequestFacts { ip: None, user_agent: Some(" \t") }), Client::default());
    }
}
