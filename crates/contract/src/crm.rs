//! What a CRM adapter must do. The account behind it is reached past the port, as a human would in the CRM's own
//! pages: [`CrmAccount`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use leadtrail_domain::crm::{
    Candidate, CrmField, CrmFieldKind, FieldKey, FieldValue, NewCrmField, Patch, PersonId, PersonQuery,
    Receipt,
};
use leadtrail_domain::ports::{Crm, CrmError};
use leadtrail_domain::time::Timestamp;

/// A CRM and the account behind it.
pub struct CrmSubject {
    /// The adapter.
    pub crm: Arc<dyn Crm>,
    /// The account it talks to, without persons. It has two fields of texts of 200 characters or more, one of numbers
    /// and one of dates, at the least.
    pub account: Arc<dyn CrmAccount>,
}

/// What people do in a CRM.
#[async_trait]
pub trait CrmAccount: Send + Sync {
    /// Adds a person.
    async fn add_person(&self, person: NewPerson) -> PersonId;

    /// Removes a person.
    async fn remove_person(&self, person: &PersonId);

    /// Every person there is.
    async fn persons(&self) -> Vec<PersonOnFile>;

    /// The next `searches` searches by e-mail bring nobody, as where an index lags behind.
    async fn lag_searches(&self, searches: u32);

    /// Everything that is asked from now on meets this; `None`: nothing does any more.
    async fn set_fault(&self, fault: Option<Fault>);
}

/// What may be wrong with an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It fails.
    Outage,
    /// It does not accept the credentials.
    Credentials,
    /// It has been asked too often, and asks to be left alone for so long; whole seconds.
    Limit(Duration),
}

/// A person to add.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewPerson {
    /// The first name.
    pub first_name: String,
    /// The last name.
    pub last_name: String,
    /// The e-mail addresses, the first being the main one.
    pub emails: Vec<String>,
    /// When the CRM learns of the person.
    pub added_at: Timestamp,
}

/// A person as the CRM shows it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PersonOnFile {
    /// The person.
    pub id: PersonId,
    /// The full name.
    pub name: String,
    /// The e-mail addresses.
    pub emails: Vec<String>,
}

suite!($
    crm_contract,
    crm,
    CrmSubject,
    "`leadtrail_contract::crm_contract!(async { CrmSubject { crm, account } });`",
    [
        an_unknown_email_finds_nobody,
        a_person_is_found_by_email_whatever_its_case,
        a_person_is_found_by_any_of_its_emails,
        part_of_an_email_finds_nobody,
        all_persons_with_one_email_are_found,
        an_unknown_name_finds_nobody,
        all_bearers_of_a_name_are_found,
        a_candidate_shows_the_person_as_the_account_has_it,
        looking_up_and_reading_creates_and_changes_nobody,
        the_keys_of_the_fields_are_unique,
        what_is_written_is_read,
        only_what_was_asked_for_and_is_not_empty_is_read,
        an_update_leaves_the_other_fields_alone,
        the_same_update_again_has_no_further_effect,
        a_field_is_cleared,
        a_text_of_just_the_limit_is_taken_whole,
        a_text_over_the_limit_is_cut_or_refused_by_name,
        an_unknown_field_is_named_and_not_applied,
        an_update_changes_neither_names_nor_emails,
        an_update_changes_no_other_person,
        a_removed_person_is_found_no_longer,
        a_removed_person_is_neither_read_nor_written,
        updates_at_the_same_time_both_stand,
        a_made_field_is_listed_with_a_key_of_its_own,
        a_made_long_text_keeps_more_than_255_characters,
        a_made_number_and_a_made_date_take_their_values,
        a_field_of_a_kind_that_is_not_made_is_refused,
        a_budget_leaves_no_more_than_the_whole,
        a_lagging_search_is_no_error_and_finds_the_person_in_the_end,
        an_outage_is_transient_until_it_ends_and_nothing_is_written,
        refused_credentials_are_said_to_be_refused_until_they_are_mended,
        a_limit_says_for_how_long_to_keep_away,
    ]
);

async fn an_unknown_email_finds_nobody(subject: &CrmSubject) {
    subject.add("Jane", &["jane@example.com"]).await;
    assert_eq!(subject.by_email("john@example.com").await, []);
}

async fn a_person_is_found_by_email_whatever_its_case(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["Jane.Doe@Example.com"]).await;
    assert_eq!(subject.by_email("jane.doe@example.com").await, [jane]);
}

async fn a_person_is_found_by_any_of_its_emails(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@work.example", "jane+news@home.example"]).await;
    for email in ["jane@work.example", "jane+news@home.example"] {
        assert_eq!(subject.by_email(email).await, std::slice::from_ref(&jane), "{email}");
    }
}

