use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::SecondsFormat;
use leadtrail_domain::crm::{
    Budget, Candidate, Capabilities, CrmField, FieldKey, FieldValue, NewCrmField, Patch, PersonId,
    PersonQuery, Receipt,
};
use leadtrail_domain::email::EmailAddress;
use leadtrail_domain::ports::{Crm, CrmError};
use leadtrail_domain::time::Timestamp;
use leadtrail_outbound::Outbound;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::answer::About;
use crate::calls::Calls;
use crate::fields::{self, Fields};
use crate::settings::PipedriveSettings;
use crate::wire::{Person, PersonField, SearchHits};

/// The most items of a page.
const PAGE_LIMIT: &str = "500";
/// The most persons asked for by their ids in one request.
const IDS_MAX: usize = 100;
/// More custom fields than any plan allows (500) fit well into as many pages of 500 fields of any kind.
const FIELD_PAGES_MAX: usize = 10;
/// How old the list of fields must be to be asked for again because of a field it lacks.
const FIELDS_FRESH: Duration = Duration::from_mins(1);

/// One Pipedrive account.
#[derive(Debug)]
pub struct PipedriveCrm {
    calls: Calls,
    call_time_max: Duration,
    fields_ttl: Duration,
    fields: Mutex<Option<Listed>>,
}

#[derive(Clone, Debug)]
struct Listed {
    at: Instant,
    fields: Arc<Fields>,
}

/// One call of the port: requests that end together.
struct Exchange<'a> {
    account: &'a PipedriveCrm,
    until: Instant,
}

/// What of a patch can be sent, and what cannot with the reason.
struct Encoded {
    custom_fields: Map<String, Value>,
    dropped: BTreeMap<FieldKey, String>,
}

impl PipedriveCrm {
    /// The account of `settings`; nothing is asked yet.
    pub fn new(settings: PipedriveSettings, outbound: Arc<Outbound>) -> Self {
        Self {
            call_time_max: settings.call_time_max,
            fields_ttl: settings.fields_ttl,
            calls: Calls::new(outbound, settings),
            fields: Mutex::new(None),
        }
    }

