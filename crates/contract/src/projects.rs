//! The suite of [`Projects`](leadtrail_domain::ports::Projects).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leadtrail_domain::conversion::ConversionRule;
use leadtrail_domain::crm::WritePolicy;
use leadtrail_domain::event::EventKind;
use leadtrail_domain::model::ModelSettings;
use leadtrail_domain::ports::{Created, Page, StoreError};
use leadtrail_domain::project::{
    BotMode, ConsentMode, CrmSettings, FieldTarget, GpcMode, IpMode, NameMatch, OnMany, Pixel, PixelContext,
    PixelSettings, Project, ProjectSettings, TouchChoice, UrlQuery,
};
use leadtrail_domain::time::Span;

use crate::Stores;
use crate::fixtures::{Tenant, at, pixel, pixel_id, project, slug};

suite!($ projects_contract, projects, Stores,
    "`leadtrail_contract::projects_contract!(async { Stores::of(store().await) });`", [
    a_project_is_read_as_it_was_created,
    a_taken_slug_answers_the_project_that_has_it,
    of_twelve_concurrent_creations_of_a_slug_one_is_new,
    a_project_that_does_not_exist_is_not_found,
    projects_are_listed_by_id_in_pages_archived_ones_too,
    a_project_is_updated_but_for_its_creation,
    a_project_that_does_not_exist_is_not_updated,
    a_project_that_somebody_else_has_changed_is_not_updated,
    of_twelve_concurrent_updates_of_one_state_one_is_made,
    twelve_concurrent_changes_of_a_project_all_survive,
    a_project_may_not_take_anothers_slug,
    a_pixel_is_read_as_it_was_created,
    a_pixel_that_exists_is_answered_unchanged,
    a_pixel_may_not_have_the_id_of_another_projects_pixel,
    a_pixel_of_no_project_is_rejected,
    of_twelve_concurrent_creations_of_a_pixel_one_is_new,
    a_pixel_is_not_shown_to_another_project,
    pixels_are_listed_by_id_in_pages_archived_ones_too,
    a_pixel_is_updated_but_for_its_creation,
    a_pixel_that_does_not_exist_is_not_updated,
    a_pixel_that_somebody_else_has_changed_is_not_updated,
    twelve_concurrent_changes_of_a_pixel_all_survive,
    a_pixels_context_is_the_pixel_with_its_project,
]);

/// A project that differs from the default in every setting.
fn particular(n: u32) -> Project {
    Project {
        name: "Bücher & Möbel \u{1f6d2}".to_owned(),
        settings: ProjectSettings {
            time_zone: in_zurich().time_zone,
            retention_days: Some(400),
            consent: ConsentMode::Required,
            gpc: GpcMode::Honour,
            ip: IpMode::Masked,
            bots: BotMode::Mark,
            ignore_referrers: vec![
                "*.pay.example".parse().expect("a host"),
                "a.example".parse().expect("a host"),
            ],
            split_sessions_on_campaign: true,
            conversions: BTreeMap::from([(
                "Angebot €".parse().expect("the name of a conversion"),
                ConversionRule {
                    event: Some(EventKind::Custom("größe gewählt".to_owned())),
                    page: Some("*.shop.example/größe/**".parse().expect("a page")),
                    value: Some(-0.5),
                },
            )]),
            sync_delay: Some(Span::try_from(Duration::from_secs(90)).expect("a span")),
            attribution: ModelSettings {
                lookback: "30d".parse().expect("a span"),
                half_life: "36h".parse().expect("a span"),
            },
            crm: CrmSettings {
                enabled: false,
                account: slug("second"),
                touch: TouchChoice::Session,
                on_many: OnMany::All,
                name_match: NameMatch::Off,
                url_query: UrlQuery::Full,
                visited_pages_max: 0,
                mapping: BTreeMap::from([(
                    "utm_source".parse().expect("one of our fields"),
                    FieldTarget { field: Some("Quelle".to_owned()), policy: Some(WritePolicy::Once) },
                )]),
            },
        },
        archived_at: Some(at(3)),
        ..project(n)
    }
}