async fn part_of_an_email_finds_nobody(subject: &CrmSubject) {
    subject.add("Mary", &["mary-jane@example.com.test"]).await;
    for part in ["jane@example.com.test", "mary-jane@example.com", "jane@example.com"] {
        assert_eq!(subject.by_email(part).await, [], "{part}");
    }
}

async fn all_persons_with_one_email_are_found(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["office@example.com"]).await;
    subject.add("Jim", &["jim@example.com"]).await;
    let john = subject.add("John", &["john@example.com", "Office@example.com"]).await;
    assert_eq!(subject.by_email("office@example.com").await, sorted([jane, john]));
}

async fn an_unknown_name_finds_nobody(subject: &CrmSubject) {
    if subject.crm.capabilities().finds_by_name {
        subject.add("Jane", &["jane@example.com"]).await;
        assert_eq!(subject.find(&PersonQuery::Name("Zacharias Quill".to_owned())).await, []);
    }
}

async fn all_bearers_of_a_name_are_found(subject: &CrmSubject) {
    if subject.crm.capabilities().finds_by_name {
        let bearers = sorted([subject.add("Zoë", &["zoe@one.example"]).await, subject.add("Zoë", &[]).await]);
        subject.add("Jim", &["zoe@two.example"]).await;
        let found = subject.find(&PersonQuery::Name("Zoë Doe".to_owned())).await;
        assert!(bearers.iter().all(|bearer| found.iter().any(|candidate| candidate.id == *bearer)));
    }
}

async fn a_candidate_shows_the_person_as_the_account_has_it(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["Jane@Example.com", "doe@example.com"]).await;
    let found = subject.find(&email_query("doe@example.com")).await;
    let [candidate] = &found[..] else { panic!("one candidate is expected, not {found:?}") };
    assert_eq!(candidate.id, jane);
    assert_eq!(candidate.name.as_deref(), Some("Jane Doe"));
    assert_eq!(sorted(candidate.emails.iter().cloned()), ["Jane@Example.com", "doe@example.com"]);
    assert!(candidate.added_at.is_none_or(|at| at == added_at()));
}

async fn looking_up_and_reading_creates_and_changes_nobody(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    let before = subject.persons().await;
    subject.by_email("nobody@example.com").await;
    subject.find(&PersonQuery::Name("Jane Doe".to_owned())).await;
    let fields = subject.fields().await;
    subject.read(&jane, &fields.all).await;
    assert_eq!(subject.persons().await, before);
}

async fn the_keys_of_the_fields_are_unique(subject: &CrmSubject) {
    let fields = subject.crm.list_fields().await.expect("the fields are listed");
    let keys: BTreeSet<_> = fields.iter().map(|field| &field.key).collect();
    assert_eq!(keys.len(), fields.len());
}

async fn what_is_written_is_read(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    let fields = subject.fields().await;
    let date = "2026-02-28".parse().expect("a date");
    let patch = Patch::from([
        (fields.text.clone(), text("Grüße, \"you\" & <them>\u{1f44b} 50%off\n+1")),
        (fields.number.clone(), FieldValue::Number(12.5)),
        (fields.date.clone(), FieldValue::Date(date)),
    ]);
    assert_eq!(subject.update(&jane, &patch).await, all_applied(&patch));
    assert_eq!(subject.read(&jane, &fields.all).await, patch);
}

async fn only_what_was_asked_for_and_is_not_empty_is_read(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    let fields = subject.fields().await;
    let patch = Patch::from([(fields.text.clone(), text("a")), (fields.other_text.clone(), text("b"))]);
    subject.update(&jane, &patch).await;
    let asked = BTreeSet::from([fields.text.clone(), fields.number.clone()]);
    assert_eq!(subject.read(&jane, &asked).await, Patch::from([(fields.text, text("a"))]));
    assert_eq!(subject.read(&jane, &BTreeSet::new()).await, Patch::new());
}

async fn an_update_leaves_the_other_fields_alone(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    let fields = subject.fields().await;
    subject.update(&jane, &Patch::from([(fields.text.clone(), text("kept"))])).await;
    subject.update(&jane, &Patch::from([(fields.other_text.clone(), text("new"))])).await;
    let expected =
        Patch::from([(fields.text.clone(), text("kept")), (fields.other_text.clone(), text("new"))]);
    assert_eq!(subject.read(&jane, &fields.all).await, expected);
}