    fn exchange(&self) -> Exchange<'_> {
        Exchange { account: self, until: Instant::now() + self.call_time_max }
    }

    fn listed(&self) -> MutexGuard<'_, Option<Listed>> {
        self.fields.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange<'_> {
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, CrmError>>) -> Result<T, CrmError> {
        tokio::time::timeout_at(self.until, call).await.unwrap_or_else(|_elapsed| {
            Err(CrmError::Transient("no answer within the time of a call".to_owned()))
        })
    }

    /// The fields, asked for again once the list is older than `age_max`.
    async fn fields(&self, age_max: Duration) -> Result<Arc<Fields>, CrmError> {
        let listed = self.account.listed().clone();
        if let Some(listed) = listed
            && listed.at.elapsed() < age_max
        {
            return Ok(listed.fields);
        }
        let fields = Arc::new(self.fetch_fields().await?);
        let listed = Listed { at: Instant::now(), fields: Arc::clone(&fields) };
        *self.account.listed() = Some(listed);
        Ok(fields)
    }

    async fn fetch_fields(&self) -> Result<Fields, CrmError> {
        let mut fields = Fields::default();
        let mut cursor: Option<String> = None;
        for _page in 0..FIELD_PAGES_MAX {
            let mut query = vec![("limit", PAGE_LIMIT)];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = self
                .account
                .calls
                .get::<Vec<PersonField>>(self.until, &["personFields"], &query, About::Account)
                .await?;
            fields.extend(page.data.unwrap_or_default());
            cursor = page.additional_data.and_then(|additional| additional.next_cursor);
            if cursor.is_none() {
                break;
            }
        }
        Ok(fields)
    }

    /// The index is asked for whole values, in any case; what it brings is not yet compared.
    async fn search(&self, field: &str, term: &str) -> Result<Vec<Candidate>, CrmError> {
        let query = [("term", term), ("fields", field), ("exact_match", "true"), ("limit", PAGE_LIMIT)];
        let hits = self
            .account
            .calls
            .get::<SearchHits>(self.until, &["persons", "search"], &query, About::Account)
            .await?;
        Ok(hits.data.map(SearchHits::candidates).unwrap_or_default())
    }

    async fn changed_since(&self, since: Timestamp) -> Result<Vec<Candidate>, CrmError> {
        // Fractions of a second are refused.
        let since = since.to_datetime().to_rfc3339_opts(SecondsFormat::Secs, true);
        let query = [
            ("updated_since", since.as_str()),
            ("sort_by", "add_time"),
            ("sort_direction", "desc"),
            ("limit", PAGE_LIMIT),
        ];
        let persons =
            self.account.calls.get::<Vec<Person>>(self.until, &["persons"], &query, About::Account).await?;
        Ok(persons.data.into_iter().flatten().filter_map(Person::candidate).collect())
    }

    async fn find_by_email(
        &self,
        email: &EmailAddress,
        since: Timestamp,
    ) -> Result<Vec<Candidate>, CrmError> {
        let mut found = self.search("email", email.as_str()).await?;
        found.retain(|candidate| has_email(candidate, email));
        if found.is_empty() {
            found = self.changed_since(since).await?;
            found.retain(|candidate| has_email(candidate, email));
        } else if found.len() > 1 {
            self.date(&mut found).await?;
        }
        Ok(found)
    }

    /// Tells when each was added, which the search index does not: whoever must choose one may go by it. Those beyond
    /// a page of ids stay without.
    async fn date(&self, found: &mut [Candidate]) -> Result<(), CrmError> {
        let ids: Vec<&str> = found.iter().take(IDS_MAX).map(|candidate| candidate.id.0.as_str()).collect();
        let ids = ids.join(",");
        let query = [("ids", ids.as_str()), ("limit", PAGE_LIMIT)];
        let persons =
            self.account.calls.get::<Vec<Person>>(self.until, &["persons"], &query, About::Account).await?;
        let added_at: BTreeMap<PersonId, Option<Timestamp>> = persons
            .data
            .into_iter()
            .flatten()
            .filter_map(Person::candidate)
            .map(|candidate| (candidate.id, candidate.added_at))
            .collect();
        for candidate in found {
            candidate.added_at = added_at.get(&candidate.id).copied().flatten();
        }
        Ok(())
    }

    async fn read_fields(
        &self,
        person: &PersonId,
        keys: &BTreeSet<FieldKey>,
    ) -> Result<BTreeMap<FieldKey, FieldValue>, CrmError> {
        let fields = self.fields_with(keys.iter()).await?;
        let answer =
            self.account.calls.get::<Person>(self.until, &["persons", &person.0], &[], About::Person).await?;
        let values = standing(answer.data)?.into_custom_fields();
        Ok(values
            .into_iter()
            .filter(|(key, _)| keys.contains(key))
            .filter_map(|(key, value)| Some((key.clone(), fields.decoded(&key, &value)?)))
            .collect())
    }

    /// The fields, asked for again where the list lacks one of `keys`: it may have been added since.
    async fn fields_with(&self, mut keys: impl Iterator<Item = &FieldKey>) -> Result<Arc<Fields>, CrmError> {
        let fields = self.fields(self.account.fields_ttl).await?;
        if keys.all(|key| fields.knows(key)) { Ok(fields) } else { self.fields(FIELDS_FRESH).await }
    }

    async fn write(&self, person: &PersonId, patch: &Patch) -> Result<Receipt, CrmError> {
        let fields = self.fields_with(patch.keys()).await?;
        let whole = encoded(patch, &fields, BTreeMap::new());
        match self.send_patch(person, &whole.custom_fields).await {
            Ok(()) => Ok(whole.receipt()),
            // One field that was deleted meanwhile, or that changed, spoils the whole request.
            Err(CrmError::Permanent { code, fields: named }) if !named.is_empty() => {
                let reason = format!("refused by Pipedrive ({code})");
                let dropped = named.into_iter().map(|key| (key, reason.clone())).collect();
                let fields = self.fields(Duration::ZERO).await?;
                let rest = encoded(patch, &fields, dropped);
                self.send_patch(person, &rest.custom_fields).await?;
                Ok(rest.receipt())
            }
            Err(error) => Err(error),
        }
    }

    async fn make_field(&self, new: &NewCrmField) -> Result<CrmField, CrmError> {
        let field_type = fields::field_type(&new.kind).ok_or_else(|| CrmError::Permanent {
            code: "unknown_type".to_owned(),
            fields: BTreeSet::new(),
        })?;
        let body = json!({ "field_name": new.name, "field_type": field_type });
        // Until there is an answer, whether the list still holds is unknown.
        let listed = self.account.listed().take();
        let answer = self.account.calls.post::<PersonField>(self.until, &["personFields"], &body).await?;
        let mut fields = listed.as_ref().map(|listed| Fields::clone(&listed.fields)).unwrap_or_default();
        let made = answer.data.and_then(|field| fields.add(field));
        let made = made.ok_or_else(|| CrmError::Transient("an answer without the new field".to_owned()))?;
        if let Some(Listed { at, fields: _ }) = listed {
            *self.account.listed() = Some(Listed { at, fields: Arc::new(fields) });
        }
        Ok(made)
    }

    async fn send_patch(
        &self,
        person: &PersonId,
        custom_fields: &Map<String, Value>,
    ) -> Result<(), CrmError> {
        if custom_fields.is_empty() {
            return Ok(());
        }
        let answer = self
            .account
            .calls
            .patch::<Person>(self.until, &["persons", &person.0], custom_fields, About::Person)
            .await?;
        standing(answer.data).map(|_person| ())
    }
}

