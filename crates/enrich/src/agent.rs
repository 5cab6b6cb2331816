use regex::bytes::Regex;
use serde::Deserialize;

use crate::bot;
use crate::rules::{Rules, RulesError};

/// The rules of uap-core, and the patterns of crawler-user-agents; `data/README.md` says where they come from.
const USER_AGENTS: &str = include_str!("../data/user-agents.json");
const BOTS: &str = include_str!("../data/bots.json");

/// What a user agent says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Agent {
    pub(crate) browser: Option<String>,
    pub(crate) operating_system: Option<String>,
    pub(crate) device_type: Option<&'static str>,
    pub(crate) bot: Option<String>,
}

/// What tells user agents apart.
pub(crate) struct Agents {
    browsers: Named,
    systems: Named,
    bots: Rules,
}

/// Why the data sets cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentsError {
    #[error("a data set is not what it should be")]
    Shape(#[from] serde_json::Error),
    #[error(transparent)]
    Rules(#[from] RulesError),
}

#[derive(Deserialize)]
struct UserAgentsFile {
    browsers: Vec<(String, Option<String>)>,
    systems: Vec<(String, Option<String>)>,
}

#[derive(Deserialize)]
struct BotsFile {
    patterns: Vec<String>,
}

impl Agents {
    pub(crate) fn new() -> Result<Self, AgentsError> {
        let UserAgentsFile { browsers, systems } = serde_json::from_str(USER_AGENTS)?;
        let BotsFile { mut patterns } = serde_json::from_str(BOTS)?;
        patterns.retain(|pattern| !bot::LISTED_PEOPLE.contains(&pattern.as_str()));
        Ok(Self {
            browsers: Named::new(browsers)?,
            systems: Named::new(systems)?,
            bots: Rules::new(patterns)?,
        })
    }

    /// What `agent`, a cleaned user agent, says. Takes tens of microseconds.
    pub(crate) fn read(&self, agent: &str) -> Agent {
        let browser = self.browsers.name(agent).map(browser_name);
        let system = self.systems.name(agent).map(system_name);
        let bot = bot::listed(&self.bots, agent).or_else(|| bot::rule(agent).map(str::to_owned));
        let device_type = if bot.is_some() { Some("bot") } else { device_type(agent, system.as_deref()) };
        Agent { browser, operating_system: system, device_type, bot }
    }
}

/// Rules that give what matches a name.
struct Named {
    rules: Rules,
    /// Of each rule; `None` where its first group is the name. `$1` stands for that group.
    names: Vec<Option<String>>,
}

impl Named {
    fn new(rules: Vec<(String, Option<String>)>) -> Result<Self, RulesError> {
        let (patterns, names) = rules.into_iter().unzip();
        Ok(Self { rules: Rules::new(patterns)?, names })
    }

    fn name(&self, agent: &str) -> Option<String> {
        let (place, regex) = self.rules.first(agent)?;
        let name = match self.names[place].as_deref() {
            Some(name) if !name.contains('$') => name.to_owned(),
            Some(template) => expanded(regex, agent, template),
            None => expanded(regex, agent, "$1"),
        };
        let name = name.trim();
        (!name.is_empty() && name != "Other").then(|| name.to_owned())
    }
}

fn expanded(regex: &Regex, agent: &str, template: &str) -> String {
    let mut bytes = Vec::new();
    if let Some(groups) = regex.captures(agent.as_bytes()) {
        // `$1_` is a group called `1_` to the library, and group 1 to uap-core.
        groups.expand(template.replace("$1", "${1}").as_bytes(), &mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One name per browser: that it runs on a phone is said by the device, and by the system.
fn browser_name(name: String) -> String {
    let plain = match name.as_str() {
        "Chrome Mobile" | "Chrome Mobile iOS" => "Chrome",
        "Mobile Safari" => "Safari",
        "Firefox Mobile" | "Firefox iOS" => "Firefox",
        "Edge Mobile" => "Edge",
        "Opera Mobile" => "Opera",
        "IE Mobile" => "IE",
        _ => return name,
    };
    plain.to_owned()
}

fn system_name(name: String) -> String {
    let plain = match name.as_str() {
        "Mac OS X" => "macOS",
        "ATV OS X" => "tvOS",
        _ => return name,
    };
    plain.to_owned()
}

/// What kind of device a person holds.
///
/// Android tablets leave out `Mobile` (<https://developer.chrome.com/docs/privacy-security/user-agent>, 2026-11-22);
/// Samsung's and Amazon's are known by their models too. An iPad that asks for desktop pages, as Safari does since
/// iPadOS 13, sends a Mac's user agent to the letter: it counts as a desktop, since only a script could tell.
fn device_type(agent: &str, system: Option<&str>) -> Option<&'static str> {
    const TV: [&str; 16] = [
        "SmartTV",
        "SMART-TV",
        "Smart TV",
        "GoogleTV",
        "Google TV",
        "Android TV",
        "AppleTV",
        "Apple TV",
        "HbbTV",
        "CrKey",
        "BRAVIA",
        "Web0S",
        "NetCast",
        "Roku",
        "AFT",
        "VIDAA",
    ];
    const CONSOLE: [&str; 3] = ["PlayStation", "Xbox", "Nintendo"];
    const WATCH: [&str; 4] = ["Apple Watch", "watchOS", "Wear OS", "SM-R"];
    const TABLET: [&str; 8] = ["iPad", "Tablet", "PlayBook", "Kindle", "Silk/", "SM-T", "SM-X", "Lenovo TB"];
    const PHONE: [&str; 7] =
        ["iPhone", "iPod", "Windows Phone", "IEMobile", "BlackBerry", "BB10", "Opera Mini"];
    let has = |words: &[&str]| words.iter().any(|word| agent.contains(word));
    let is = |systems: &[&str]| system.is_some_and(|system| systems.contains(&system));
    // Windows' "Tablet PC" is a component that every desktop of its time names.
    let is_windows = is(&["Windows"]);
    Some(if has(&TV) || is(&["tvOS"]) {
        "tv"
    } else if has(&CONSOLE) {
        "console"
    } else if has(&WATCH) {
        "wearable"
    } else if has(&TABLET) && !is_windows {
        "tablet"
    } else if has(&PHONE) {
        "mobile"
    } else if is(&["Android"]) {
        if agent.contains("Mobi") { "mobile" } else { "tablet" }
    } else if is(&["iOS", "KaiOS", "Firefox OS", "Symbian OS", "BlackBerry OS"]) || agent.contains("Mobi") {
        "mobile"
    } else if system.is_some() {
        "desktop"
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_sets_are_whole_and_every_pattern_of_theirs_compiles() {
        let agents = Agents::new().unwrap();
        assert!(agents.browsers.rules.all_compile());
        assert!(agents.systems.rules.all_compile());
        assert!(agents.bots.all_compile());
    }

    #[test]
    fn every_pattern_that_is_taken_for_people_is_still_in_the_list() {
        let BotsFile { patterns } = serde_json::from_str(BOTS).unwrap();
        for people in bot::LISTED_PEOPLE {
            assert!(patterns.iter().any(|pattern| pattern == people), "{people}");
        }
    }
}
