//! The token, the e-mails and the values: nothing of them leaves by a log, an error or a `Debug`. That no token stands
//! in a URL is checked of every request of every test.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use leadtrail_crm_pipedrive::PipedriveCrm;
use leadtrail_domain::crm::{FieldValue, Patch, PersonQuery};
use leadtrail_domain::ports::Crm;
use leadtrail_domain::time::Timestamp;
use serde_json::json;
use tracing_subscriber::fmt::format::FmtSpan;
use wiremock::ResponseTemplate;

use crate::fake::{FAKE_TOKEN, Operation, PipedriveFake, key, outbound, settings};

#[tokio::test]
async fn no_error_and_no_debug_shows_the_token_an_e_mail_a_name_or_a_value() {
    let quoting = json!({
        "success": false,
        "error": format!("token {FAKE_TOKEN} of jane@example.com may not set secret-campaign for Jane Doe"),
        "error_info": FAKE_TOKEN, "code": FAKE_TOKEN,
    });
    // Real tokens have the form of field codes.
    let token_like = key("no token").0;
    let quoting_token =
        json!({"success": false, "error": format!("no access with {token_like}"), "code": &token_like});
    let mut answers: Vec<ResponseTemplate> = [400, 401, 402, 403, 404, 405, 422, 423, 429, 500, 503]
        .into_iter()
        .map(|status| ResponseTemplate::new(status).set_body_json(&quoting))
        .collect();
    answers.push(ResponseTemplate::new(200).set_body_json(&quoting));
    answers.push(ResponseTemplate::new(200).set_body_json(json!({"data": FAKE_TOKEN})));
    answers.push(ResponseTemplate::new(200).set_body_json(json!({"data": {"items": "jane@example.com"}})));
    answers.push(ResponseTemplate::new(403).set_body_string(FAKE_TOKEN));
    answers.push(ResponseTemplate::new(400).set_body_json(&quoting_token));
    answers.push(ResponseTemplate::new(405).set_body_json(&quoting_token));
    answers.push(ResponseTemplate::new(500).insert_header("x-correlation-id", "jane@example.com"));

    let mut shown = Vec::new();
    for answer in answers {
        let fake = PipedriveFake::start().await;
        let jane = fake.add_jane();
        let crm = fake.crm();
        crm.list_fields().await.unwrap();
        for operation in [Operation::Search, Operation::ReadPerson, Operation::PatchPerson] {
            fake.answer_always(operation, answer.clone());
        }
        shown.extend(everything_shown(&crm, &jane).await);
    }
    let unreachable = PipedriveCrm::new(settings("http://127.0.0.1:1"), outbound());
    shown.extend(everything_shown(&unreachable, &leadtrail_domain::crm::PersonId("1".to_owned())).await);

    for text in shown {
        for secret in [FAKE_TOKEN, &token_like, "jane", "Jane", "secret-campaign"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

async fn everything_shown(crm: &PipedriveCrm, jane: &leadtrail_domain::crm::PersonId) -> Vec<String> {
    let patch = Patch::from([(key("UTM Source"), FieldValue::Text("secret-campaign".to_owned()))]);
    let email = "jane@example.com".parse().expect("an e-mail");
    let by_email = PersonQuery::Email { email, changed_since: Timestamp::EPOCH };
    let errors = [
        crm.find(&by_email).await.err(),
        crm.find(&PersonQuery::Name("Jane Doe".to_owned())).await.err(),
        crm.read(jane, &patch.keys().cloned().collect()).await.err(),
        crm.update(jane, &patch).await.err(),
    ];
    let errors = errors.into_iter().flatten().map(|error| format!("{error} {error:?}"));
    errors.chain([format!("{crm:?} {:?}", settings("http://127.0.0.1:1"))]).collect()
}

/// Where a log ends up.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_shows_the_token_an_e_mail_a_name_or_a_value() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_writer(move || writer.clone())
        .finish();
    // With one subscriber alone, what another test's thread logs first is judged by that thread's: none, for ever.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _here = tracing::subscriber::set_default(subscriber);
    let fake = PipedriveFake::start().await;
    let jane = fake.add_jane();
    everything_shown(&fake.crm(), &jane).await;
    fake.answer_always(Operation::Search, ResponseTemplate::new(500).set_body_string(FAKE_TOKEN));
    everything_shown(&fake.crm(), &jane).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("outbound.request.send"), "nothing was logged: {text}");
    for secret in [FAKE_TOKEN, "jane", "Jane", "secret-campaign"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