async fn the_same_update_again_has_no_further_effect(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    let fields = subject.fields().await;
    let patch = Patch::from([(fields.text, text("news")), (fields.number, FieldValue::Number(3.0))]);
    let first = subject.update(&jane, &patch).await;
    let once = (subject.persons().await, subject.read(&jane, &fields.all).await);
    assert_eq!(subject.update(&jane, &patch).await, first);
    assert_eq!((subject.persons().await, subject.read(&jane, &fields.all).await), once);
}

async fn a_field_is_cleared(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    let fields = subject.fields().await;
    subject.update(&jane, &Patch::from([(fields.text.clone(), text("news"))])).await;
    let clearing = Patch::from([(fields.text.clone(), FieldValue::Null)]);
    assert_eq!(subject.update(&jane, &clearing).await, all_applied(&clearing));
    assert_eq!(subject.read(&jane, &fields.all).await, Patch::new());
}

async fn a_text_of_just_the_limit_is_taken_whole(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    let fields = subject.fields().await;
    let patch = Patch::from([(fields.text.clone(), text(&"ü".repeat(fields.text_chars_max)))]);
    assert_eq!(subject.update(&jane, &patch).await, all_applied(&patch));
    assert_eq!(subject.read(&jane, &fields.all).await, patch);
}

async fn a_text_over_the_limit_is_cut_or_refused_by_name(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    let fields = subject.fields().await;
    let whole = "ü".repeat(fields.text_chars_max + 1);
    match subject.crm.update(&jane, &Patch::from([(fields.text.clone(), text(&whole))])).await {
        Ok(_receipt) => {
            let kept = text(&"ü".repeat(fields.text_chars_max));
            assert_eq!(subject.read(&jane, &fields.all).await, Patch::from([(fields.text, kept)]));
        }
        Err(CrmError::Permanent { code: _, fields: named }) => {
            assert_eq!(named, BTreeSet::from([fields.text]));
        }
        Err(other) => panic!("the text is to be cut or refused: {other:?}"),
    }
}

async fn an_unknown_field_is_named_and_not_applied(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    let unknown = FieldKey("no-such-field".to_owned());
    match subject.crm.update(&jane, &Patch::from([(unknown.clone(), text("news"))])).await {
        Ok(receipt) => {
            assert_eq!(receipt.applied, BTreeSet::new());
            assert!(receipt.dropped.contains_key(&unknown));
        }
        Err(CrmError::Permanent { code: _, fields }) => assert_eq!(fields, BTreeSet::from([unknown])),
        Err(other) => panic!("the field is to be dropped or refused: {other:?}"),
    }
}

async fn an_update_changes_neither_names_nor_emails(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com", "doe@example.com"]).await;
    let before = subject.persons().await;
    let fields = subject.fields().await;
    subject.update(&jane, &Patch::from([(fields.text, text("John <john@example.com>"))])).await;
    // Such a key must not reach what is no custom field. Whether it is dropped or refused, the person stays as it is.
    for key in ["name", "first_name", "last_name", "email", "emails"] {
        let named = FieldKey(key.to_owned());
        let answer =
            subject.crm.update(&jane, &Patch::from([(named.clone(), text("john@example.com"))])).await;
        assert!(!answer.is_ok_and(|receipt| receipt.applied.contains(&named)), "{key}");
    }
    assert_eq!(subject.persons().await, before);
}

async fn an_update_changes_no_other_person(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    let twin = subject.add("Jane", &["jane@example.com"]).await;
    let fields = subject.fields().await;
    subject.update(&jane, &Patch::from([(fields.text.clone(), text("news"))])).await;
    assert_eq!(subject.read(&twin, &fields.all).await, Patch::new());
}

async fn a_removed_person_is_found_no_longer(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    subject.account.remove_person(&jane).await;
    assert_eq!(subject.by_email("jane@example.com").await, []);
}

async fn a_removed_person_is_neither_read_nor_written(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    let fields = subject.fields().await;
    subject.account.remove_person(&jane).await;
    assert_eq!(subject.crm.read(&jane, &fields.all).await, Err(CrmError::NotFound));
    let patch = Patch::from([(fields.text, text("news"))]);
    assert_eq!(subject.crm.update(&jane, &patch).await, Err(CrmError::NotFound));
}

async fn updates_at_the_same_time_both_stand(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    let fields = subject.fields().await;
    let patches = [
        Patch::from([(fields.text.clone(), text("a"))]),
        Patch::from([(fields.other_text.clone(), text("b"))]),
        Patch::from([(fields.number.clone(), FieldValue::Number(3.0))]),
    ];
    let updates = patches.clone().map(|patch| {
        let (crm, jane) = (Arc::clone(&subject.crm), jane.clone());
        tokio::spawn(async move { crm.update(&jane, &patch).await })
    });
    for update in updates {
        update.await.expect("the update does not panic").expect("the update is made");
    }
    let expected: Patch = patches.into_iter().flatten().collect();
    assert_eq!(subject.read(&jane, &fields.all).await, expected);
}

