use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use leadtrail_domain::crm::{
    Budget, Candidate, Capabilities, CrmField, CrmFieldKind, FieldKey, FieldValue, NewCrmField, Patch,
    PersonId, PersonQuery, Receipt,
};
use leadtrail_domain::ports::{Crm, CrmError};
use leadtrail_domain::sync::fields::{self, FieldKind};

use crate::account::{Account, NewPerson, Person};
use crate::account_file::{AccountFile, SandboxError};
use crate::faults::Faults;
use crate::script::{Call, Script, Writes, take_one};

/// The limits of Pipedrive's short and long texts, so that what fits here fits there.
const SHORT_TEXT_CHARS_MAX: u32 = 255;
const LONG_TEXT_CHARS_MAX: u32 = 65_000;

/// The sandbox CRM. Clones are handles of one account.
#[derive(Clone, Debug)]
pub struct SandboxCrm {
    fields: Arc<[CrmField]>,
    account: Arc<Place>,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug)]
enum Place {
    Memory(Mutex<Account>),
    File(AccountFile),
}

impl Place {
    fn read<T>(&self, look: impl FnOnce(&Account) -> T) -> Result<T, SandboxError> {
        match self {
            Self::Memory(account) => Ok(look(&account.lock().unwrap_or_else(PoisonError::into_inner))),
            Self::File(file) => file.read(look),
        }
    }

    fn write<T>(&self, change: impl FnOnce(&mut Account) -> T) -> Result<T, SandboxError> {
        match self {
            Self::Memory(account) => Ok(change(&mut account.lock().unwrap_or_else(PoisonError::into_inner))),
            Self::File(file) => file.write(change),
        }
    }
}

impl SandboxCrm {
    /// An empty account that ends with its last handle.
    pub fn in_memory() -> Self {
        Self::of(Place::Memory(Mutex::default()))
    }

