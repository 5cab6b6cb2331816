use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, SystemTime};

use leadtrail_domain::text::{self, PARAMETER_CHARS_MAX};
use leadtrail_domain::time::Timestamp;
use maxminddb::{MaxMindDbError, Reader};
use serde::Deserialize;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Where an address is, as far as is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// ISO 3166-1 alpha-2, in upper case.
    pub country: Option<String>,
    /// The region's name.
    pub region: Option<String>,
    /// The city's name.
    pub city: Option<String>,
}

/// A geo database, an `.mmdb` file: with nested records as of `GeoLite2`, or with flat ones as of DB-IP.
///
/// It is held in memory, so that a file that is overwritten in place cannot pull the ground from under a look-up. What
/// cannot be read is a warning; the last database that could be stays in use, and without one no place is known.
pub struct GeoFile {
    path: PathBuf,
    database: RwLock<Option<Arc<Reader<Vec<u8>>>>>,
    seen: Mutex<Option<Stamp>>,
    first_look: OnceLock<()>,
}

/// What tells that a file has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Stamp {
    Missing,
    Present { modified: Option<SystemTime>, len: u64 },
}

/// Which database a file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GeoBuild {
    /// What its maker calls it.
    pub kind: String,
    /// When it was made.
    pub at: Timestamp,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GeoFileError {
    /// There is no such file, or it is not ours to read.
    #[error("it cannot be read")]
    Unread(#[from] std::io::Error),
    /// The file is something else.
    #[error("it is not a database")]
    Malformed(#[from] MaxMindDbError),
}

impl GeoFile {
    /// The database at `path`, which is read when it is first needed.
    pub fn new(path: PathBuf) -> Self {
        Self { path, database: RwLock::default(), seen: Mutex::default(), first_look: OnceLock::new() }
    }

    /// The database at `path`, which a thread reads now, and again within ten seconds of each change.
    pub fn watched(path: PathBuf) -> Arc<Self> {
        let file = Arc::new(Self::new(path));
        let watched = Arc::downgrade(&file);
        let watching = thread::Builder::new().name("geo".to_owned()).spawn(move || {
            while let Some(file) = watched.upgrade() {
                file.first_look.get_or_init(|| file.refresh());
                file.refresh();
                drop(file);
                thread::sleep(LOOK_EVERY);
            }
        });
        if let Err(error) = watching {
            tracing::warn!(%error, "changes of the geo database are not noticed");
        }
        file
    }

    /// Reads the file again if it is another than before.
    pub fn refresh(&self) {
        let stamp = match std::fs::metadata(&self.path) {
            Ok(found) => Stamp::Present { modified: found.modified().ok(), len: found.len() },
            Err(_cause) => Stamp::Missing,
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_ref() == Some(&stamp) {
            return;
        }
        *seen = Some(stamp);
        match self.read() {
            Ok(database) => {
                let (kind, built) = (&database.metadata().database_type, database.metadata().build_epoch);
                tracing::info!(geo.kind = kind, geo.built = built, "read the geo database");
                *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(database));
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(
                    path = %self.path.display(), %error, cause,
                    "the geo database (geo.file) cannot be used; places stay as they were known, or unknown"
                );
            }
        }
    }

    /// Reads the file for a look at what it is.
    ///
    /// # Errors
    /// As [`GeoFileError`] says.
    pub fn build(&self) -> Result<GeoBuild, GeoFileError> {
        let database = self.read()?;
        let metadata = database.metadata();
        let at = Timestamp::EPOCH.plus(Duration::from_secs(metadata.build_epoch));
        Ok(GeoBuild { kind: metadata.database_type.clone(), at })
    }

    fn read(&self) -> Result<Reader<Vec<u8>>, GeoFileError> {
        Ok(Reader::from_source(std::fs::read(&self.path)?)?)
    }

    /// Where an address is. Waits for the file when it was not read yet.
    pub fn place(&self, ip: IpAddr) -> Place {
        self.first_look.get_or_init(|| self.refresh());
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner).clone();
        let record: Option<Record> =
            database.and_then(|database| database.lookup(ip).ok()?.decode().ok().flatten());
        record.map(Record::place).unwrap_or_default()
    }
}

/// A record of either shape: <https://maxmind.github.io/MaxMind-DB/> leaves the fields to whoever makes the file.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Record {
    country: Option<Part>,
    country_code: Option<String>,
    subdivisions: Vec<Part>,
    state1: Option<String>,
    region: Option<String>,
    city: Option<Part>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Part {
    Name(String),
    Nested {
        #[serde(default)]
        iso_code: Option<String>,
        #[serde(default)]
        names: Names,
    },
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Names {
    en: Option<String>,
}

impl Part {
    fn name(self) -> Option<String> {
        match self {
            Self::Name(name) => Some(name),
            Self::Nested { names, .. } => names.en,
        }
    }

    fn code(self) -> Option<String> {
        match self {
            Self::Name(name) => Some(name),
            Self::Nested { iso_code, .. } => iso_code,
        }
    }
}

impl Record {
    fn place(self) -> Place {
        let region = self.subdivisions.into_iter().next().and_then(Part::name);
        Place::of(
            self.country.and_then(Part::code).or(self.country_code).as_deref(),
            region.or(self.state1).or(self.region).as_deref(),
            self.city.and_then(Part::name).as_deref(),
        )
    }
}

impl Place {
    fn of(country: Option<&str>, region: Option<&str>, city: Option<&str>) -> Self {
        let name = |name: Option<&str>| name.and_then(|name| text::clean(name, PARAMETER_CHARS_MAX));
        Self { country: country.and_then(iso_3166), region: name(region), city: name(city) }
    }
}

/// Two letters; `XX` and `ZZ` say that it is unknown.
fn iso_3166(code: &str) -> Option<String> {
    let code = code.trim().to_ascii_uppercase();
    let is_code = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    (is_code && !matches!(code.as_str(), "XX" | "ZZ")).then_some(code)
}
