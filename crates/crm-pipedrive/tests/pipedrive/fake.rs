use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leadtrail_crm_pipedrive::{PipedriveCrm, PipedriveSettings};
use leadtrail_domain::crm::{FieldKey, PersonId};
use leadtrail_domain::time::Timestamp;
use leadtrail_outbound::{Outbound, OutboundSettings};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// Not a token.
pub(crate) const FAKE_TOKEN: &str = "fake-pipedrive-token-for-tests";

/// The custom fields the account begins with: name and type.
const FIELDS: [(&str, &str); 8] = [
    ("UTM Source", "varchar"),
    ("UTM Medium", "varchar"),
    ("Landing Page", "text"),
    ("Lead Count", "double"),
    ("First Seen On", "date"),
    ("Size", "enum"),
    ("Interests", "set"),
    ("Budget", "monetary"),
];
/// The types a field may be made of.
const FIELD_TYPES: [&str; 16] = [
    "varchar",
    "text",
    "double",
    "phone",
    "date",
    "daterange",
    "time",
    "timerange",
    "set",
    "enum",
    "varchar_auto",
    "address",
    "monetary",
    "org",
    "people",
    "user",
];
/// The options of `Size` and of `Interests`, with their ids.
const SIZES: [(&str, u64); 2] = [("Small", 31), ("Large", 32)];

/// What is asked of the API.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Operation {
    Search,
    ListPersons,
    ReadPerson,
    PatchPerson,
    ListFields,
    CreateField,
}

impl Operation {
    pub(crate) const ALL: [Self; 6] = [
        Self::Search,
        Self::ListPersons,
        Self::ReadPerson,
        Self::PatchPerson,
        Self::ListFields,
        Self::CreateField,
    ];
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Below the base URL, with `{id}` in the place of a person's id.
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) body: Value,
}

/// An account of Pipedrive's with its API, as of 2026-08-18. What the adapter must never send fails the test when
/// the account is dropped, whatever the adapter made of the answer.
pub(crate) struct PipedriveFake {
    server: MockServer,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    persons: BTreeMap<u64, Person>,
    next_id: u64,
    fields: Vec<Field>,
    budget: Option<(String, String)>,
    asked: Vec<Asked>,
    lagging_searches: u32,
    scripted: VecDeque<(Operation, ResponseTemplate)>,
    standing: BTreeMap<Operation, ResponseTemplate>,
    counts: BTreeMap<Operation, usize>,
    violations: Vec<String>,
}

struct Field {
    name: String,
    code: String,
    /// Pipedrive's `field_type`.
    kind: String,
}

struct Person {
    first_name: String,
    last_name: String,
    emails: Vec<String>,
    added_at: Timestamp,
    is_deleted: bool,
    custom_fields: BTreeMap<String, Value>,
}

