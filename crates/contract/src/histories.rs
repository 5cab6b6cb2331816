//! The suite of [`Histories`](leadtrail_domain::ports::Histories).

use std::collections::BTreeMap;
use std::sync::Arc;

use leadtrail_domain::id::{LeadId, ProjectId, VisitorId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Page, StoreError};
use leadtrail_domain::reattribute::{History, Revision, StoredSession};
use leadtrail_domain::touch::{Attribution, FourTouches};
use leadtrail_domain::visit::{Changes, Freshness, VisitQuery};

use crate::Stores;
use crate::fixtures::{Tenant, Visitor, email};

suite!($ histories_contract, histories, Stores,
    "`leadtrail_contract::histories_contract!(async { Stores::of(store().await) });`", [
    a_projects_visitors_are_listed_by_id_page_by_page,
    a_history_tells_all_that_is_stored_of_a_visitor_in_its_order,
    a_history_has_the_earliest_events_up_to_the_bound,
    a_history_is_not_shown_to_another_project,
    a_history_of_somebody_not_recognised_tells_of_that_visit,
    a_revision_replaces_touches_and_what_sessions_are_attributed_to,
    a_revision_replaces_the_visitors_conversions_and_no_others,
    what_was_decided_before_a_revision_is_stale_after_it,
    a_revision_from_an_older_version_is_stale_and_changes_nothing,
    a_revision_by_another_project_is_stale_and_changes_nothing,
    a_revision_changes_no_other_visitor,
    a_projects_leads_are_listed_by_id_page_by_page,
    the_visitors_of_an_email_are_those_who_gave_it_in_the_project,
    a_revised_lead_has_other_touches_and_everything_else_as_it_was,
    a_lead_is_not_revised_by_another_project,
]);

const JANE: &str = "jane@example.com";
const MANY: u32 = 100;

async fn commit(stores: &Stores, changes: &Changes) {
    stores.visits.commit(changes).await.expect("the changes are taken");
}

async fn history(stores: &Stores, visitor: &Visitor) -> History {
    let found = stores.histories.history(visitor.project_id, visitor.id, MANY).await;
    found.expect("the store answers").expect("the visitor is there")
}

/// A visitor who came in minute 1 from `news` and directly in minute 100.
async fn two_visits(stores: &Stores, tenant: &Tenant, n: u32) -> Visitor {
    let visitor = tenant.visitor(n);
    commit(stores, &visitor.arrives(1)).await;
    commit(stores, &visitor.returns(1, 1, 100)).await;
    visitor
}

/// The first visit came from `other`, the second from nowhere that counts.
fn revision(visitor: &Visitor, version: i64) -> Revision {
    let touch = visitor.touch(1, 1, Some("other"));
    let sessions = BTreeMap::from([
        (visitor.session_id(1), touch.attribution()),
        (visitor.session_id(100), Attribution::default()),
    ]);
    Revision {
        visitor_id: visitor.id,
        version,
        touches: vec![touch],
        conversions: Vec::new(),
        sessions,
        identified: BTreeMap::new(),
        opened_by: BTreeMap::new(),
    }
}

