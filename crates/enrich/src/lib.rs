//! What a request's head tells about the browser behind it: its name, its system, its kind of device, whether a person
//! sits there, and where.
//!
//! It never asks anybody: the knowledge is in the binary (`data/README.md` names the sources), and the place is read
//! from a database file on this machine. Nothing is remembered of anybody either, but for user agents as such.
//!
//! ```
//! use leadtrail_domain::ports::{Enrich, RequestFacts};
//! use leadtrail_enrich::Knowledge;
//!
//! let knowledge = Knowledge::new(None);
//! let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
//! let client = knowledge.enrich(&RequestFacts { ip: None, user_agent: Some(agent) });
//! assert_eq!(client.browser.as_deref(), Some("Firefox"));
//! assert_eq!(client.device_type.as_deref(), Some("desktop"));
//! assert_eq!(client.bot, None);
//! ```

mod agent;
mod bot;
mod geo;
mod rules;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::thread;

use leadtrail_domain::event::Client;
use leadtrail_domain::ports::{Enrich, RequestFacts};
use leadtrail_domain::text::{self, USER_AGENT_CHARS_MAX};
use moka::sync::Cache;

use crate::agent::{Agent, Agents};
pub use crate::geo::{GeoBuild, GeoFile, GeoFileError, Place};

/// Bytes of user agents that are remembered with what they say, some 10,000 of them.
const CACHED_BYTES_MAX: u64 = 4 * 1_024 * 1_024;
/// Bytes that an entry of the cache costs beside its text.
const ENTRY_BYTES: usize = 256;

/// Everything that is known about browsers, bots and places.
///
/// The data sets are read by a thread of their own, in some tens of milliseconds. An event that comes earlier waits for
/// them, so that none is kept without what is known of it, and with it the thread it came on: a server lets nobody in
/// before [`wait`](Self::wait) has returned.
pub struct Knowledge {
    agents: Arc<LazyLock<Agents>>,
    cache: Cache<Arc<str>, Arc<Agent>>,
    geo: Option<Arc<GeoFile>>,
}

impl Knowledge {
    /// Begins to read the data sets, and the geo database where there is one.
    pub fn new(geo: Option<PathBuf>) -> Self {
        let agents: Arc<LazyLock<Agents>> = Arc::new(LazyLock::new(read_data_sets));
        let reader = Arc::clone(&agents);
        // Without a thread to spare, the first event reads them.
        let _detached = thread::Builder::new().name("enrich".to_owned()).spawn(move || {
            LazyLock::force(&reader);
        });
        let cache = Cache::builder()
            .max_capacity(CACHED_BYTES_MAX)
            .weigher(|agent: &Arc<str>, _read: &Arc<Agent>| {
                u32::try_from(agent.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
            })
            .build();
        Self { agents, cache, geo: geo.map(GeoFile::watched) }
    }

    /// Returns once the data sets are read.
    pub fn wait(&self) {
        LazyLock::force(&self.agents);
    }

    fn agent(&self, agent: &str) -> Arc<Agent> {
        if let Some(known) = self.cache.get(agent) {
            return known;
        }
        let read = Arc::new(self.agents.read(agent));
        self.cache.insert(agent.into(), Arc::clone(&read));
        read
    }
}

fn read_data_sets() -> Agents {
    Agents::new().expect("the data sets are part of the program, and a test reads them whole")
}

impl Enrich for Knowledge {
    fn enrich(&self, facts: &RequestFacts<'_>) -> Client {
        let user_agent = facts.user_agent.and_then(|agent| text::clean(agent, USER_AGENT_CHARS_MAX));
        let place = match (&self.geo, facts.ip) {
            (Some(geo), Some(ip)) => geo.place(ip),
            (None, _) | (_, None) => Place::default(),
        };
        let client = Client {
            ip: facts.ip,
            country: place.country,
            region: place.region,
            city: place.city,
            ..Client::default()
        };
        let Some(user_agent) = user_agent else {
            let (device_type, bot) = (Some("bot".to_owned()), Some(bot::NO_USER_AGENT.to_owned()));
            return Client { device_type, bot, ..client };
        };
        let agent = self.agent(&user_agent);
        Client {
            device_type: agent.device_type.map(str::to_owned),
            browser: agent.browser.clone(),
            operating_system: agent.operating_system.clone(),
            bot: agent.bot.clone(),
            user_agent: Some(user_agent),
            ..client
        }
    }
}

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
        let facts = RequestFacts { ip, user_agent: Some(&long) };
        for client in [Plain.enrich(&facts), Knowledge::new(None).enrich(&facts)] {
            let agent = client.user_agent.unwrap();
            assert_eq!(agent.chars().count(), USER_AGENT_CHARS_MAX);
            assert!(agent.starts_with("Browserx"));
            assert_eq!(client.ip, ip);
        }
    }

    #[test]
    fn a_user_agent_of_nothing_is_a_bot_s() {
        for nothing in [None, Some(""), Some(" \t")] {
            let client = Knowledge::new(None).enrich(&RequestFacts { ip: None, user_agent: nothing });
            assert_eq!(client.bot.as_deref(), Some("no user agent"));
            assert_eq!(client.user_agent, None);
        }
    }

    #[test]
    fn a_million_user_agents_take_the_room_of_some_thousands() {
        let knowledge = Knowledge::new(None);
        for number in 0..40_000 {
            let agent = format!("Mozilla/5.0 Firefox/{number}.0 {}", "x".repeat(400));
            knowledge.cache.insert(agent.into(), Arc::default());
        }
        knowledge.cache.run_pending_tasks();
        assert!(knowledge.cache.weighted_size() <= CACHED_BYTES_MAX);
    }
}