/// The code of a field, made of its name so that no code stands in the sources.
pub(crate) fn key(field_name: &str) -> FieldKey {
    let digest = Sha256::digest(field_name.as_bytes());
    let digits = digest.iter().take(20).flat_map(|byte| [byte >> 4, byte & 15]);
    FieldKey(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
}

impl PipedriveFake {
    pub(crate) async fn start() -> Self {
        let fields = FIELDS.map(|(name, field_type)| Field {
            name: name.to_owned(),
            code: key(name).0,
            kind: field_type.to_owned(),
        });
        let state = State { next_id: 1, fields: fields.into(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(Answers(Arc::clone(&state))).mount(&server).await;
        Self { server, state }
    }

    /// An adapter on this account whose requests end after 300 ms.
    pub(crate) fn crm(&self) -> PipedriveCrm {
        PipedriveCrm::new(self.settings(), outbound())
    }

    pub(crate) fn uri(&self) -> String {
        self.server.uri()
    }

    pub(crate) fn settings(&self) -> PipedriveSettings {
        settings(&self.server.uri())
    }

    pub(crate) fn add_person(
        &self,
        first: &str,
        last: &str,
        emails: &[String],
        added_at: Timestamp,
    ) -> PersonId {
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        let person = Person {
            first_name: first.to_owned(),
            last_name: last.to_owned(),
            emails: emails.to_vec(),
            added_at,
            is_deleted: false,
            custom_fields: BTreeMap::new(),
        };
        state.persons.insert(id, person);
        PersonId(id.to_string())
    }

    /// A person called Jane Doe.
    pub(crate) fn add_jane(&self) -> PersonId {
        self.add_person("Jane", "Doe", &["jane@example.com".to_owned()], Timestamp::EPOCH)
    }

    /// As after a merge: the person is gone without a trace.
    pub(crate) fn remove_person(&self, person: &PersonId) {
        self.state().persons.remove(&number(person)).expect("the person is there");
    }

    /// As after a deletion: the person is answered for with `is_deleted` for a while.
    pub(crate) fn mark_deleted(&self, person: &PersonId) {
        self.state().persons.get_mut(&number(person)).expect("the person is there").is_deleted = true;
    }

    /// Id, name and e-mails of every person.
    pub(crate) fn persons(&self) -> Vec<(PersonId, String, Vec<String>)> {
        let state = self.state();
        let shown = state.persons.iter();
        shown.map(|(id, person)| (PersonId(id.to_string()), person.name(), person.emails.clone())).collect()
    }

    /// What a custom field of a person holds.
    pub(crate) fn stored(&self, person: &PersonId, field_name: &str) -> Value {
        let state = self.state();
        let value = state.persons.get(&number(person)).and_then(|p| p.custom_fields.get(&key(field_name).0));
        value.cloned().unwrap_or(Value::Null)
    }

    /// Puts a value into a custom field past all checks.
    pub(crate) fn put(&self, person: &PersonId, field_name: &str, value: Value) {
        let mut state = self.state();
        let person = state.persons.get_mut(&number(person)).expect("the person is there");
        person.custom_fields.insert(key(field_name).0, value);
    }

    /// A human deletes a custom field.
    pub(crate) fn delete_field(&self, field_name: &str) {
        self.state().fields.retain(|field| field.name != field_name);
    }

    /// The next searches by e-mail bring nothing.
    pub(crate) fn lag_searches(&self, searches: u32) {
        self.state().lagging_searches = searches;
    }

    /// Every answer to come says so much is left of the day's tokens, of so many.
    pub(crate) fn set_budget(&self, remaining: &str, limit: &str) {
        self.state().budget = Some((remaining.to_owned(), limit.to_owned()));
    }

    /// Every request so far, oldest first.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// Ends whatever was scripted.
    pub(crate) fn mend(&self) {
        let mut state = self.state();
        state.scripted.clear();
        state.standing.clear();
        state.lagging_searches = 0;
    }

    /// The next request of that kind is answered like this; several are answered in turn.
    pub(crate) fn answer_next(&self, operation: Operation, answer: ResponseTemplate) {
        self.state().scripted.push_back((operation, answer));
    }

    /// Every request of that kind is answered like this.
    pub(crate) fn answer_always(&self, operation: Operation, answer: ResponseTemplate) {
        self.state().standing.insert(operation, answer);
    }

    /// How many requests of that kind came.
    pub(crate) fn count(&self, operation: Operation) -> usize {
        self.state().counts.get(&operation).copied().unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PipedriveFake {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.state().violations, [""; 0], "the adapter broke Pipedrive's rules");
        }
    }
}

pub(crate) fn settings(server: &str) -> PipedriveSettings {
    let base_url = format!("{server}/api/v2").parse().expect("a base URL on this machine");
    PipedriveSettings {
        retry_wait: Duration::from_millis(1),
        ..PipedriveSettings::new(base_url, FAKE_TOKEN.to_owned().into())
    }
}

pub(crate) fn outbound() -> Arc<Outbound> {
    Arc::new(Outbound::new(&OutboundSettings {
        timeout: Duration::from_millis(300),
        ..OutboundSettings::default()
    }))
}

fn number(person: &PersonId) -> u64 {
    person.0.parse().expect("ids are numbers")
}

struct Answers(Arc<Mutex<State>>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).answer(request)
    }
}

/// A request that Pipedrive refuses.
struct Refusal(Box<ResponseTemplate>);

impl State {
    fn answer(&mut self, request: &Request) -> ResponseTemplate {
        let answer = self.try_answer(request).unwrap_or_else(|Refusal(answer)| *answer);
        match &self.budget {
            Some((remaining, limit)) => answer
                .insert_header("x-daily-ratelimit-token-remaining", remaining.as_str())
                .insert_header("x-daily-ratelimit-token-limit", limit.as_str()),
            None => answer,
        }
    }