async fn all_visitors(stores: &Stores, project: ProjectId, limit: u32) -> Vec<VisitorId> {
    let mut all: Vec<VisitorId> = Vec::new();
    loop {
        let page = Page { after: all.last().copied(), limit };
        let more = stores.histories.visitors(project, &page).await.expect("the store answers");
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

async fn all_leads(stores: &Stores, project: ProjectId, limit: u32) -> Vec<Lead> {
    let mut all: Vec<Lead> = Vec::new();
    loop {
        let page = Page { after: all.last().map(|lead| lead.id), limit };
        let more = stores.histories.leads(project, &page).await.expect("the store answers");
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

async fn a_projects_visitors_are_listed_by_id_page_by_page(stores: &Stores) {
    let (tenant, other) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let mut expected = Vec::new();
    for (n, minute) in [(1, 9), (2, 3), (3, 7), (4, 1), (5, 5)] {
        let visitor = tenant.visitor(n);
        commit(stores, &visitor.arrives(minute)).await;
        commit(stores, &other.visitor(n).arrives(minute)).await;
        expected.push(visitor.id);
    }
    expected.sort();
    assert_eq!(all_visitors(stores, tenant.id(), 2).await, expected);
    assert_eq!(all_visitors(stores, tenant.id(), 100).await, expected);
}

async fn a_history_tells_all_that_is_stored_of_a_visitor_in_its_order(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = two_visits(stores, &tenant, 1).await;
    commit(stores, &visitor.views(2, 1, 2)).await;
    commit(stores, &tenant.visitor(2).arrives(3)).await;
    let session = |opened: u32, source| {
        let new = visitor.new_session(opened, source);
        let as_kept = StoredSession {
            pixel_id: new.pixel_id,
            opening_event_id: new.opening_event_id,
            attribution: new.attribution,
        };
        (new.id, as_kept)
    };
    let expected = History {
        visitor_id: visitor.id,
        version: 2,
        events: [(1, 1), (1, 2), (100, 100)]
            .map(|(opened, minute)| visitor.stored(opened, visitor.pageview(minute)))
            .into(),
        sessions: BTreeMap::from([session(1, Some("news")), session(100, None)]),
        touches: vec![visitor.touch(1, 1, Some("news")), visitor.touch(100, 100, None)],
        conversions: Vec::new(),
    };
    assert_eq!(history(stores, &visitor).await, expected);
}

async fn a_history_has_the_earliest_events_up_to_the_bound(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = two_visits(stores, &tenant, 1).await;
    let found = stores.histories.history(tenant.id(), visitor.id, 1).await.expect("the store answers");
    let events = found.map(|history| history.events);
    assert_eq!(events, Some(vec![visitor.stored(1, visitor.pageview(1))]));
}

async fn a_history_is_not_shown_to_another_project(stores: &Stores) {
    let (tenant, other) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let visitor = two_visits(stores, &tenant, 1).await;
    let found = stores.histories.history(other.id(), visitor.id, MANY).await;
    assert_eq!(found.expect("the store answers"), None);
    let unknown = stores.histories.history(tenant.id(), tenant.visitor(2).id, MANY).await;
    assert_eq!(unknown.expect("the store answers"), None);
}

async fn a_history_of_somebody_not_recognised_tells_of_that_visit(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visit = crate::fixtures::unlinked(&tenant, 1);
    commit(stores, &visit).await;
    assert_eq!(history(stores, &tenant.visitor(1)).await.events, visit.events);
}

async fn a_revision_replaces_touches_and_what_sessions_are_attributed_to(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = two_visits(stores, &tenant, 1).await;
    let before = history(stores, &visitor).await;
    let revision = revision(&visitor, 2);
    stores.histories.revise(tenant.id(), &revision).await.expect("the version is the visitor's");
    let mut expected = History { version: 3, touches: revision.touches.clone(), ..before };
    for (id, attribution) in revision.sessions {
        expected.sessions.entry(id).and_modify(|session| session.attribution = attribution);
    }
    assert_eq!(history(stores, &visitor).await, expected);
    // As a decision would know it.
    let key = (tenant.id(), visitor.cookie.clone());
    let query =
        VisitQuery { visitors: BTreeMap::from([(key.clone(), Freshness::Current)]), ..VisitQuery::default() };
    let known = stores.visits.load(&query).await.expect("the store answers");
    let known = known.visitors.get(&key).expect("the visitor is known");
    assert_eq!((known.version, &known.touches), (3, &expected.touches));
    let attributed: Vec<&Attribution> = known.sessions.iter().map(|session| &session.attribution).collect();
    assert_eq!(attributed, [&expected.touches[0].attribution(), &Attribution::default()]);
}

async fn a_revision_replaces_the_visitors_conversions_and_no_others(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let (visitor, other) = (tenant.visitor(1), tenant.visitor(2));
    for one in [&visitor, &other] {
        commit(stores, &one.arrives(1)).await;
        commit(stores, &one.converts(1, 1, 3, &["stays", "goes"])).await;
    }
    let mut before = [visitor.conversion(1, 3, "stays"), visitor.conversion(1, 3, "goes")];
    before.sort_by_key(|conversion| conversion.id);
    assert_eq!(history(stores, &visitor).await.conversions, before);
    let others = history(stores, &other).await;

    let [mut stays, mut comes] = ["stays", "comes"].map(|name| visitor.conversion(1, 3, name));
    stays.touches = FourTouches::default();
    comes.value = Some(2.5);
    let mut after = vec![stays, comes];
    after.sort_by_key(|conversion| conversion.id);
    let revision = Revision { conversions: after.clone(), ..revision(&visitor, 2) };
    stores.histories.revise(tenant.id(), &revision).await.expect("the version is the visitor's");
    assert_eq!(history(stores, &visitor).await.conversions, after);
    assert_eq!(history(stores, &other).await, others);
}

async fn what_was_decided_before_a_revision_is_stale_after_it(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = two_visits(stores, &tenant, 1).await;
    let decided = visitor.views(2, 100, 101);
    stores.histories.revise(tenant.id(), &revision(&visitor, 2)).await.expect("the version is the visitor's");
    let answer = stores.visits.commit(&decided).await;
    assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
    commit(stores, &visitor.views(3, 100, 101)).await;
}

async fn a_revision_from_an_older_version_is_stale_and_changes_nothing(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = two_visits(stores, &tenant, 1).await;
    let before = history(stores, &visitor).await;
    for version in [1, 3] {
        let answer = stores.histories.revise(tenant.id(), &revision(&visitor, version)).await;
        assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
    }
    let unknown = revision(&tenant.visitor(2), 1);
    let answer = stores.histories.revise(tenant.id(), &unknown).await;
    assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
    assert_eq!(history(stores, &visitor).await, before);
}

async fn a_revision_by_another_project_is_stale_and_changes_nothing(stores: &Stores) {
    let (tenant, other) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let visitor = two_visits(stores, &tenant, 1).await;
    let before = history(stores, &visitor).await;
    let answer = stores.histories.revise(other.id(), &revision(&visitor, 2)).await;
    assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
    assert_eq!(history(stores, &visitor).await, before);
}

async fn a_revision_changes_no_other_visitor(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let (visitor, other) = (two_visits(stores, &tenant, 1).await, two_visits(stores, &tenant, 2).await);
    let before = history(stores, &other).await;
    let mut revision = revision(&visitor, 2);
    revision.sessions.insert(other.session_id(1), Attribution::default());
    stores.histories.revise(tenant.id(), &revision).await.expect("the version is the visitor's");
    assert_eq!(history(stores, &other).await, before);
}

async fn a_projects_leads_are_listed_by_id_page_by_page(stores: &Stores) {
    let (tenant, other) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let mut expected = Vec::new();
    for n in 1..=3 {
        for tenant in [&tenant, &other] {
            let visitor = tenant.visitor(n);
            commit(stores, &visitor.arrives(n)).await;
            commit(stores, &visitor.submits(1, n, 10 - n, &format!("p{n}@example.com"), 1)).await;
        }
        let visitor = tenant.visitor(n);
        let job = Some(visitor.job_id(10 - n));
        expected.push(visitor.lead(n, 10 - n, &format!("p{n}@example.com"), job));
    }
    expected.sort_by_key(|lead| lead.id);
    assert_eq!(all_leads(stores, tenant.id(), 2).await, expected);
}

async fn the_visitors_of_an_email_are_those_who_gave_it_in_the_project(stores: &Stores) {
    let (tenant, other) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    for tenant in [&tenant, &other] {
        for (n, address) in [(1, JANE), (2, "joan@example.com"), (3, JANE)] {
            let visitor = tenant.visitor(n);
            commit(stores, &visitor.arrives(1)).await;
            commit(stores, &visitor.enquires(1, 1, n + 1, address)).await;
        }
    }
    let mut expected = [tenant.visitor(1).id, tenant.visitor(3).id];
    expected.sort();
    for limit in [1, 2, MANY] {
        let found = stores.histories.visitors_of(tenant.id(), &email(JANE).hash(), limit).await;
        let most = expected.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        assert_eq!(found.expect("the store answers"), expected[..most]);
    }
}

async fn one_lead(stores: &Stores, tenant: &Tenant) -> (Visitor, LeadId) {
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(1)).await;
    commit(stores, &visitor.submits(1, 1, 2, JANE, 1)).await;
    (visitor.clone(), visitor.lead_id(2))
}

async fn a_revised_lead_has_other_touches_and_everything_else_as_it_was(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let (visitor, id) = one_lead(stores, &tenant).await;
    let before = visitor.lead(1, 2, JANE, Some(visitor.job_id(2)));
    let touch = visitor.touch(1, 1, Some("other"));
    let touches = FourTouches::among([&touch], (before.occurred_at, before.event_id));
    for session_touch in [Some(Arc::clone(&touch)), None] {
        // What else the caller's copy says is not looked at.
        let revised = Lead {
            touches: touches.clone(),
            session_touch: session_touch.clone(),
            first_name: Some("Nobody".to_owned()),
            job_id: None,
            ..before.clone()
        };
        stores.histories.revise_lead(tenant.id(), &revised).await.expect("the store answers");
        let expected = Lead { touches: touches.clone(), session_touch, ..before.clone() };
        assert_eq!(all_leads(stores, tenant.id(), 10).await, [expected]);
    }
    assert_eq!(id, before.id);
}

async fn a_lead_is_not_revised_by_another_project(stores: &Stores) {
    let (tenant, other) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let (visitor, _id) = one_lead(stores, &tenant).await;
    let before = visitor.lead(1, 2, JANE, Some(visitor.job_id(2)));
    let revised = Lead { session_touch: None, ..before.clone() };
    stores.histories.revise_lead(other.id(), &revised).await.expect("the store answers");
    assert_eq!(all_leads(stores, tenant.id(), 10).await, [before]);
}