async fn a_made_field_is_listed_with_a_key_of_its_own(subject: &CrmSubject) {
    let before = subject.fields().await.all;
    let made = subject.make("Leadtrail's own", CrmFieldKind::Text { chars_max: 255 }).await;
    assert_eq!(made.name, "Leadtrail's own");
    assert!(!before.contains(&made.key));
    let listed = subject.crm.list_fields().await.expect("the fields are listed");
    assert_eq!(listed.iter().filter(|field| **field == made).count(), 1);
    assert_eq!(listed.len(), before.len() + 1);
}

async fn a_made_long_text_keeps_more_than_255_characters(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    let made = subject.make("First Landing Page", CrmFieldKind::Text { chars_max: 2_000 }).await;
    let patch = Patch::from([(made.key.clone(), text(&"ü".repeat(2_000)))]);
    assert_eq!(subject.update(&jane, &patch).await, all_applied(&patch));
    assert_eq!(subject.read(&jane, &BTreeSet::from([made.key])).await, patch);
}

async fn a_made_number_and_a_made_date_take_their_values(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    let number = subject.make("Visits", CrmFieldKind::Number).await;
    let date = subject.make("First Seen", CrmFieldKind::Date).await;
    assert_eq!((&number.kind, &date.kind), (&CrmFieldKind::Number, &CrmFieldKind::Date));
    let patch = Patch::from([
        (number.key, FieldValue::Number(7.0)),
        (date.key, FieldValue::Date("2026-02-28".parse().expect("a date"))),
    ]);
    assert_eq!(subject.update(&jane, &patch).await, all_applied(&patch));
    assert_eq!(subject.read(&jane, &patch.keys().cloned().collect()).await, patch);
}

async fn a_field_of_a_kind_that_is_not_made_is_refused(subject: &CrmSubject) {
    let before = subject.fields().await.all;
    let new = NewCrmField { name: "Owner".to_owned(), kind: CrmFieldKind::Other("user".to_owned()) };
    let refused = subject.crm.create_field(&new).await;
    assert!(matches!(refused, Err(CrmError::Permanent { .. })), "{refused:?}");
    assert_eq!(subject.fields().await.all, before);
}

async fn a_budget_leaves_no_more_than_the_whole(subject: &CrmSubject) {
    subject.fields().await;
    if let Some(budget) = subject.crm.budget() {
        assert!(budget.limit.is_none_or(|limit| budget.remaining <= limit), "{budget:?}");
    }
}

async fn a_lagging_search_is_no_error_and_finds_the_person_in_the_end(subject: &CrmSubject) {
    let jane = subject.add("Jane", &["jane@example.com"]).await;
    subject.account.lag_searches(2).await;
    for _look in 0..2 {
        let found = subject.by_email("jane@example.com").await;
        assert!(found.iter().all(|person| *person == jane), "{found:?}");
    }
    assert_eq!(subject.by_email("jane@example.com").await, [jane]);
}

async fn an_outage_is_transient_until_it_ends_and_nothing_is_written(subject: &CrmSubject) {
    let is_transient = |error: &CrmError| matches!(error, CrmError::Transient(_));
    subject.fails_and_recovers(Fault::Outage, is_transient).await;
}

async fn refused_credentials_are_said_to_be_refused_until_they_are_mended(subject: &CrmSubject) {
    subject.fails_and_recovers(Fault::Credentials, |error| matches!(error, CrmError::Auth(_))).await;
}

async fn a_limit_says_for_how_long_to_keep_away(subject: &CrmSubject) {
    let wait = Duration::from_secs(30);
    let is_limit = |error: &CrmError| match error {
        CrmError::RateLimited { retry_after, scope: _ } => *retry_after == wait,
        CrmError::Transient(_) | CrmError::Auth(_) | CrmError::NotFound | CrmError::Permanent { .. } => false,
    };
    subject.fails_and_recovers(Fault::Limit(wait), is_limit).await;
}

/// The fields a case writes.
struct Fields {
    all: BTreeSet<FieldKey>,
    text: FieldKey,
    text_chars_max: usize,
    other_text: FieldKey,
    number: FieldKey,
    date: FieldKey,
}

