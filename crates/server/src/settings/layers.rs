use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use config::{Config, File, FileFormat, Map, Value, ValueKind};

const DEFAULT: &str = include_str!("default.toml");
const PREFIX: &str = "LEADTRAIL__";

/// The keys whose values are shown to nobody.
const SECRETS: [&str; 3] = ["crm.connection_key", "crm.pipedrive.api_token", "store.url"];
/// The keys of one of `crm.accounts`.
const OF_ACCOUNT: [&str; 4] = ["api_token", "base_url", "file", "kind"];

/// What the replaced tool's environment calls some of the keys.
const ALIASES: [(&str, &str); 3] = [
    ("PIPEDRIVE_API_KEY", "crm.pipedrive.api_token"),
    ("ENVIRONMENT", "environment"),
    ("LOG_LEVEL", "log.level"),
];

/// The settings as text, each with where it came from.
#[derive(Debug)]
pub(crate) struct Layers {
    values: BTreeMap<String, Entry>,
}

struct Entry {
    value: Content,
    origin: String,
    known: bool,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

enum Content {
    Text(String),
    List(Vec<String>),
}

/// What the command line sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    /// Keys with their values.
    pub(crate) values: Vec<(&'static str, String)>,
}

impl Layers {
    /// Reads the defaults, a file, the environment and the flags.
    pub(crate) fn read(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
        flags: &Flags,
    ) -> anyhow::Result<Self> {
        let mut builder = Config::builder().add_source(File::from_str(DEFAULT, FileFormat::Toml));
        if let Some(path) = file {
            builder = builder.add_source(File::from(path).format(FileFormat::Toml));
        }
        for (key, (value, name)) in environment_values(environment)? {
            builder = builder.set_override(key, Value::new(Some(&name), ValueKind::String(value)))?;
        }
        for (key, value) in &flags.values {
            let origin = "the command line".to_owned();
            builder =
                builder.set_override(*key, Value::new(Some(&origin), ValueKind::String(value.clone())))?;
        }
        let known =
            flattened(Config::builder().add_source(File::from_str(DEFAULT, FileFormat::Toml)).build()?.cache);
        let values = flattened(builder.build()?.cache)
            .into_iter()
            .map(|(key, value)| {
                let origin = value.origin().unwrap_or("the default").to_owned();
                let known = known.contains_key(&key) || of_account(&key).is_some();
                (key, Entry { value: content(value), origin, known })
            })
            .collect();
        Ok(Self { values })
    }

    pub(crate) fn text(&self, key: &str) -> String {
        match self.values.get(key).map(|entry| &entry.value) {
            Some(Content::Text(text)) => text.clone(),
            Some(Content::List(list)) => list.join(","),
            None => String::new(),
        }
    }

    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        match self.values.get(key).map(|entry| &entry.value) {
            Some(Content::List(list)) => list.clone(),
            Some(Content::Text(text)) => {
                text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
            }
            None => Vec::new(),
        }
    }

    /// The value as it may be shown.
    pub(crate) fn shown(&self, key: &str) -> String {
        let text = self.text(key);
        if key == "store.url" {
            masked_url(&text)
        } else if is_secret(key) && !text.is_empty() {
            "***".to_owned()
        } else {
            text
        }
    }

    pub(crate) fn origin(&self, key: &str) -> &str {
        self.values.get(key).map_or("the default", |entry| &entry.origin)
    }

    /// The names under `crm.accounts`.
    pub(crate) fn accounts(&self) -> BTreeSet<String> {
        self.values.keys().filter_map(|key| Some(of_account(key)?.0.to_owned())).collect()
    }

    /// Every key, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    pub(crate) fn unknown_keys(&self) -> SettingsErrors {
        let mut errors = SettingsErrors::default();
        for (key, entry) in self.values.iter().filter(|(_, entry)| !entry.known) {
            errors.0.push(format!("{key}: there is no such setting (from {})", entry.origin));
        }
        errors
    }
}

/// The name and the rest of a key of one of `crm.accounts`.
fn of_account(key: &str) -> Option<(&str, &str)> {
    let account = key.strip_prefix("crm.accounts.")?.split_once('.')?;
    OF_ACCOUNT.contains(&account.1).then_some(account)
}

fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key) || of_account(key).is_some_and(|(_, part)| part == "api_token")
}