    fn note(&mut self, request: &Request, query: &BTreeMap<String, String>, segments: &[&str]) {
        let segments = segments.iter().skip(2);
        let path = segments.map(|segment| {
            let is_id = segment.bytes().all(|b| b.is_ascii_digit());
            format!("/{}", if is_id { "{id}" } else { segment })
        });
        self.asked.push(Asked {
            method: request.method.to_string().to_lowercase(),
            path: path.collect(),
            query: query.clone(),
            body: serde_json::from_slice(&request.body).unwrap_or_default(),
        });
    }

    fn try_answer(&mut self, request: &Request) -> Result<ResponseTemplate, Refusal> {
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let segments: Vec<&str> = request.url.path_segments().into_iter().flatten().collect();
        self.note(request, &query, &segments);
        let (operation, id) = match (request.method.as_str(), &segments[..]) {
            ("GET", ["api", "v2", "persons", "search"]) => (Operation::Search, None),
            ("GET", ["api", "v2", "persons"]) => (Operation::ListPersons, None),
            ("GET", ["api", "v2", "persons", id]) => (Operation::ReadPerson, Some(*id)),
            ("PATCH", ["api", "v2", "persons", id]) => (Operation::PatchPerson, Some(*id)),
            ("GET", ["api", "v2", "personFields"]) => (Operation::ListFields, None),
            ("POST", ["api", "v2", "personFields"]) => (Operation::CreateField, None),
            _ => return Err(self.violation(format!("{} {}", request.method, request.url.path()))),
        };
        *self.counts.entry(operation).or_default() += 1;
        if request.headers.get("x-api-token").is_none_or(|token| token != FAKE_TOKEN) {
            return Err(self.violation("no token in the header x-api-token".to_owned()));
        }
        if request.url.as_str().contains(FAKE_TOKEN) {
            return Err(self.violation("the token in the URL".to_owned()));
        }
        self.check_query(operation, &query)?;
        let has_body = matches!(operation, Operation::PatchPerson | Operation::CreateField);
        if !has_body && !request.body.is_empty() {
            return Err(self.violation("a body where none belongs".to_owned()));
        }
        if has_body && request.headers.get("content-type").is_none_or(|kind| kind != "application/json") {
            return Err(self.violation("a body that is not said to be JSON".to_owned()));
        }
        if let Some(at) = self.scripted.iter().position(|(scripted, _)| *scripted == operation)
            && let Some((_, answer)) = self.scripted.remove(at)
        {
            return Ok(answer);
        }
        if let Some(answer) = self.standing.get(&operation) {
            return Ok(answer.clone());
        }
        let data = match operation {
            Operation::Search => self.search(&query),
            Operation::ListPersons => match query.get("ids") {
                Some(ids) => self.with_ids(ids),
                None => self.changed_since(&query["updated_since"])?,
            },
            Operation::ReadPerson => self.person(id.unwrap_or_default())?,
            Operation::PatchPerson => self.patch(id.unwrap_or_default(), request)?,
            Operation::ListFields => return Ok(self.fields_page(query.get("cursor"))),
            Operation::CreateField => self.create_field(request)?,
        };
        Ok(ok(&json!({"success": true, "data": data, "additional_data": {"next_cursor": null}})))
    }

    fn violation(&mut self, what: String) -> Refusal {
        self.violations.push(what);
        Refusal(Box::new(validation_failed("the request is not valid")))
    }

    fn check_query(&mut self, operation: Operation, query: &BTreeMap<String, String>) -> Result<(), Refusal> {
        let (required, allowed): (&[&str], &[&str]) = match operation {
            Operation::Search => (
                &["term"],
                &["term", "fields", "exact_match", "organization_id", "include_fields", "limit", "cursor"],
            ),
            Operation::ListPersons => (
                if query.contains_key("ids") { &["ids"] } else { &["updated_since"] },
                &[
                    "updated_since",
                    "updated_until",
                    "sort_by",
                    "sort_direction",
                    "ids",
                    "owner_id",
                    "limit",
                    "cursor",
                ],
            ),
            Operation::ReadPerson => (&[], &["include_fields", "custom_fields"]),
            Operation::PatchPerson | Operation::CreateField => (&[], &[]),
            Operation::ListFields => (&[], &["limit", "cursor", "include_fields"]),
        };
        let is_one_of = |value: &str, list: &[&str]| list.contains(&value);
        for (name, value) in query {
            let good = is_one_of(name, allowed)
                && match name.as_str() {
                    "term" => value.chars().count() >= 2,
                    "fields" => is_one_of(value, &["email", "name"]),
                    "exact_match" => is_one_of(value, &["true", "false"]),
                    "limit" => value.parse().is_ok_and(|limit: u32| (1..=500).contains(&limit)),
                    "sort_by" => is_one_of(value, &["id", "add_time", "update_time"]),
                    "sort_direction" => is_one_of(value, &["asc", "desc"]),
                    "updated_since" => {
                        value.len() == 20 && value.ends_with('Z') && value.parse::<Timestamp>().is_ok()
                    }
                    "ids" => {
                        let ids: Vec<&str> = value.split(',').collect();
                        ids.len() <= 100 && ids.iter().all(|id| id.parse::<u64>().is_ok())
                    }
                    "cursor" => value == "second-page",
                    _ => true,
                };
            if !good {
                return Err(self.violation(format!("{operation:?} with {name}={value}")));
            }
        }
        match required.iter().find(|name| !query.contains_key(**name)) {
            Some(missing) => Err(self.violation(format!("{operation:?} without {missing}"))),
            None => Ok(()),
        }
    }