impl CrmSubject {
    async fn add(&self, first_name: &str, emails: &[&str]) -> PersonId {
        let person = NewPerson {
            first_name: first_name.to_owned(),
            last_name: "Doe".to_owned(),
            emails: emails.iter().map(|&email| email.to_owned()).collect(),
            added_at: added_at(),
        };
        self.account.add_person(person).await
    }

    async fn persons(&self) -> Vec<PersonOnFile> {
        sorted(self.account.persons().await)
    }

    async fn find(&self, by: &PersonQuery) -> Vec<Candidate> {
        self.crm.find(by).await.expect("the look-up is answered")
    }

    async fn by_email(&self, email: &str) -> Vec<PersonId> {
        sorted(self.find(&email_query(email)).await.into_iter().map(|candidate| candidate.id))
    }

    async fn read(&self, person: &PersonId, keys: &BTreeSet<FieldKey>) -> BTreeMap<FieldKey, FieldValue> {
        self.crm.read(person, keys).await.expect("the person is read")
    }

    async fn update(&self, person: &PersonId, patch: &Patch) -> Receipt {
        self.crm.update(person, patch).await.expect("the update is made")
    }

    async fn make(&self, name: &str, kind: CrmFieldKind) -> CrmField {
        let new = NewCrmField { name: name.to_owned(), kind };
        self.crm.create_field(&new).await.expect("the field is made")
    }

    /// While there is the fault each call ends in an error of that kind, and afterwards nothing has changed.
    async fn fails_and_recovers(&self, fault: Fault, is_expected: impl Fn(&CrmError) -> bool) {
        let jane = self.add("Jane", &["jane@example.com"]).await;
        let fields = self.fields().await;
        let before = (self.persons().await, self.read(&jane, &fields.all).await);
        let patch = Patch::from([(fields.text, text("news"))]);
        let new = NewCrmField { name: "Visits".to_owned(), kind: CrmFieldKind::Number };
        self.account.set_fault(Some(fault)).await;
        let errors = [
            self.crm.find(&email_query("jane@example.com")).await.err(),
            self.crm.find(&email_query("nobody@example.com")).await.err(),
            self.crm.read(&jane, &fields.all).await.err(),
            self.crm.update(&jane, &patch).await.err(),
            self.crm.create_field(&new).await.err(),
        ];
        for error in errors {
            assert!(error.as_ref().is_some_and(&is_expected), "{fault:?}: {error:?}");
        }
        self.account.set_fault(None).await;
        assert_eq!((self.persons().await, self.read(&jane, &fields.all).await), before);
        assert_eq!(self.fields().await.all, fields.all);
        assert_eq!(self.by_email("jane@example.com").await, std::slice::from_ref(&jane));
        assert_eq!(self.update(&jane, &patch).await, all_applied(&patch));
    }

    async fn fields(&self) -> Fields {
        let listed = self.crm.list_fields().await.expect("the fields are listed");
        let mut texts = listed.iter().filter_map(|field| match field.kind {
            CrmFieldKind::Text { chars_max } if chars_max >= 200 => Some((field.key.clone(), chars_max)),
            CrmFieldKind::Text { .. }
            | CrmFieldKind::Number
            | CrmFieldKind::Date
            | CrmFieldKind::Choice { .. }
            | CrmFieldKind::Other(_) => None,
        });
        let mut text = || texts.next().expect("the account has two text fields");
        let of_kind = |kind: &CrmFieldKind| {
            listed.iter().find(|field| field.kind == *kind).map(|field| field.key.clone())
        };
        let (first_text, chars_max) = text();
        Fields {
            all: listed.iter().map(|field| field.key.clone()).collect(),
            text: first_text,
            text_chars_max: usize::try_from(chars_max).expect("a limit within the machine's word"),
            other_text: text().0,
            number: of_kind(&CrmFieldKind::Number).expect("the account has a number field"),
            date: of_kind(&CrmFieldKind::Date).expect("the account has a date field"),
        }
    }
}

/// 2026-11-20T12:00:00Z, long enough ago for any clock a CRM may go by.
fn added_at() -> Timestamp {
    Timestamp::from_millis(1_795_176_000_000)
}

fn email_query(email: &str) -> PersonQuery {
    PersonQuery::Email {
        email: email.parse().expect("a usable e-mail"),
        changed_since: Timestamp::from_millis(added_at().millis() - 900_000),
    }
}

fn text(value: &str) -> FieldValue {
    FieldValue::Text(value.to_owned())
}

fn all_applied(patch: &Patch) -> Receipt {
    Receipt { applied: patch.keys().cloned().collect(), dropped: BTreeMap::new() }
}

fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort();
    items
}
