//! Why a lead is attributed as it is.

use leadtrail_app::conversions::Origin;
use leadtrail_app::why::{Explained, Sources, Subject, Why, why};
use leadtrail_domain::model::{Model, ModelSettings};
use leadtrail_domain::ports::Projects as _;
use serde_json::json;

use crate::world::{JANE, World, accounts};

/// Jane's leads, newest first.
async fn explained<const N: usize>(world: &World) -> [Why; N] {
    let jane = Subject::Email(JANE.parse().expect("an e-mail address"));
    told(world, &jane).await.leads.try_into().expect("as many leads")
}

async fn told(world: &World, subject: &Subject) -> Explained {
    let store = &*world.site.store;
    let project = store.project(world.site.project()).await.expect("a store that works");
    let project = project.expect("the site's project");
    let accounts = accounts(&world.crm);
    let sources = Sources {
        journeys: store,
        conversions: store,
        histories: store,
        jobs: store,
        projects: store,
        accounts: &accounts,
    };
    why(sources, &project, subject).await.expect("a store that works")
}

#[tokio::test]
async fn a_browser_that_gave_the_email_after_the_form_gets_no_credit_for_it() {
    let world = World::new();
    let site = &world.site;
    site.visit(0, "cookie-b", "/?utm_source=instagram", "");
    site.visit(100, "cookie-a", "/?utm_source=google", "");
    site.submit(101, "cookie-a", JANE);
    site.one(200, &crate::site::form("cookie-b", JANE, "J."));
    let [second, first] = explained(&world).await;
    let credit = |why: &Why| why.models[0].touches[0].event_id;
    assert_eq!(credit(&first), first.touches[1].event_id, "google");
    assert!(first.touches[0].note.contains("only after the form"), "{:?}", first.touches[0]);
    assert_eq!(credit(&second), second.touches[0].event_id, "instagram");
}

#[tokio::test]
async fn a_lead_is_explained_by_what_counted_what_did_not_and_each_models_credit() {
    let world = World::new();
    let site = &world.site;
    site.visit(0, "cookie-a", "/?utm_source=google&utm_medium=cpc", "https://www.google.com/");
    site.visit(1, "cookie-a", "/?utm_source=google&utm_medium=cpc", "https://www.google.com/");
    site.visit(2, "cookie-a", "/pricing", "https://www.acme.example/");
    site.visit(5, "cookie-a", "/thanks", "https://checkout.stripe.com/pay");
    site.visit(600, "cookie-a", "/?utm_source=newsletter&utm_medium=email", "");
    site.submit(601, "cookie-a", JANE);
    site.visit(900, "cookie-a", "/?utm_source=late", "");
    let [why] = explained(&world).await;

    let sources: Vec<_> = why.touches.iter().map(|touch| touch.source.as_deref()).collect();
    assert_eq!(sources, [Some("google"), Some("newsletter"), Some("late")]);
    let channels: Vec<_> = why.touches[..2].iter().map(|touch| touch.channel.as_deref()).collect();
    assert_eq!(channels, [Some("Paid Search"), Some("Email")]);
    assert!(why.touches[2].note.starts_with("ignored: it came after the form"));

    let ignored: Vec<_> = why.ignored.iter().map(|one| (one.events, one.why.as_str())).collect();
    assert_eq!(
        ignored,
        [
            (1, "says the same as the touch before it in its session"),
            (
                1,
                "from checkout.stripe.com, which visitors only pass through (payment, sign-in, or ignored by the project)"
            ),
            (2, "from another page of the site"),
        ]
    );

    let (first, second) = (why.touches[0].event_id, why.touches[1].event_id);
    for credits in &why.models {
        let shares: Vec<_> = credits.touches.iter().map(|one| (one.event_id, one.credit)).collect();
        match credits.model {
            Model::FirstTouch => assert_eq!(shares, [(first, 1.0)]),
            Model::LastTouch | Model::LastNonDirect => assert_eq!(shares, [(second, 1.0)]),
            Model::Linear | Model::PositionBased => assert_eq!(shares, [(first, 0.5), (second, 0.5)]),
            Model::TimeDecay => assert!(shares.len() == 2 && shares[0].1 < shares[1].1, "{shares:?}"),
        }
    }
    assert_eq!(why.models.len(), 6);
}

async fn set_models(world: &World, lookback: &str, half_life: &str) {
    let store = &*world.site.store;
    let project = store.project(world.site.project()).await.expect("a store that works");
    let was = project.expect("the site's project");
    let mut becomes = was.clone();
    becomes.settings.attribution = ModelSettings {
        lookback: lookback.parse().expect("a length of time"),
        half_life: half_life.parse().expect("a length of time"),
    };
    assert!(store.update_project(&was, &becomes).await.expect("a store that works"));
}

fn shares(why: &Why, model: Model) -> Vec<(Option<&str>, f64)> {
    let credits = why.models.iter().find(|credits| credits.model == model).expect("every model");
    let source = |event| why.touches.iter().find(|touch| touch.event_id == event)?.source.as_deref();
    credits.touches.iter().map(|one| (source(one.event_id), one.credit)).collect()
}

const DAY: u32 = 24 * 60;

