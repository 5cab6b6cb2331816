//! What knowledge of a request costs: start, a user agent seen for the first time and again, and memory under a million
//! of user agents and addresses that never come again. `cargo bench -p leadtrail-enrich`.

#![expect(clippy::print_stdout, reason = "figures are this program's result")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use leadtrail_domain::ports::{Enrich as _, RequestFacts};
use leadtrail_enrich::Knowledge;

const DISTINCT: u32 = 1_000_000;
const COLD: u32 = 5_000;
const WARM: u32 = 1_000_000;

fn main() {
    let before = resident_kib();
    let begun = Instant::now();
    let knowledge = Knowledge::new(None);
    let started = begun.elapsed();
    let first = enrich(&knowledge, 0);
    println!("start: {started:?}; first event after it: {first:?}; +{} KiB", resident_kib() - before);

    // Each pattern that this traffic meets is compiled once.
    let _compiled = (1..200).map(|number| enrich(&knowledge, number)).sum::<Duration>();
    let cold: Duration = (200..200 + COLD).map(|number| enrich(&knowledge, number)).sum();
    println!("cold: {:.1} µs per event", per_event(cold, COLD));
    let warm: Duration = (0..WARM).map(|number| enrich(&knowledge, 200 + number % 1_000)).sum();
    println!("warm: {:.2} µs per event", per_event(warm, WARM));

    let begun = Instant::now();
    for number in 0..DISTINCT {
        enrich(&knowledge, number);
    }
    println!(
        "{DISTINCT} distinct user agents and addresses in {:.1} s: +{} KiB resident since the start",
        begun.elapsed().as_secs_f64(),
        resident_kib() - before
    );
}

fn enrich(knowledge: &Knowledge, number: u32) -> Duration {
    let (minor, major) = (number % 7_919, 80 + number % 70);
    let agent = match number % 4 {
        0 => format!(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/{major}.0.{minor}.{number} Safari/537.36 Edg/{major}.0.0.0"
        ),
        1 => format!(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/18.{number} Mobile/15E148 Safari/604.1"
        ),
        2 => format!("Mozilla/5.0 (X11; Linux x86_64; rv:{number}.0) Gecko/20100101 Firefox/{number}.0"),
        _ => format!(
            "Mozilla/5.0 (Linux; Android 14; SM-A{number}) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/{major}.0.0.0 Mobile Safari/537.36"
        ),
    };
    let ip = Some(IpAddr::V4(Ipv4Addr::from(number.wrapping_mul(2_654_435_761))));
    let begun = Instant::now();
    let client = knowledge.enrich(&RequestFacts { ip, user_agent: Some(&agent) });
    let took = begun.elapsed();
    assert!(client.browser.is_some() && client.bot.is_none(), "{agent}");
    took
}

fn per_event(whole: Duration, events: u32) -> f64 {
    whole.as_secs_f64() * 1e6 / f64::from(events)
}

/// What this process holds of the machine's memory.
fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
