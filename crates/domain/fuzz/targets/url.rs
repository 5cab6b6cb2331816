//! Any text as a page's address: it is refused, or read, kept within its bounds and classified.
#![no_main]

use leadtrail_domain::classify::classify;
use leadtrail_domain::event::Neighbourhood;
use leadtrail_domain::text::{CLICK_ID_CHARS_MAX, PARAMETER_CHARS_MAX, URL_CHARS_MAX};
use leadtrail_domain::web_url::{QUERY_PARAMETERS_MAX, WebUrl, site_of, with_parameters};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let Ok((url, query)) = WebUrl::parse(&text) else {
        assert!(classify(&text, None, &Neighbourhood::default()).is_err());
        return;
    };
    let chars = url.as_str().chars().count();
    assert!(chars <= URL_CHARS_MAX && query.parameters().count() <= QUERY_PARAMETERS_MAX);
    assert!(!url.as_str().contains(char::is_control));
    assert!(url.host().ends_with(site_of(url.host())));
    if chars < URL_CHARS_MAX {
        let again = WebUrl::parse(url.as_str()).expect("what was kept is an address");
        assert_eq!(again, (url.clone(), query));
    }
    assert!(with_parameters(url.as_str(), |_| true).len() <= url.as_str().len());

    let landing = classify(&text, None, &Neighbourhood::default()).expect("an address is classified");
    assert!(landing.signals.values().all(|value| (1..=PARAMETER_CHARS_MAX).contains(&value.chars().count())));
    assert!(landing.click_ids.iter().all(|id| (1..=CLICK_ID_CHARS_MAX).contains(&id.value.chars().count())));
    let external = landing.channel.is_some();
    assert_eq!(external, landing.rule.as_str() != "direct");
});