fn in_zurich() -> ProjectSettings {
    serde_json::from_str(r#"{"time_zone": "Europe/Zurich"}"#).expect("a time zone")
}

fn particular_pixel(of: &Tenant, id: &str) -> Pixel {
    Pixel {
        name: "Größe".to_owned(),
        settings: PixelSettings {
            origins: vec!["*.shop.example".parse().expect("a host"), "a.example".parse().expect("a host")],
            form_fields: vec!["company".to_owned(), "größe".to_owned()],
        },
        archived_at: Some(at(4)),
        ..pixel(of.id(), id)
    }
}

async fn create(stores: &Stores, project: &Project) {
    let created = stores.projects.create_project(project).await.expect("the project is created");
    assert_eq!(created, Created::New(project.clone()));
}

async fn create_pixel(stores: &Stores, pixel: &Pixel) {
    let created = stores.projects.create_pixel(pixel).await.expect("the pixel is created");
    assert_eq!(created, Created::New(pixel.clone()));
}

async fn a_project_is_read_as_it_was_created(stores: &Stores) {
    for project in [project(1), particular(2)] {
        create(stores, &project).await;
        let by_id = stores.projects.project(project.id).await.expect("the store answers");
        assert_eq!(by_id.as_ref(), Some(&project));
        let by_slug = stores.projects.project_by_slug(&project.slug).await.expect("the store answers");
        assert_eq!(by_slug.as_ref(), Some(&project));
    }
}

async fn a_taken_slug_answers_the_project_that_has_it(stores: &Stores) {
    let first = particular(1);
    create(stores, &first).await;
    let second = Project { slug: first.slug.clone(), ..project(2) };
    let answer = stores.projects.create_project(&second).await.expect("the store answers");
    assert_eq!(answer, Created::Existing(first.clone()));
    assert_eq!(stores.projects.project(second.id).await.expect("the store answers"), None);
    assert_eq!(stores.projects.project(first.id).await.expect("the store answers"), Some(first));
}

async fn of_twelve_concurrent_creations_of_a_slug_one_is_new(stores: &Stores) {
    let tasks = (1..=12).map(|n| {
        let (projects, project) = (Arc::clone(&stores.projects), Project { slug: slug("one"), ..project(n) });
        tokio::spawn(async move { projects.create_project(&project).await })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut new = 0;
    let mut answered = Vec::new();
    for answer in futures::future::join_all(tasks).await {
        let created = answer.expect("no creation panics").expect("the store answers");
        new += usize::from(matches!(created, Created::New(_)));
        answered.push(created.into_inner());
    }
    assert_eq!(new, 1);
    assert!(answered.iter().all(|project| *project == answered[0]));
}

async fn a_project_that_does_not_exist_is_not_found(stores: &Stores) {
    create(stores, &project(1)).await;
    assert_eq!(stores.projects.project(project(2).id).await.expect("the store answers"), None);
    assert_eq!(stores.projects.project_by_slug(&slug("project-2")).await.expect("the store answers"), None);
    // Slugs are told apart by case.
    assert_eq!(stores.projects.project_by_slug(&slug("PROJECT-1")).await.expect("the store answers"), None);
}

async fn projects_are_listed_by_id_in_pages_archived_ones_too(stores: &Stores) {
    let mut all = vec![project(1), particular(2), project(3), project(4), particular(5)];
    for project in &all {
        create(stores, project).await;
    }
    all.sort_by_key(|project| project.id);
    for limit in [1, 2, 5, 50] {
        let mut page = Page::first(limit);
        let mut listed = Vec::new();
        loop {
            let found = stores.projects.projects(&page).await.expect("the store answers");
            assert!(u32::try_from(found.len()).is_ok_and(|len| len <= limit));
            let Some(last) = found.last() else { break };
            page.after = Some(last.id);
            listed.extend(found);
        }
        assert_eq!(listed, all);
    }
}

async fn a_project_is_updated_but_for_its_creation(stores: &Stores) {
    create(stores, &project(1)).await;
    create(stores, &project(2)).await;
    // Neither the id nor the time of its creation can be changed.
    let changed = Project { id: project(9).id, slug: slug("renamed"), created_at: at(99), ..particular(1) };
    assert!(stores.projects.update_project(&project(1), &changed).await.expect("the store answers"));
    let expected = Project { id: project(1).id, created_at: at(0), ..changed };
    assert_eq!(
        stores.projects.project(expected.id).await.expect("the store answers"),
        Some(expected.clone())
    );
    let by_slug = stores.projects.project_by_slug(&slug("renamed")).await.expect("the store answers");
    assert_eq!(by_slug.as_ref(), Some(&expected));
    assert_eq!(stores.projects.project_by_slug(&slug("project-1")).await.expect("the store answers"), None);
    let other = stores.projects.project(project(2).id).await.expect("the store answers");
    assert_eq!(other, Some(project(2)));
    // And back: what was set can be cleared, and a slug may be kept.
    assert!(stores.projects.update_project(&expected, &project(1)).await.expect("the store answers"));
    assert!(stores.projects.update_project(&project(1), &project(1)).await.expect("the store answers"));
    assert_eq!(stores.projects.project(project(1).id).await.expect("the store answers"), Some(project(1)));
}

async fn a_project_that_does_not_exist_is_not_updated(stores: &Stores) {
    assert!(!stores.projects.update_project(&project(1), &particular(1)).await.expect("the store answers"));
    assert_eq!(stores.projects.project(project(1).id).await.expect("the store answers"), None);
}

async fn a_project_that_somebody_else_has_changed_is_not_updated(stores: &Stores) {
    create(stores, &project(1)).await;
    let theirs = Project { name: "theirs".to_owned(), ..project(1) };
    assert!(stores.projects.update_project(&project(1), &theirs).await.expect("the store answers"));
    for was in [
        project(1),
        Project { slug: slug("other"), ..theirs.clone() },
        Project { settings: in_zurich(), ..theirs.clone() },
        Project { archived_at: Some(at(3)), ..theirs.clone() },
    ] {
        let answer = stores.projects.update_project(&was, &particular(1)).await;
        assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
    }
    let found = stores.projects.project(theirs.id).await.expect("the store answers");
    assert_eq!(found.as_ref(), Some(&theirs));
    // What is equal is equal, however it was written down.
    let written: Project = serde_json::to_string(&particular(1))
        .and_then(|text| serde_json::from_str(&text))
        .expect("a project is read as it was written");
    let (theirs, particular) = (theirs, Project { archived_at: None, ..particular(1) });
    assert!(stores.projects.update_project(&theirs, &particular).await.expect("the store answers"));
    let again = Project { archived_at: None, ..written };
    assert!(stores.projects.update_project(&again, &project(1)).await.expect("the store answers"));
}

async fn of_twelve_concurrent_updates_of_one_state_one_is_made(stores: &Stores) {
    create(stores, &project(1)).await;
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let projects = Arc::clone(&stores.projects);
            let becomes = Project { name: format!("attempt {n}"), ..project(1) };
            tokio::spawn(async move { projects.update_project(&project(1), &becomes).await })
        })
        .collect();
    let mut made = 0;
    for answer in futures::future::join_all(tasks).await {
        match answer.expect("no update panics") {
            Ok(true) => made += 1,
            Err(StoreError::Stale) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(made, 1);
}

async fn twelve_concurrent_changes_of_a_project_all_survive(stores: &Stores) {
    create(stores, &project(1)).await;
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let projects = Arc::clone(&stores.projects);
            tokio::spawn(async move {
                loop {
                    let found = projects.project(project(1).id).await.expect("the store answers");
                    let was = found.expect("the project stays");
                    let mut becomes = was.clone();
                    let host = format!("pay{n}.example").parse().expect("a host");
                    becomes.settings.ignore_referrers.push(host);
                    match projects.update_project(&was, &becomes).await {
                        Ok(true) => return,
                        Err(StoreError::Stale) => {}
                        other => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    for task in futures::future::join_all(tasks).await {
        task.expect("no change panics");
    }
    let found = stores.projects.project(project(1).id).await.expect("the store answers");
    let mut hosts = found.expect("the project stays").settings.ignore_referrers;
    hosts.sort_by_key(ToString::to_string);
    hosts.dedup();
    assert_eq!(hosts.len(), 12);
}

async fn a_project_may_not_take_anothers_slug(stores: &Stores) {
    create(stores, &project(1)).await;
    create(stores, &project(2)).await;
    let greedy = Project { slug: slug("project-1"), ..project(2) };
    let answer = stores.projects.update_project(&project(2), &greedy).await;
    assert!(matches!(answer, Err(StoreError::Taken(_))), "{answer:?}");
    assert_eq!(stores.projects.project(greedy.id).await.expect("the store answers"), Some(project(2)));
}

async fn a_pixel_is_read_as_it_was_created(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    for pixel in [pixel(tenant.id(), "plain"), particular_pixel(&tenant, "particular")] {
        create_pixel(stores, &pixel).await;
        let found = stores.projects.pixel(tenant.id(), &pixel.id).await.expect("the store answers");
        assert_eq!(found, Some(pixel));
    }
    assert_eq!(
        stores.projects.pixel(tenant.id(), &pixel_id("PLAIN")).await.expect("the store answers"),
        None
    );
}

async fn a_pixel_that_exists_is_answered_unchanged(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let again = particular_pixel(&tenant, tenant.pixel.id.as_str());
    let answer = stores.projects.create_pixel(&again).await.expect("the store answers");
    assert_eq!(answer, Created::Existing(tenant.pixel.clone()));
    let found = stores.projects.pixel(tenant.id(), &tenant.pixel.id).await.expect("the store answers");
    assert_eq!(found, Some(tenant.pixel));
}

async fn a_pixel_may_not_have_the_id_of_another_projects_pixel(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let answer = stores.projects.create_pixel(&pixel(ours.id(), theirs.pixel.id.as_str())).await;
    assert!(matches!(answer, Err(StoreError::Taken(_))), "{answer:?}");
    assert_eq!(stores.projects.pixel(ours.id(), &theirs.pixel.id).await.expect("the store answers"), None);
}

async fn a_pixel_of_no_project_is_rejected(stores: &Stores) {
    let answer = stores.projects.create_pixel(&pixel(project(1).id, "px")).await;
    assert!(matches!(answer, Err(StoreError::Rejected(_))), "{answer:?}");
    assert_eq!(stores.projects.pixel_context(&pixel_id("px")).await.expect("the store answers"), None);
}

async fn of_twelve_concurrent_creations_of_a_pixel_one_is_new(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let projects = Arc::clone(&stores.projects);
            let pixel = Pixel { name: format!("attempt {n}"), ..pixel(tenant.id(), "one") };
            tokio::spawn(async move { projects.create_pixel(&pixel).await })
        })
        .collect();
    let mut new = 0;
    for answer in futures::future::join_all(tasks).await {
        let created = answer.expect("no creation panics").expect("the store answers");
        new += usize::from(matches!(created, Created::New(_)));
    }
    assert_eq!(new, 1);
}

async fn a_pixel_is_not_shown_to_another_project(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    assert_eq!(stores.projects.pixel(ours.id(), &theirs.pixel.id).await.expect("the store answers"), None);
    let listed = stores.projects.pixels(ours.id(), &Page::first(10)).await.expect("the store answers");
    assert_eq!(listed, std::slice::from_ref(&ours.pixel));
    let stolen = Pixel { project_id: ours.id(), ..theirs.pixel.clone() };
    assert!(!stores.projects.update_pixel(&stolen, &stolen).await.expect("the store answers"));
    // Nor does a pixel change hands.
    assert!(stores.projects.update_pixel(&theirs.pixel, &stolen).await.expect("the store answers"));
    let found = stores.projects.pixel(theirs.id(), &theirs.pixel.id).await.expect("the store answers");
    assert_eq!(found, Some(theirs.pixel));
}

async fn pixels_are_listed_by_id_in_pages_archived_ones_too(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let mut all = vec![tenant.pixel.clone()];
    // Ordered by bytes and not as any language orders them.
    for id in ["-x", "B", "_", "a", "b"] {
        let pixel = particular_pixel(&tenant, id);
        create_pixel(stores, &pixel).await;
        all.push(pixel);
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    for limit in [1, 4, 50] {
        let mut page = Page::first(limit);
        let mut listed = Vec::new();
        loop {
            let found = stores.projects.pixels(tenant.id(), &page).await.expect("the store answers");
            assert!(u32::try_from(found.len()).is_ok_and(|len| len <= limit));
            let Some(last) = found.last() else { break };
            page.after = Some(last.id.clone());
            listed.extend(found);
        }
        assert_eq!(listed, all);
    }
}

async fn a_pixel_is_updated_but_for_its_creation(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let changed = Pixel { created_at: at(99), ..particular_pixel(&tenant, "another-id") };
    assert!(stores.projects.update_pixel(&tenant.pixel, &changed).await.expect("the store answers"));
    let changed = Pixel { id: tenant.pixel.id.clone(), created_at: at(0), ..changed };
    let found = stores.projects.pixel(tenant.id(), &changed.id).await.expect("the store answers");
    assert_eq!(found.as_ref(), Some(&changed));
    assert!(stores.projects.update_pixel(&changed, &tenant.pixel).await.expect("the store answers"));
    let found = stores.projects.pixel(tenant.id(), &tenant.pixel.id).await.expect("the store answers");
    assert_eq!(found, Some(tenant.pixel));
}

async fn a_pixel_that_does_not_exist_is_not_updated(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let none = pixel(tenant.id(), "none");
    assert!(!stores.projects.update_pixel(&none, &none).await.expect("the store answers"));
    assert_eq!(stores.projects.pixel(tenant.id(), &none.id).await.expect("the store answers"), None);
}

async fn a_pixel_that_somebody_else_has_changed_is_not_updated(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let theirs = particular_pixel(&tenant, tenant.pixel.id.as_str());
    assert!(stores.projects.update_pixel(&tenant.pixel, &theirs).await.expect("the store answers"));
    for was in [
        tenant.pixel.clone(),
        Pixel { settings: PixelSettings::default(), ..theirs.clone() },
        Pixel { archived_at: None, ..theirs.clone() },
    ] {
        let answer = stores.projects.update_pixel(&was, &tenant.pixel).await;
        assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
    }
    let found = stores.projects.pixel(tenant.id(), &theirs.id).await.expect("the store answers");
    assert_eq!(found.map(|pixel| pixel.name), Some(theirs.name));
}

async fn twelve_concurrent_changes_of_a_pixel_all_survive(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let (project, id) = (tenant.id(), tenant.pixel.id);
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let (projects, id) = (Arc::clone(&stores.projects), id.clone());
            tokio::spawn(async move {
                loop {
                    let found = projects.pixel(project, &id).await.expect("the store answers");
                    let was = found.expect("the pixel stays");
                    let mut becomes = was.clone();
                    becomes.settings.form_fields.push(format!("field{n}"));
                    match projects.update_pixel(&was, &becomes).await {
                        Ok(true) => return,
                        Err(StoreError::Stale) => {}
                        other => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    for task in futures::future::join_all(tasks).await {
        task.expect("no change panics");
    }
    let found = stores.projects.pixel(project, &id).await.expect("the store answers");
    let mut fields = found.expect("the pixel stays").settings.form_fields;
    fields.sort_unstable();
    fields.dedup();
    assert_eq!(fields.len(), 12);
}

async fn a_pixels_context_is_the_pixel_with_its_project(stores: &Stores) {
    let ours = Tenant::create(stores, 1).await;
    let theirs = Tenant { project: particular(2), pixel: pixel(particular(2).id, "px-2") };
    create(stores, &theirs.project).await;
    create_pixel(stores, &theirs.pixel).await;
    for tenant in [ours, theirs] {
        let context = stores.projects.pixel_context(&tenant.pixel.id).await.expect("the store answers");
        assert_eq!(context, Some(PixelContext { pixel: tenant.pixel, project: tenant.project }));
    }
    assert_eq!(stores.projects.pixel_context(&pixel_id("none")).await.expect("the store answers"), None);
}
