//! The table of the crate's doc: in each state, what the port answers, and what becomes of the job.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use leadtrail_contract::fixtures::{at, tenant};
use leadtrail_crm_pipedrive::PipedriveCrm;
use leadtrail_domain::crm::{Candidate, FieldValue, Patch, PersonId, PersonQuery, Receipt};
use leadtrail_domain::ports::{Crm, CrmError};
use leadtrail_domain::project::OnMany;
use leadtrail_domain::sync::matching::{Match, judge};
use leadtrail_domain::sync::schedule::{NOT_FOUND_RETRIES, Verdict, next_look, verdict};
use leadtrail_domain::sync::{JobStatus, SyncJob};
use leadtrail_domain::time::Timestamp;
use leadtrail_outbound::{Outbound, OutboundSettings};
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::fake::{Operation, PipedriveFake, key, outbound, settings, validation_failed};
use crate::limits::StoppedClock;
use crate::raw::{Manner, RawServer};

/// What is told.
const FIELDS: [&str; 2] = ["UTM Source", "UTM Medium"];

/// The states Pipedrive can be put into, by the names that the table has for them.
const STATES: [(&str, State); 43] = {
    use State::{Account, Answer, Patch, Raw, Search};
    [
        ("answers as it should", Account(|_fake, _jane| {})),
        ("has an index that lags behind", Account(|fake, _jane| fake.lag_searches(1))),
        ("knows nobody with the e-mail", Account(PipedriveFake::remove_person)),
        (
            "has a near match in its index",
            Account(|fake, jane| {
                fake.remove_person(jane);
                add(fake, "not-jane@example.com");
            }),
        ),
        ("has two persons with the e-mail", Account(|fake, _jane| add(fake, "Jane@Example.com"))),
        ("has deleted the person", Account(PipedriveFake::mark_deleted)),
        (
            "says null where its document does not",
            Search(|| {
                let jane = json!({"item": {"id": 1, "name": null, "emails": [null, "jane@example.com"]}});
                success(&json!({"items": [{"item": null}, jane, {"item": {"id": null, "emails": null}}]}))
            }),
        ),
        (
            "answers with fields nobody knows",
            Search(|| {
                let jane = json!({"id": 1, "emails": ["jane@example.com"], "tags": [{"a": 1}], "type": 7});
                success(&json!({"items": [{"item": jane, "score": {"of": "what"}}], "facets": []}))
            }),
        ),
        (
            "refuses one field by name, 400",
            Account(|fake, _jane| {
                let refusal = validation_failed(&format!("custom_fields.{}: no", key(FIELDS[0]).0));
                fake.answer_next(Operation::PatchPerson, refusal);
            }),
        ),
        ("refuses without a name, 400", Answer(|| failure(400))),
        ("says 401", Answer(|| failure(401))),
        ("says 402", Answer(|| failure(402))),
        (
            "says 403 in JSON",
            Answer(|| {
                let body = json!({"success": false, "error": "no", "code": "ERR_FORBIDDEN"});
                ResponseTemplate::new(403).set_body_json(body)
            }),
        ),
        ("says 403 in HTML", Answer(|| html(403))),
        ("says 404 to the update", Patch(|| failure(404))),
        ("says 404 to everything", Answer(|| failure(404))),
        ("says 405", Answer(|| failure(405))),
        ("says 408", Answer(|| failure(408))),
        ("says 410 to the update", Patch(|| failure(410))),
        ("says 415", Answer(|| failure(415))),
        ("says 422", Answer(|| failure(422))),
        ("says 423", Answer(|| failure(423))),
        ("says 429", Answer(|| failure(429))),
        ("says 429 for 10 s", Answer(|| failure(429).insert_header("retry-after", "10"))),
        ("says 429 for 3939 s", Answer(|| failure(429).insert_header("retry-after", "3939"))),
        (
            "says 429 for the day",
            Answer(|| {
                let body =
                    json!({"success": false, "error": "daily request budget exceeded", "errorCode": 429});
                ResponseTemplate::new(429).set_body_json(body)
            }),
        ),
        (
            "says 429 with nothing left of the day",
            Answer(|| failure(429).insert_header("x-daily-ratelimit-token-remaining", "0")),
        ),
        ("was asked ten times in two seconds", State::Busy),
        ("says 500", Answer(|| failure(500))),
        (
            "says 500 once",
            Account(|fake, _jane| {
                fake.answer_next(Operation::Search, failure(500));
                fake.answer_next(Operation::PatchPerson, failure(500));
            }),
        ),
        ("says 501", Answer(|| failure(501))),
        ("says 503 in HTML", Answer(|| html(503))),
        ("redirects to elsewhere", State::Redirect),
        ("says 200 in HTML", Answer(|| html(200))),
        (
            "says 200 with broken JSON",
            Answer(|| ResponseTemplate::new(200).set_body_string(r#"{"success":true,"data":{"items":["#)),
        ),
        ("says 200 with `success` false", Answer(|| failure(200))),
        ("says 200 with other data", Answer(|| success(&json!("surprise")))),
        ("cannot be connected to", State::Nowhere),
        ("is silent for 20 s", Raw(Manner::Silent)),
        ("stops within the body", Raw(Manner::Stops)),
        ("breaks off within the body", Raw(Manner::BreaksOff)),
        ("sends 2 MiB", Answer(|| ResponseTemplate::new(200).set_body_string("x".repeat(2 * 1_024 * 1_024)))),
        ("sends without end", Raw(Manner::Endless)),
    ]
};

/// How a state is brought about.
enum State {
    /// By what is done to an account that has Jane.
    Account(fn(&PipedriveFake, &PersonId)),
    /// Every request is answered like this.
    Answer(fn() -> ResponseTemplate),
    /// Every search is.
    Search(fn() -> ResponseTemplate),
    /// Every update is.
    Patch(fn() -> ResponseTemplate),
    /// Every request is led to another server.
    Redirect,
    /// The searches of the moment are used up.
    Busy,
    /// By a server that breaks HTTP's rules.
    Raw(Manner),
    /// There is no server.
    Nowhere,
}

#[test]
fn in_each_state_the_outcome_is_the_one_of_the_table_in_the_crates_doc() {
    let doc = include_str!("../../src/lib.rs");
    let rows: Vec<Vec<&str>> = doc
        .lines()
        .filter_map(|line| line.strip_prefix("//! | ")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").collect())
        .skip(1)
        .collect();
    let listed: BTreeSet<&str> = rows.iter().map(|row| row[0]).collect();
    let known: BTreeSet<&str> = STATES.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, known);
    assert_eq!(rows.len(), known.len(), "a state is listed twice");
    for row in rows {
        let (name, state) = STATES.iter().find(|(name, _)| *name == row[0]).expect("all are known");
        // Silence is over at once where time runs ahead of those who only wait.
        let waits = matches!(state, State::Raw(Manner::Silent | Manner::Stops));
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(waits).build().expect("a runtime can be started");
        let outcome = runtime.block_on(outcome_in(state));
        assert_eq!(outcome, row[1..], "Pipedrive {name}");
    }
}

async fn outcome_in(state: &State) -> [String; 3] {
    match state {
        State::Nowhere => {
            let closed = RawServer::start(Manner::Silent).uri();
            outcome(&PipedriveCrm::new(settings(&closed), outbound()), &jane_of_nowhere()).await
        }
        State::Raw(manner) => {
            let server = RawServer::start(*manner);
            let patient = Arc::new(Outbound::new(&OutboundSettings::default()));
            outcome(&PipedriveCrm::new(settings(&server.uri()), patient), &jane_of_nowhere()).await
        }
        State::Account(_)
        | State::Answer(_)
        | State::Search(_)
        | State::Patch(_)
        | State::Redirect
        | State::Busy => outcome_at_the_fake(state).await,
    }
}

async fn outcome_at_the_fake(state: &State) -> [String; 3] {
    let fake = PipedriveFake::start().await;
    let elsewhere = PipedriveFake::start().await;
    let jane = fake.add_jane();
    let mut settings = fake.settings();
    if matches!(state, State::Busy) {
        settings.call_time_max = Duration::from_secs(1);
    }
    let crm = PipedriveCrm::new(settings, outbound());
    crm.list_fields().await.expect("the fields are listed before");
    let mut stopped = None;
    let asked = [Operation::Search, Operation::ListPersons, Operation::ReadPerson, Operation::PatchPerson];
    let script = |operations: &[Operation], answer: ResponseTemplate| {
        for operation in operations {
            fake.answer_always(*operation, answer.clone());
        }
    };
    match state {
        State::Account(change) => change(&fake, &jane),
        State::Answer(answer) => script(&asked, answer()),
        State::Search(answer) => script(&[Operation::Search], answer()),
        State::Patch(answer) => script(&[Operation::PatchPerson], answer()),
        State::Redirect => {
            let to = format!("{}/api/v2/persons/search?term=jane", elsewhere.uri());
            script(&asked, ResponseTemplate::new(307).insert_header("location", to));
        }
        State::Busy => {
            stopped = Some(StoppedClock::stop());
            for _search in 0..10 {
                crm.find(&PersonQuery::Name("Jane Doe".to_owned())).await.expect("ten may be sent");
            }
        }
        State::Raw(_) | State::Nowhere => {}
    }
    let outcome = outcome(&crm, &jane).await;
    let stored: Vec<Value> = FIELDS.iter().map(|field| fake.stored(&jane, field)).collect();
    let expected = match outcome[1].as_str() {
        "written" => [json!("news"), json!("news")],
        "written but for 1" => [json!(null), json!("news")],
        _nothing_else_writes => [json!(null), json!(null)],
    };
    assert_eq!(stored, expected, "{outcome:?}");
    assert!(elsewhere.asked().is_empty(), "the redirect was followed");
    drop(stopped);
    outcome
}

/// A look-up, and an update unless the look-up found that there is nobody to update.
async fn outcome(crm: &PipedriveCrm, jane: &PersonId) -> [String; 3] {
    let email = "jane@example.com".parse().expect("an e-mail");
    let by = PersonQuery::Email { email, changed_since: Timestamp::EPOCH };
    let found = crm.find(&by).await;
    let matched = found.as_deref().map(|candidates| judge(&by, candidates, OnMany::Ambiguous));
    let told: Patch = FIELDS.iter().map(|name| (key(name), FieldValue::Text("news".to_owned()))).collect();
    let updated = match matched {
        Ok(Match::Nobody | Match::Ambiguous(_)) => None,
        Ok(Match::Persons(_)) | Err(_) => Some(crm.update(jane, &told).await),
    };
    let failed = |error: &CrmError| match verdict(&job(), error, false, at(8)) {
        Verdict::Again(_) => "waits",
        Verdict::AgainCounted(_) => "waits, five times at most",
        Verdict::Dead => "error",
    };
    let of_job = match (&matched, &updated) {
        (Err(error), _) => failed(error),
        (Ok(Match::Persons(_)), Some(Err(error))) => failed(error),
        (Ok(Match::Nobody), _) if next_look(&job(), 1, at(8), &NOT_FOUND_RETRIES).is_some() => {
            "looked for again"
        }
        (Ok(Match::Nobody), _) => "not_found",
        (Ok(Match::Ambiguous(_)), _) => "ambiguous",
        (Ok(Match::Persons(_)), _) => "synced",
    };
    [look_up(&found), update(updated.as_ref()), of_job.to_owned()]
}

fn look_up(found: &Result<Vec<Candidate>, CrmError>) -> String {
    match found.as_deref() {
        Ok([]) => "nobody".to_owned(),
        Ok([_one]) => "1 person".to_owned(),
        Ok(several) => format!("{} persons", several.len()),
        Err(error) => in_words(error),
    }
}

fn update(updated: Option<&Result<Receipt, CrmError>>) -> String {
    match updated {
        None => "–".to_owned(),
        Some(Ok(receipt)) if receipt.dropped.is_empty() => "written".to_owned(),
        Some(Ok(receipt)) => format!("written but for {}", receipt.dropped.len()),
        Some(Err(error)) => in_words(error),
    }
}

fn in_words(error: &CrmError) -> String {
    match error {
        CrmError::Transient(_) => "`Transient`".to_owned(),
        CrmError::RateLimited { retry_after, scope } => {
            format!("`RateLimited ({scope:?}, {} s)`", retry_after.as_secs())
        }
        CrmError::Auth(_) => "`Auth`".to_owned(),
        CrmError::NotFound => "`NotFound`".to_owned(),
        CrmError::Permanent { code, fields: _ } => format!("`Permanent ({code})`"),
    }
}

fn job() -> SyncJob {
    let visitor = tenant(1).visitor(1);
    let new = visitor.submits(1, 0, 0, "jane@example.com", 1).jobs.remove(0);
    SyncJob {
        id: new.id,
        project_id: new.project_id,
        account: new.account,
        lead_id: new.lead_id,
        email_hash: new.email_hash,
        sequence: new.sequence,
        created_at: new.created_at,
        due_at: new.due_at,
        status: JobStatus::Pending,
        looks: 0,
        failures: 0,
        wanted: None,
        planned: None,
        persons: Vec::new(),
        last_error: None,
        ended_at: None,
    }
}

fn add(fake: &PipedriveFake, email: &str) {
    fake.add_person("Jane", "Roe", &[email.to_owned()], Timestamp::EPOCH);
}

fn jane_of_nowhere() -> PersonId {
    PersonId("1".to_owned())
}

fn success(data: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"success": true, "data": data, "related": {"x": []}}))
}

fn failure(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status)
        .set_body_json(json!({"success": false, "error": "as asked for", "data": null}))
}

fn html(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_string("<!DOCTYPE html><title>Attention</title>")
}