    /// Brings near matches too, in spite of `exact_match`, as the older search was reported to do.
    fn search(&mut self, query: &BTreeMap<String, String>) -> Value {
        let term = query["term"].to_lowercase();
        let by_email = query.get("fields").is_some_and(|fields| fields == "email");
        if by_email && self.lagging_searches > 0 {
            self.lagging_searches -= 1;
            return json!({"items": []});
        }
        let items: Vec<Value> = self
            .persons
            .iter()
            .filter(|(_, person)| !person.is_deleted)
            .filter(|(_, person)| {
                let texts = if by_email { person.emails.clone() } else { vec![person.name()] };
                texts.iter().any(|text| text.to_lowercase().contains(&term))
            })
            .map(|(id, person)| {
                json!({"result_score": 0.5, "item": {
                    "id": id, "type": "person", "name": person.name(), "phones": [], "emails": person.emails,
                    "primary_email": person.emails.first(), "visible_to": 3, "owner": {"id": 1},
                    "organization": null, "custom_fields": [], "notes": [],
                }})
            })
            .collect();
        json!({"items": items})
    }

    fn changed_since(&mut self, since: &str) -> Result<Value, Refusal> {
        let since: Timestamp = since.parse().map_err(|error| self.violation(format!("{since}: {error}")))?;
        let changed = self.persons.iter().filter(|(_, person)| person.added_at >= since);
        Ok(changed.map(|(id, person)| person.shown(*id)).collect())
    }

    /// Those of a list of ids that are there and not deleted.
    fn with_ids(&self, ids: &str) -> Value {
        let ids = ids.split(',').filter_map(|id| id.parse().ok());
        let persons = ids.filter_map(|id: u64| Some((id, self.persons.get(&id)?)));
        persons.filter(|(_, person)| !person.is_deleted).map(|(id, person)| person.shown(id)).collect()
    }

    fn person(&mut self, id: &str) -> Result<Value, Refusal> {
        let id: u64 = id.parse().map_err(|_not_a_number| self.violation(format!("the person id {id}")))?;
        self.persons.get(&id).map(|person| person.shown(id)).ok_or_else(|| Refusal(Box::new(not_found())))
    }

    fn patch(&mut self, id: &str, request: &Request) -> Result<Value, Refusal> {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let custom_fields = match body.as_object().map(|body| (body.len(), body.get("custom_fields"))) {
            Some((1, Some(Value::Object(custom_fields)))) if !custom_fields.is_empty() => {
                custom_fields.clone()
            }
            _ => return Err(self.violation(format!("the body {body}"))),
        };
        for (code, value) in &custom_fields {
            let field_type =
                self.fields.iter().find(|field| field.code == *code).map(|field| field.kind.as_str());
            // What it had once is known to have been deleted; anything else nobody should have come upon.
            let was_there = || FIELDS.iter().any(|(name, _)| key(name).0 == *code);
            match field_type {
                Some(field_type) if takes(field_type, value) => {}
                None if was_there() => {
                    let refused = validation_failed(&format!("custom_fields.{code}: field does not exist"));
                    return Err(Refusal(Box::new(refused)));
                }
                Some(_) | None => return Err(self.violation(format!("{code} = {value}"))),
            }
        }
        self.person(id)?;
        let person = id.parse().ok().and_then(|id: u64| self.persons.get_mut(&id));
        if let Some(person) = person {
            person.custom_fields.extend(custom_fields);
        }
        self.person(id)
    }

