//! Any text as a referrer: it says where from, or nothing, and never costs the page its own signals.
#![no_main]

use leadtrail_domain::classify::classify;
use leadtrail_domain::event::Neighbourhood;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let around = Neighbourhood::default();
    let plain = classify("https://www.acme.example/", Some(&text), &around).expect("a page");
    assert_eq!(plain.touch, !plain.referrer.is_internal() || plain.channel.is_some());
    assert_eq!(
        plain.source.is_some() || plain.medium.is_some() || plain.channel.is_some(),
        plain.channel.is_some()
    );
    if let Some(host) = &plain.referrer_host {
        assert!(!host.is_empty() && !host.contains(char::is_control));
    }
    let tagged = classify("https://www.acme.example/?utm_source=s&utm_medium=m", Some(&text), &around);
    let tagged = tagged.expect("a page");
    assert_eq!((tagged.source.as_deref(), tagged.medium.as_deref()), (Some("s"), Some("m")));
});