    /// The account kept at `path`; empty while there is no such file. Other processes may use it at the same time:
    /// each call sees what they wrote.
    ///
    /// # Errors
    /// The file is there, and cannot be read or is something else.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, SandboxError> {
        Ok(Self::of(Place::File(AccountFile::open(path.into())?)))
    }

    /// The same account with these fields in the place of ours.
    #[must_use]
    pub fn with_fields(self, fields: Vec<CrmField>) -> Self {
        Self { fields: fields.into(), ..self }
    }

    fn of(place: Place) -> Self {
        Self { fields: our_fields().into(), account: Arc::new(place), script: Arc::default() }
    }

    /// Adds a person: the CRM's own act.
    ///
    /// # Errors
    /// Those of the file.
    pub fn add_person(&self, person: NewPerson) -> Result<PersonId, SandboxError> {
        self.account.write(|account| account.add(person))
    }

    /// Removes a person, as a merge or a deletion in the CRM does; whether there was one.
    ///
    /// # Errors
    /// Those of the file.
    pub fn remove_person(&self, id: &PersonId) -> Result<bool, SandboxError> {
        self.account.write(|account| account.remove(id))
    }

    /// The person added first among those with this e-mail, whatever its case.
    ///
    /// # Errors
    /// Those of the file.
    pub fn person_by_email(&self, email: &str) -> Result<Option<Person>, SandboxError> {
        self.account.read(|account| account.persons().find(|person| person.has_email(email)).cloned())
    }

    /// A person.
    ///
    /// # Errors
    /// Those of the file.
    pub fn person(&self, id: &PersonId) -> Result<Option<Person>, SandboxError> {
        self.account.read(|account| account.person(id).cloned())
    }

    /// Every person, in the order they were added.
    ///
    /// # Errors
    /// Those of the file.
    pub fn persons(&self) -> Result<Vec<Person>, SandboxError> {
        self.account.read(|account| account.persons().cloned().collect())
    }

    /// Makes these the account's faults, in place of those it had, for every handle and every process.
    ///
    /// # Errors
    /// Those of the file.
    pub fn set_faults(&self, faults: Faults) -> Result<(), SandboxError> {
        self.account.write(|account| account.faults = faults)
    }

    /// The account's faults, as far as they have not come to pass.
    ///
    /// # Errors
    /// Those of the file.
    pub fn faults(&self) -> Result<Faults, SandboxError> {
        self.account.read(|account| account.faults.clone())
    }

    /// Every call of the port fails like this, until [`mend`](Self::mend).
    pub fn fail(&self, error: CrmError) {
        self.script().outage = Some(error);
    }

    /// The next `calls` calls of the port fail like this, before anything is looked up or written.
    pub fn fail_next(&self, calls: usize, error: &CrmError) {
        self.script().failures.extend(std::iter::repeat_n(error.clone(), calls));
    }

    /// The next `searches` look-ups by e-mail find nobody, as in a CRM whose search index lags behind.
    pub fn lag_searches(&self, searches: u32) {
        self.script().empty_email_searches = searches;
    }

    /// The next `updates` updates are carried out, and answered by [`CrmError::Transient`].
    pub fn lose_answers(&self, updates: u32) {
        self.script().lost_answers = updates;
    }

    /// Ends every fault of this handle and its clones; the account's are its own.
    pub fn mend(&self) {
        let mut script = self.script();
        script.outage = None;
        script.failures.clear();
        script.empty_email_searches = 0;
        script.lost_answers = 0;
    }

    /// What the port was asked through this handle and its clones, oldest first; the last 10,000 calls.
    pub fn calls(&self) -> Vec<Call> {
        self.script().calls()
    }

    /// How often each field of each person was written through this handle and its clones.
    pub fn writes(&self) -> BTreeMap<(PersonId, FieldKey), Writes> {
        self.script().writes.clone()
    }

    /// Says from now on that so much is left of the day's budget.
    pub fn set_budget(&self, budget: Budget) {
        self.script().budget = Some(budget);
    }

    fn fields(&self, account: &Account) -> Vec<CrmField> {
        self.fields.iter().chain(account.made_fields()).cloned().collect()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one of a fault that wears off was left, which is then taken.
    fn takes_one(&self, of: impl Fn(&mut Faults) -> &mut u32) -> Result<bool, CrmError> {
        let left = self.account.read(|account| *of(&mut account.faults.clone()));
        if left.map_err(|error| unavailable(&error))? == 0 {
            return Ok(false);
        }
        let taken = self.account.write(|account| take_one(of(&mut account.faults)));
        taken.map_err(|error| unavailable(&error))
    }

    /// Runs `work`, unless the account fails, where it may block: a file is read, written, and waited for.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, CrmError> + Send + 'static,
    ) -> Result<T, CrmError> {
        let attempt = |crm: &Self| match crm.account.read(|account| account.faults.outage) {
            Ok(None) => work(crm),
            Ok(Some(outage)) => Err(outage.into()),
            Err(error) => Err(unavailable(&error)),
        };
        match *self.account {
            Place::Memory(_) => attempt(self),
            Place::File(_) => {
                let crm = self.clone();
                tokio::task::spawn_blocking(move || attempt(&crm))
                    .await
                    .map_err(|stopped| CrmError::Transient(stopped.to_string()))?
            }
        }
    }
}