#[async_trait]
impl Crm for PipedriveCrm {
    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "Pipedrive", finds_by_name: true }
    }

    async fn list_fields(&self) -> Result<Vec<CrmField>, CrmError> {
        let exchange = self.exchange();
        Ok(exchange.in_time(exchange.fields(self.fields_ttl)).await?.list())
    }

    async fn create_field(&self, field: &NewCrmField) -> Result<CrmField, CrmError> {
        let exchange = self.exchange();
        exchange.in_time(exchange.make_field(field)).await
    }

    /// In tokens, as the headers `x-daily-ratelimit-token-*` have them. `x-daily-requests-left` counts requests that
    /// write, which is another thing: it is not taken for them.
    fn budget(&self) -> Option<Budget> {
        self.calls.budget()
    }

    async fn find(&self, by: &PersonQuery) -> Result<Vec<Candidate>, CrmError> {
        let exchange = self.exchange();
        match by {
            PersonQuery::Email { email, changed_since } => {
                exchange.in_time(exchange.find_by_email(email, *changed_since)).await
            }
            // One character names nobody.
            PersonQuery::Name(name) if name.trim().chars().nth(1).is_none() => Ok(Vec::new()),
            PersonQuery::Name(name) => exchange.in_time(exchange.search("name", name.trim())).await,
        }
    }

    async fn read(
        &self,
        person: &PersonId,
        fields: &BTreeSet<FieldKey>,
    ) -> Result<BTreeMap<FieldKey, FieldValue>, CrmError> {
        let exchange = self.exchange();
        exchange.in_time(exchange.read_fields(person, fields)).await
    }

    async fn update(&self, person: &PersonId, patch: &Patch) -> Result<Receipt, CrmError> {
        let exchange = self.exchange();
        exchange.in_time(exchange.write(person, patch)).await
    }
}

impl Encoded {
    fn receipt(self) -> Receipt {
        let applied = self.custom_fields.into_iter().map(|(key, _)| FieldKey(key)).collect();
        Receipt { applied, dropped: self.dropped }
    }
}

/// The patch less what is dropped already or cannot be encoded.
fn encoded(patch: &Patch, fields: &Fields, mut dropped: BTreeMap<FieldKey, String>) -> Encoded {
    let mut custom_fields = Map::new();
    for (key, value) in patch {
        if dropped.contains_key(key) {
            continue;
        }
        match fields.encoded(key, value) {
            Ok(value) => {
                custom_fields.insert(key.0.clone(), value);
            }
            Err(reason) => {
                dropped.insert(key.clone(), reason.to_owned());
            }
        }
    }
    Encoded { custom_fields, dropped }
}

/// A person that is not deleted.
fn standing(person: Option<Person>) -> Result<Person, CrmError> {
    match person {
        Some(person) if person.is_deleted() => Err(CrmError::NotFound),
        Some(person) => Ok(person),
        None => Err(CrmError::Transient("an answer without a person".to_owned())),
    }
}

fn has_email(candidate: &Candidate, email: &EmailAddress) -> bool {
    candidate.emails.iter().any(|own| own.parse::<EmailAddress>().is_ok_and(|own| own == *email))
}
