//! Any bytes as a message, as the form of one, and as a text that holds a form: a strange value never costs the event,
//! and nothing that was not asked for is kept.
#![no_main]

use leadtrail_domain::event::{Client, Collected, Event, ParseContext, RawEvent};
use leadtrail_domain::id::{EventId, ProjectId};
use leadtrail_domain::project::{Pixel, PixelContext, PixelSettings, Project, ProjectSettings};
use leadtrail_domain::text::PARAMETER_CHARS_MAX;
use leadtrail_domain::time::Timestamp;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let pixel = pixel();
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(raw) = serde_json::from_str(text) {
        checked(&raw, &pixel);
    }
    let as_object = format!(r#"{{"page_url":"https://www.acme.example/","form_data":{text}}}"#);
    if let Ok(raw) = serde_json::from_str(&as_object) {
        checked(&raw, &pixel);
    }
    let quoted = serde_json::to_string(text).expect("a text is JSON");
    let as_text = format!(r#"{{"page_url":"https://www.acme.example/","form_data":{quoted}}}"#);
    let raw = serde_json::from_str(&as_text).expect("a message with a text");
    assert!(checked(&raw, &pixel).is_some(), "a form never costs the event");
});

fn checked(raw: &RawEvent<'_>, pixel: &PixelContext) -> Option<Collected> {
    let collected = Event::parse(raw, &context(pixel)).ok()?;
    let event = &collected.event;
    if let Some(form) = &event.form {
        assert!(form.extra.is_empty(), "the pixel opted in to nothing");
        for name in [&form.first_name, &form.last_name].into_iter().flatten() {
            assert!((1..=PARAMETER_CHARS_MAX).contains(&name.chars().count()));
        }
        if let Some(email) = &form.email {
            assert_eq!(email.as_str().parse().as_ref(), Ok(email), "what was kept is kept again");
        }
    }
    let json = serde_json::to_string(&event.props).expect("properties are JSON");
    assert!(event.props.len() <= 30 && json.len() <= 16_384);
    Some(collected)
}

fn context(pixel: &PixelContext) -> ParseContext<'_> {
    ParseContext {
        pixel,
        received_at: Timestamp::from_millis(1_795_000_000_000),
        fallback_id: EventId::of_text("fallback"),
        header_cookie: None,
        fallback_cookie: "somebody-new".parse().expect("a cookie"),
        client: Client::default(),
        gpc: false,
        referer: None,
    }
}

fn pixel() -> PixelContext {
    let created_at = Timestamp::EPOCH;
    let project = Project {
        id: ProjectId::new(created_at, [7; 16]),
        slug: "acme".parse().expect("a slug"),
        name: "Acme".into(),
        settings: ProjectSettings::default(),
        created_at,
        archived_at: None,
    };
    let pixel = Pixel {
        id: "px".parse().expect("a pixel id"),
        project_id: project.id,
        name: "Site".into(),
        settings: PixelSettings::default(),
        created_at,
        archived_at: None,
    };
    PixelContext { pixel, project }
}
