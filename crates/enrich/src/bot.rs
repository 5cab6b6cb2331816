use crate::rules::Rules;

/// The reason of a request without a user agent.
pub(crate) const NO_USER_AGENT: &str = "no user agent";

/// Patterns of the list that meet people: browsers inside apps.
pub(crate) const LISTED_PEOPLE: [&str; 1] = ["MetaIAB Facebook"];

/// The pattern of the list that matches.
pub(crate) fn listed(bots: &Rules, agent: &str) -> Option<String> {
    bots.first(agent).map(|(place, _regex)| bots.pattern(place).to_owned())
}

/// What a program that no list knows yet says of itself, by the habits of such programs.
pub(crate) fn rule(agent: &str) -> Option<&'static str> {
    const AUTOMATION: [&str; 6] =
        ["webdriver", "selenium", "puppeteer", "playwright", "phantomjs", "cypress"];
    const TRADES: [&str; 4] = ["crawler", "spider", "scraper", "scrapy"];
    let lower = agent.to_ascii_lowercase();
    if lower.contains("headless") {
        return Some("headless browser");
    }
    if AUTOMATION.iter().any(|word| lower.contains(word)) {
        return Some("browser automation");
    }
    // `+https://…` is where robots say who runs them, and `(https://…)` where programs say who makes them.
    if lower.contains("+http") || lower.contains("(http") {
        return Some("names its operator");
    }
    let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    if words.any(|word| is_bot_word(word) || TRADES.contains(&word)) {
        return Some("names itself a bot");
    }
    // Every browser says more than one product of itself; `reqwest/0.12`, `node` and `Dart/3.5 (dart:io)` do not. What
    // is left of a browser's `Mozilla/5.0 (…)` when somebody cuts it is a person's.
    let product = match lower.split_once(" (") {
        Some((product, comment)) if product.contains('/') && !product.starts_with("mozilla/") => {
            comment.strip_suffix(')').filter(|comment| !comment.contains(')')).map_or(&*lower, |_| product)
        }
        Some(_) | None => &lower,
    };
    (!product.contains(' ')).then_some("one product only")
}

/// Cubot makes phones.
fn is_bot_word(word: &str) -> bool {
    (word.ends_with("bot") || word.ends_with("bots")) && word != "cubot"
}