#[tokio::test]
async fn the_projects_lookback_window_and_half_life_are_those_of_the_credits() {
    let world = World::new();
    for (day, source) in [(0, "google"), (9, "meta"), (10, "news")] {
        world.site.visit(day * DAY, "cookie-a", &format!("/?utm_source={source}"), "");
    }
    world.site.submit(10 * DAY + 1, "cookie-a", JANE);
    let [why] = explained(&world).await;
    assert_eq!([why.attribution.lookback, why.attribution.half_life].map(|it| it.to_string()), ["90d", "7d"]);
    assert_eq!(shares(&why, Model::FirstTouch), [(Some("google"), 1.0)]);

    set_models(&world, "2d", "1d").await;
    let [why] = explained(&world).await;
    assert_eq!([why.attribution.lookback, why.attribution.half_life].map(|it| it.to_string()), ["2d", "1d"]);
    assert_eq!(shares(&why, Model::FirstTouch), [(Some("meta"), 1.0)]);
    assert_eq!(shares(&why, Model::TimeDecay), [(Some("meta"), 1.0 / 3.0), (Some("news"), 2.0 / 3.0)]);
    // What is frozen with the lead does not depend on it.
    assert_eq!((why.touches.len(), why.touches[0].is.contains(&"first")), (3, true));
}

#[tokio::test]
async fn credits_are_of_a_whole_past_and_what_is_shown_of_it_counts_most() {
    let world = World::new();
    let site = &world.site;
    site.visit(0, "cookie-a", "/?utm_source=google", "");
    // So many touches, and as many events beside.
    let page = |at: u32, page: &str| {
        let page = format!("https://www.acme.example{page}");
        site.collected(at, &json!({ "page_url": page, "visitor_cookie": "cookie-a" }))
    };
    let past: Vec<_> = (1..=800)
        .flat_map(|n| [page(10 * n, &format!("/?utm_source=news-{n}")), page(10 * n + 1, "/b")])
        .collect();
    site.take(&past);
    site.submit(9_000, "cookie-a", JANE);
    let [why] = explained(&world).await;
    assert_eq!((why.touches_known, why.touches.len(), why.touches_left_out), (801, 500, false));
    assert_eq!((why.events, why.events_left_out), (1_000, true));
    assert_eq!(shares(&why, Model::FirstTouch), [(Some("google"), 1.0)]);
    assert_eq!(why.touches[0].source.as_deref(), Some("google"));
    assert_eq!(why.touches[499].source.as_deref(), Some("news-800"));
    assert!(why.touches.is_sorted_by_key(|touch| touch.at));
    for credits in &why.models {
        let shown: f64 = credits.touches.iter().map(|one| one.credit).sum();
        assert!((shown + credits.not_shown + credits.none - 1.0).abs() < 1e-9, "{}", credits.model);
    }
    let linear = &why.models[3];
    assert!((linear.touches[0].credit - 1.0 / 801.0).abs() < 1e-12, "{linear:?}");
}

#[tokio::test]
async fn when_a_browser_gave_the_email_is_known_however_much_happened_since() {
    let world = World::new();
    let site = &world.site;
    site.visit(0, "cookie-early", "/?utm_source=instagram", "");
    site.submit(1, "cookie-early", JANE);
    site.visit(2, "cookie-late", "/?utm_source=meta", "");
    site.visit(3, "cookie-a", "/?utm_source=google", "");
    let views: Vec<_> = (0..1_100)
        .map(|n| {
            let page = format!("https://www.acme.example/{n}");
            site.collected(4 + n, &json!({ "page_url": page, "visitor_cookie": "cookie-a" }))
        })
        .collect();
    site.take(&views);
    site.one(2_000, &crate::site::form("cookie-a", JANE, "J."));
    site.one(2_100, &crate::site::form("cookie-late", JANE, "Jane Ann"));
    let [_of_late, of_a, _of_early] = explained(&world).await;
    assert!(of_a.events_left_out);
    let sources = |why: &Why| {
        shares(why, Model::Linear)
            .iter()
            .filter_map(|(source, _)| Some((*source)?.to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(sources(&of_a), ["instagram", "google"]);
    assert_eq!((of_a.browsers, of_a.browsers_left_out), (3, false));
}

#[tokio::test]
async fn a_conversion_is_explained_by_its_touches_and_each_models_credit() {
    let world = World::new();
    let site = &world.site;
    site.visit(0, "cookie-a", "/?utm_source=google", "");
    site.visit(100, "cookie-a", "/?utm_source=newsletter", "");
    let answer = site.visit(101, "cookie-a", "/pricing", "https://www.acme.example/");
    site.visit(200, "cookie-a", "/?utm_source=late", "");
    let explained = told(&world, &Subject::of_event(&answer.event_id.to_string())).await;
    assert_eq!(explained.leads, []);
    let [prices] = explained.conversions.try_into().unwrap();
    assert_eq!((prices.conversion.name.as_str(), prices.conversion.value), ("prices", Some(5.0)));
    let source = |origin: &Option<Origin>| origin.as_ref().and_then(|one| one.attribution.source.clone());
    let touches = &prices.conversion.touches;
    assert_eq!(
        [&touches.first, &touches.last].map(source),
        ["google", "newsletter"].map(|one| Some(one.to_owned()))
    );
    let credits: Vec<f64> = prices.models.iter().map(|one| one.touches[0].credit).collect();
    assert_eq!(credits[..5], [1.0, 1.0, 1.0, 0.5, 0.5]);
    for model in &prices.models {
        let sum: f64 = model.touches.iter().map(|one| one.credit).sum();
        assert!((sum + model.not_shown + model.none - 1.0).abs() < 1e-9, "{model:?}");
    }
    assert!(told(&world, &Subject::of_event("nothing")).await.is_empty());
}

#[tokio::test]
async fn a_form_that_counts_is_explained_as_a_lead_and_as_a_conversion() {
    let world = World::new();
    world.site.visit(0, "cookie-a", "/?utm_source=google", "");
    let answer = world.site.submit(1, "cookie-a", JANE);
    let explained = told(&world, &Subject::of_event(&answer.event_id.to_string())).await;
    assert_eq!((explained.leads.len(), explained.conversions.len()), (1, 1));
    assert_eq!(explained.conversions[0].conversion.name.as_str(), "form");
}