/// A store's address without its password, which may stand before the host or, as libpq takes it, in the query.
fn masked_url(text: &str) -> String {
    if text.starts_with("sqlite:") || text.starts_with("memory") {
        return text.to_owned();
    }
    // Whatever else it may be: a mistaken `host=… password=…` is no more to be shown than a mistaken URL.
    let url = text.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphanumeric()));
    let Some((scheme, rest)) = url else { return "***".to_owned() };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    if query.is_some_and(|query| query.contains('@')) {
        // The question mark stands in a password that was not encoded.
        return format!("{scheme}://***");
    }
    let place = place.rsplit_once('@').map_or_else(
        || place.to_owned(),
        |(credentials, host)| match credentials.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => place.to_owned(),
        },
    );
    let parameters: Vec<String> = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .map(|parameter| match parameter.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}=***"),
            Some(_) | None => parameter.to_owned(),
        })
        .collect();
    let query = if query.is_some() { format!("?{}", parameters.join("&")) } else { String::new() };
    format!("{scheme}://{place}{query}")
}

/// The settings that the environment holds, with the variable each comes from: ours, those in files, then the names of
/// the replaced tool where nothing else says it.
fn environment_values(
    environment: &BTreeMap<String, String>,
) -> anyhow::Result<BTreeMap<String, (String, String)>> {
    let mut values = BTreeMap::new();
    for (name, value) in environment {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let key = path.to_lowercase().replace("__", ".");
        match key.strip_suffix("_file").filter(|secret| is_secret(secret)) {
            Some(secret) => {
                let content = std::fs::read_to_string(value).map_err(|error| {
                    anyhow::anyhow!("{secret}: cannot read {value} (from {name}): {error}")
                })?;
                values.insert(secret.to_owned(), (content.trim().to_owned(), name.clone()));
            }
            None => {
                values.entry(key).or_insert_with(|| (value.clone(), name.clone()));
            }
        }
    }
    for (alias, key) in ALIASES {
        if let Some(value) = environment.get(alias).filter(|value| !value.is_empty()) {
            values.entry(key.to_owned()).or_insert_with(|| (value.clone(), alias.to_owned()));
            if alias == "PIPEDRIVE_API_KEY" {
                values
                    .entry("crm.kind".to_owned())
                    .or_insert_with(|| ("pipedrive".to_owned(), alias.to_owned()));
            }
        }
    }
    Ok(values)
}

fn flattened(value: Value) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    flatten("", value, &mut flat);
    flat
}

fn flatten(path: &str, value: Value, flat: &mut BTreeMap<String, Value>) {
    match value.kind {
        ValueKind::Table(table) => {
            let table: Map<String, Value> = table;
            for (key, value) in table.into_iter().collect::<BTreeMap<_, _>>() {
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                flatten(&path, value, flat);
            }
        }
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_)
        | ValueKind::String(_)
        | ValueKind::Array(_) => {
            flat.insert(path.to_owned(), value);
        }
    }
}

fn content(value: Value) -> Content {
    if let ValueKind::Array(items) = value.kind {
        Content::List(items.into_iter().map(|item| item.to_string()).collect())
    } else {
        Content::Text(value.kind.to_string())
    }
}

/// Everything that is wrong with the settings, a line each.
#[derive(Debug, Default)]
pub(crate) struct SettingsErrors(Vec<String>);

impl SettingsErrors {
    pub(crate) fn push(&mut self, key: &str, shown: &str, expected: &str, origin: &str) {
        let line = format!("{key}: `{shown}` is not {expected} (from {origin})");
        if !self.0.contains(&line) {
            self.0.push(line);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each by itself.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings are not valid:")?;
        for line in &self.0 {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_of_writing_a_password_into_an_address_shows_it() {
        for (text, shown) in [
            ("sqlite:/var/lib/leadtrail.db", "sqlite:/var/lib/leadtrail.db"),
            ("postgres://u@h/d?sslmode=require", "postgres://u@h/d?sslmode=require"),
            ("postgres://u:canary@h:5432/d", "postgres://u:***@h:5432/d"),
            ("postgres://u:can@canary@h/d", "postgres://u:***@h/d"),
            ("postgres://u:x?canary@h/d", "postgres://***"),
            (
                "postgres://h/d?user=u&PassWord=canary&sslpassword=canary",
                "postgres://h/d?user=u&PassWord=***&sslpassword=***",
            ),
            ("host=h password=canary", "***"),
            ("password=canary url=x://h", "***"),
        ] {
            let masked = masked_url(text);
            assert_eq!(masked, shown);
            assert!(!masked.contains("canary"), "{masked}");
        }
    }
}
