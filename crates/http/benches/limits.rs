//! What a limit costs: time per check, and memory under a million networks that never come again.
//! `cargo bench -p leadtrail-http --bench limits`.

#![expect(clippy::print_stdout, reason = "figures are this program's result")]

use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use leadtrail_http::{Client, Limiter};

const DISTINCT: u32 = 1_000_000;
const CHECKS: u32 = 5_000_000;
/// What the service holds clients to by default.
const RATES: [&str; 5] = ["100/min", "20/min", "1000/h", "100/h", "30/min"];

fn main() {
    let before = resident_kib();
    let limiters = RATES.map(|rate| Limiter::new(rate.parse().expect("a rate")));

    for (who, clients) in [("one client", 1), ("a thousand clients", 1_000)] {
        let begun = Instant::now();
        let refused = (0..CHECKS)
            .filter(|number| limiters[0].charge(network(number % clients, 0)).retry_after.is_some())
            .count();
        println!("{who}: {:.0} ns per check, {refused} of {CHECKS} refused", per_check(begun, CHECKS));
    }

    for (limiter, rate) in limiters.iter().zip(RATES) {
        let begun = Instant::now();
        for number in 0..DISTINCT {
            limiter.charge(network(number, 0));
        }
        println!(
            "{rate}: {DISTINCT} distinct networks, {:.0} ns per check; {} known; +{} KiB resident since the start",
            per_check(begun, DISTINCT),
            limiter.clients(),
            resident_kib() - before
        );
    }

    let one = Limiter::new("1000000/d".parse().expect("a rate"));
    for host in 0..u64::from(DISTINCT) {
        one.charge(network(0, host));
    }
    println!("{DISTINCT} addresses of one /64: {} client", one.clients());
}

/// The address of a host in the `number`th network of 64 bits.
fn network(number: u32, host: u64) -> Client {
    let network = 0x2001_0db8_0000_0000_u64 + u64::from(number);
    Client::from(IpAddr::V6(Ipv6Addr::from_bits(u128::from(network) << 64 | u128::from(host))))
}

fn per_check(begun: Instant, checks: u32) -> f64 {
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(checks)
}

/// What this process holds of the machine's memory.
fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
