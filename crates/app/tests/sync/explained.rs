//! Why a lead is attributed as it is.

use leadtrail_app::why::{Subject, Why, why};
use leadtrail_domain::model::Model;
use leadtrail_domain::ports::Projects as _;

use crate::world::{JANE, World, accounts};

async fn explained(world: &World) -> Why {
    let store = world.site.store.clone();
    let project = store.project(world.site.project()).await.expect("a store that works");
    let project = project.expect("the site's project");
    let subject = Subject::Email(JANE.parse().expect("an e-mail address"));
    let all = why(&*store, &*store, &*store, &accounts(&world.crm), &project, &subject).await;
    all.expect("a store that works").remove(0)
}

#[tokio::test]
async fn a_browser_that_gave_the_email_after_the_form_gets_no_credit_for_it() {
    let world = World::new();
    let site = &world.site;
    site.visit(0, "cookie-b", "/?utm_source=instagram", "");
    site.visit(100, "cookie-a", "/?utm_source=google", "");
    site.submit(101, "cookie-a", JANE);
    site.one(200, &crate::site::form("cookie-b", JANE, "J."));
    let store = world.site.store.clone();
    let project = store.project(site.project()).await.expect("a store that works").expect("the project");
    let subject = Subject::Email(JANE.parse().expect("an e-mail address"));
    let all = why(&*store, &*store, &*store, &accounts(&world.crm), &project, &subject).await;
    let [second, first] = <[Why; 2]>::try_from(all.expect("a store that works")).expect("two leads");
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
    let why = explained(&world).await;

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