    fn create_field(&mut self, request: &Request) -> Result<Value, Refusal> {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, field_type) = (text("field_name"), text("field_type"));
        let is_good = body.as_object().is_some_and(|body| body.len() == 2)
            && (1..=255).contains(&name.chars().count())
            && FIELD_TYPES.contains(&field_type.as_str());
        if !is_good {
            return Err(self.violation(format!("the field {body}")));
        }
        let code = key(&format!("{name}, made as number {}", self.fields.len())).0;
        let field = Field { name, code, kind: field_type };
        let shown = field.shown();
        self.fields.push(field);
        Ok(shown)
    }

    /// Two pages, the first of which holds what is no custom field.
    fn fields_page(&self, cursor: Option<&String>) -> ResponseTemplate {
        let own = |name: &str, code: &str, field_type: &str| {
            json!({"field_name": name, "field_code": code, "description": null, "field_type": field_type,
                "options": null, "subfields": null, "is_custom_field": false, "is_optional_response_field": false})
        };
        let custom = self.fields.iter().map(Field::shown);
        let (page, next): (Vec<Value>, Value) = match cursor {
            None => {
                let first = [own("Name", "name", "varchar"), own("Email", "email", "varchar")];
                (first.into_iter().chain(custom.take(2)).collect(), "second-page".into())
            }
            Some(_second_page) => (custom.skip(2).collect(), Value::Null),
        };
        ok(&json!({"success": true, "data": page, "additional_data": {"next_cursor": next}}))
    }
}

impl Field {
    fn shown(&self) -> Value {
        let options: Vec<Value> = SIZES.iter().map(|(label, id)| json!({"id": id, "label": label})).collect();
        let has_options = matches!(self.kind.as_str(), "enum" | "set");
        json!({"field_name": self.name, "field_code": self.code, "field_type": self.kind,
            "is_custom_field": true, "options": if has_options { Value::from(options) } else { Value::Null }})
    }
}

impl Person {
    fn name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }

    /// Every custom field is there, null where it is empty; several others are null against the document.
    fn shown(&self, id: u64) -> Value {
        let emails: Vec<Value> = (self.emails.iter().enumerate())
            .map(|(at, email)| json!({"value": email, "primary": at == 0, "label": "work"}))
            .collect();
        let mut custom_fields: BTreeMap<String, Value> =
            FIELDS.iter().map(|(name, _)| (key(name).0, Value::Null)).collect();
        custom_fields.extend(self.custom_fields.clone());
        let added = self.added_at.to_datetime().to_rfc3339();
        json!({"id": id, "name": self.name(), "first_name": null, "last_name": null, "owner_id": 1, "org_id": null,
            "add_time": added, "update_time": added, "emails": emails, "phones": null, "is_deleted": self.is_deleted,
            "visible_to": 7, "label_ids": [], "picture_id": null, "custom_fields": custom_fields})
    }
}

/// Whether a field of that type takes a value, in the form of the migration guide.
fn takes(field_type: &str, value: &Value) -> bool {
    let text = value.as_str();
    let chars = text.map_or(0, |text| text.chars().count());
    value.is_null()
        || match field_type {
            "varchar" => text.is_some() && chars <= 255,
            "text" => text.is_some() && chars <= 65_000,
            "double" => value.is_number(),
            "date" => text
                .is_some_and(|text| chars == 10 && format!("{text}T00:00:00Z").parse::<Timestamp>().is_ok()),
            "enum" => is_option(value),
            "set" => value.as_array().is_some_and(|ids| !ids.is_empty() && ids.iter().all(is_option)),
            _ => false,
        }
}

fn is_option(value: &Value) -> bool {
    value.as_u64().is_some_and(|id| SIZES.iter().any(|(_, option)| *option == id))
}

fn ok(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn not_found() -> ResponseTemplate {
    ResponseTemplate::new(404).set_body_json(json!({
        "success": false, "error": "Person not found", "error_info": "", "data": null, "additional_data": null,
    }))
}

pub(crate) fn validation_failed(what: &str) -> ResponseTemplate {
    ResponseTemplate::new(400).set_body_json(json!({
        "success": false, "error": format!("Validation failed: {what}"), "code": "ERR_SCHEMA_VALIDATION_FAILED",
    }))
}