#[async_trait]
impl Crm for SandboxCrm {
    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "Sandbox", finds_by_name: true }
    }

    async fn list_fields(&self) -> Result<Vec<CrmField>, CrmError> {
        self.script().begin(Call::ListFields)?;
        self.run(|crm| crm.account.read(|account| crm.fields(account)).map_err(|error| unavailable(&error)))
            .await
    }

    async fn create_field(&self, field: &NewCrmField) -> Result<CrmField, CrmError> {
        self.script().begin(Call::CreateField(field.clone()))?;
        let kind = match &field.kind {
            CrmFieldKind::Text { chars_max } if *chars_max > SHORT_TEXT_CHARS_MAX => {
                CrmFieldKind::Text { chars_max: LONG_TEXT_CHARS_MAX }
            }
            CrmFieldKind::Text { .. } => CrmFieldKind::Text { chars_max: SHORT_TEXT_CHARS_MAX },
            kind @ (CrmFieldKind::Number | CrmFieldKind::Date | CrmFieldKind::Choice { .. }) => kind.clone(),
            CrmFieldKind::Other(_) => {
                return Err(CrmError::Permanent { code: "unknown_type".to_owned(), fields: BTreeSet::new() });
            }
        };
        let name = field.name.clone();
        self.run(move |crm| {
            crm.account.write(|account| account.make_field(name, kind)).map_err(|error| unavailable(&error))
        })
        .await
    }

    fn budget(&self) -> Option<Budget> {
        self.script().budget
    }

    async fn find(&self, by: &PersonQuery) -> Result<Vec<Candidate>, CrmError> {
        {
            let mut script = self.script();
            script.begin(Call::Find(by.clone()))?;
            if matches!(by, PersonQuery::Email { .. }) && take_one(&mut script.empty_email_searches) {
                return Ok(Vec::new());
            }
        }
        let by = by.clone();
        self.run(move |crm| {
            let is_by_email = matches!(by, PersonQuery::Email { .. });
            if is_by_email && crm.takes_one(|faults| &mut faults.empty_email_searches)? {
                return Ok(Vec::new());
            }
            crm.account.read(|account| account.find(&by)).map_err(|error| unavailable(&error))
        })
        .await
    }

    async fn read(
        &self,
        person: &PersonId,
        fields: &BTreeSet<FieldKey>,
    ) -> Result<BTreeMap<FieldKey, FieldValue>, CrmError> {
        self.script().begin(Call::Read { person: person.clone(), fields: fields.clone() })?;
        let (person, fields) = (person.clone(), fields.clone());
        self.run(move |crm| {
            crm.account
                .read(|account| account.read(&crm.fields(account), &person, &fields))
                .map_err(|error| unavailable(&error))?
        })
        .await
    }

    async fn update(&self, person: &PersonId, patch: &Patch) -> Result<Receipt, CrmError> {
        self.script().begin(Call::Update { person: person.clone(), patch: patch.clone() })?;
        let (person, patch) = (person.clone(), patch.clone());
        self.run(move |crm| {
            let changed = crm
                .account
                .write(|account| account.update(&crm.fields(account), &person, &patch))
                .map_err(|error| unavailable(&error))??;
            let is_lost = {
                let mut script = crm.script();
                script.written(&person, &patch, &changed);
                take_one(&mut script.lost_answers)
            };
            if is_lost || crm.takes_one(|faults| &mut faults.lost_answers)? {
                return Err(CrmError::Transient("the answer was lost".to_owned()));
            }
            Ok(Receipt { applied: patch.into_keys().collect(), dropped: BTreeMap::new() })
        })
        .await
    }
}

fn unavailable(error: &SandboxError) -> CrmError {
    let cause = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    CrmError::Transient(format!("{error}{cause}"))
}

/// Every field of ours as a field of the account, under its own name as its key.
fn our_fields() -> Vec<CrmField> {
    fields::all()
        .map(|spec| CrmField {
            key: FieldKey(spec.name.to_owned()),
            name: spec.name.to_owned(),
            kind: match spec.kind {
                FieldKind::Text => CrmFieldKind::Text { chars_max: SHORT_TEXT_CHARS_MAX },
                FieldKind::LongText => CrmFieldKind::Text { chars_max: LONG_TEXT_CHARS_MAX },
                FieldKind::Number => CrmFieldKind::Number,
                FieldKind::Date => CrmFieldKind::Date,
            },
        })
        .collect()
}
