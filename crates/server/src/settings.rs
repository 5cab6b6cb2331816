//! Settings: an embedded `default.toml`, a file, the environment and flags, later ones winning; then made into the types
//! the service works with, all errors at once, each naming its key and where it came from.

mod layers;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use ipnet::IpNet;
use leadtrail_app::connections::SealKey;
use leadtrail_app::ingest::IngestSettings;
use leadtrail_app::sync_loop::SyncSettings;
use leadtrail_crm_pipedrive::BaseUrl;
use leadtrail_domain::id::Slug;
use leadtrail_domain::project::{default_account, own_account};
use leadtrail_domain::sync::account::BreakerSettings;
use leadtrail_domain::time::Span;
use leadtrail_http::{
    AddressHeader, Environment, Limits, MetricsAccess, PER_UNIT_MAX, PlaceHeaders, Proxies, Rate,
};
use secrecy::SecretString;
use tracing_subscriber::filter::Targets;
use url::Url;

pub(crate) use self::layers::{Flags, Layers, SettingsErrors};

/// The settings of the service.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) environment: Environment,
    pub(crate) http: Http,
    pub(crate) store: Store,
    pub(crate) ingest: IngestSettings,
    /// The CRM connections by name; none is the kind `none`.
    pub(crate) crms: BTreeMap<Slug, CrmKind>,
    /// What the projects' own connections are sealed with.
    pub(crate) connection_key: Option<SealKey>,
    pub(crate) sandbox_file: PathBuf,
    pub(crate) sync: SyncSettings,
    pub(crate) breaker: BreakerSettings,
    pub(crate) sync_delay: Duration,
    pub(crate) limits: Limits,
    pub(crate) geo_file: Option<PathBuf>,
    pub(crate) log: Log,
}

#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) bind: SocketAddr,
    pub(crate) public_url: Option<Url>,
    pub(crate) proxies: Proxies,
    pub(crate) workers: Option<NonZeroUsize>,
    pub(crate) connections_max: usize,
    pub(crate) metrics: MetricsAccess,
}

impl Http {
    /// Whether there must be a proxy in front, and none is trusted: then all visitors have its one address.
    pub(crate) fn overlooks_a_proxy(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.scheme() == "https") && self.proxies.trusted.is_empty()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) url: StoreUrl,
    pub(crate) migrate_on_start: bool,
    pub(crate) allow_relaxed_durability: bool,
    pub(crate) visitors_cached: u64,
}

/// Which store, and where.
#[derive(Clone, Debug)]
pub(crate) enum StoreUrl {
    Memory,
    /// `sqlite:PATH`.
    Sqlite(String),
    /// `postgres://…`, with its password.
    Postgres(SecretString),
}

#[derive(Clone, Debug)]
pub(crate) enum CrmKind {
    /// The file its persons are kept in.
    Sandbox(PathBuf),
    Pipedrive {
        base_url: BaseUrl,
        api_token: SecretString,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) directives: Targets,
    pub(crate) format: LogFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogFormat {
    Pretty,
    Json,
}

impl Settings {
    /// Makes the layers into settings.
    pub(crate) fn from_layers(layers: &Layers) -> Result<Self, SettingsErrors> {
        let mut errors = layers.unknown_keys();
        let mut read = Reader { layers, errors: &mut errors };
        let environment = read.one_of(
            "environment",
            &[("production", Environment::Production), ("development", Environment::Development)],
        );
        let settings = Self {
            environment,
            http: Http {
                bind: read.parsed(
                    "http.bind",
                    "an address such as 127.0.0.1:8080",
                    ([127, 0, 0, 1], 8080).into(),
                ),
                public_url: read.optional_url("http.public_url"),
                proxies: read.proxies(),
                workers: NonZeroUsize::new(read.number("http.workers", 0..=1_024)),
                connections_max: read.number("http.connections_max", 1..=1_000_000),
                metrics: read.one_of(
                    "http.metrics",
                    &[
                        ("local", MetricsAccess::Local),
                        ("open", MetricsAccess::Open),
                        ("off", MetricsAccess::Off),
                    ],
                ),
            },
            store: Store {
                url: read.store_url("store.url"),
                migrate_on_start: read.flag("store.migrate_on_start"),
                allow_relaxed_durability: read.flag("store.allow_relaxed_durability"),
                visitors_cached: read.number("store.visitors_cached", 0..=100_000_000),
            },
            ingest: IngestSettings {
                shards: read.number("ingest.shards", 1..=64),
                queue_max: read.number("ingest.queue_max", 1..=1_000_000),
                group_max: read.number("ingest.group_max", 1..=10_000),
            },
            crms: read.crms(),
            connection_key: read.connection_key("crm.connection_key"),
            sandbox_file: PathBuf::from(read.text("crm.sandbox.file")),
            sync: SyncSettings {
                poll: read.span("sync.poll", Duration::from_millis(10)),
                batch: read.number("sync.batch", 1..=1_000),
                workers: read.number("sync.workers", 1..=64),
                not_found_retries: read.spans("sync.not_found_retries"),
                person_updates_max: read.number("sync.person_updates_max", 0..=1_000_000),
                lease: read.lease("sync.lease"),
                ..SyncSettings::default()
            },
            breaker: BreakerSettings {
                failures: read.number("sync.breaker.failures", 1..=1_000),
                reset: read.span("sync.breaker.reset", Duration::from_secs(1)),
                successes: read.number("sync.breaker.successes", 1..=1_000),
            },
            sync_delay: read.span("sync.delay", Duration::ZERO),
            limits: Limits {
                tracking: read.limit("limits.tracking"),
                reading: read.limit("limits.reading"),
                managing: read.limit("limits.managing"),
                form_reserve: read.limit("limits.form_reserve"),
                failed_authentications: read.limit("limits.failed_authentications"),
            },
            geo_file: read.optional_path("geo.file"),
            log: read.log(environment),
        };
        if errors.is_empty() { Ok(settings) } else { Err(errors) }
    }
}

/// Reads keys one by one and gathers what is wrong; what is wrong reads as anything, since nobody will see it.
struct Reader<'a> {
    layers: &'a Layers,
    errors: &'a mut SettingsErrors,
}

impl Reader<'_> {
    fn text(&self, key: &str) -> String {
        self.layers.text(key)
    }

    fn wrong(&mut self, key: &str, expected: &str) {
        self.errors.push(key, &self.layers.shown(key), expected, self.layers.origin(key));
    }

    fn parsed<T: FromStr>(&mut self, key: &str, expected: &str, fallback: T) -> T {
        self.text(key).trim().parse().unwrap_or_else(|_not_one| {
            self.wrong(key, expected);
            fallback
        })
    }

    fn number<T>(&mut self, key: &str, range: std::ops::RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Copy + std::fmt::Display,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let value: T = self.parsed(key, &expected, *range.start());
        if !range.contains(&value) {
            self.wrong(key, &expected);
        }
        value
    }

    fn flag(&mut self, key: &str) -> bool {
        self.one_of(key, &[("true", true), ("false", false)])
    }

    fn one_of<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> T {
        let text = self.text(key).trim().to_lowercase();
        choices.iter().find(|(name, _)| *name == text).map_or_else(
            || {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                self.wrong(key, &format!("one of {}", names.join(", ")));
                choices[0].1
            },
            |(_, value)| *value,
        )
    }

    fn span(&mut self, key: &str, min: Duration) -> Duration {
        let expected = "a length of time such as 500ms, 5s, 7m, 1h30m or 2d (10 years at most)";
        let zero = Span::try_from(Duration::ZERO).expect("nothing is short");
        let span = self.parsed(key, expected, zero).duration();
        if span < min {
            self.wrong(key, &format!("{expected}, {min:?} at least"));
        }
        span
    }

    fn spans(&mut self, key: &str) -> Vec<Duration> {
        let parsed: Result<Vec<Span>, _> =
            self.layers.list(key).iter().map(|text| text.trim().parse()).collect();
        match parsed {
            Ok(spans) if spans.is_sorted() => spans.into_iter().map(Span::duration).collect(),
            Ok(_) | Err(_) => {
                self.wrong(key, "lengths of time that grow, such as 30m,90m,8h");
                Vec::new()
            }
        }
    }

    fn optional_url(&mut self, key: &str) -> Option<Url> {
        let text = self.text(key);
        if text.trim().is_empty() {
            return None;
        }
        let url = Url::parse(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        if url.is_none() {
            self.wrong(key, "an address such as https://track.example.com");
        }
        url
    }

    fn optional_path(&self, key: &str) -> Option<PathBuf> {
        let text = self.text(key);
        let text = text.trim();
        (!text.is_empty()).then(|| PathBuf::from(text))
    }

    fn proxies(&mut self) -> Proxies {
        const TRUSTED: &str = "http.trusted_proxies";
        let network = |text: &String| {
            let text = text.trim();
            let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
            address.or_else(|_not_one_address| text.parse())
        };
        let trusted = self.layers.list(TRUSTED).iter().map(network).collect::<Result<_, _>>();
        let trusted = trusted.unwrap_or_else(|_not_one| {
            self.wrong(TRUSTED, "addresses and networks such as 127.0.0.1,10.0.0.0/8,2001:db8::/32");
            Vec::new()
        });
        Proxies {
            trusted,
            address_header: self.one_of(
                "http.client_header",
                &[
                    ("x-forwarded-for", AddressHeader::XForwardedFor),
                    ("forwarded", AddressHeader::Forwarded),
                    ("cf-connecting-ip", AddressHeader::CfConnectingIp),
                ],
            ),
            place_headers: self.one_of(
                "geo.headers",
                &[("none", PlaceHeaders::None), ("cloudflare", PlaceHeaders::Cloudflare)],
            ),
        }
    }

    fn store_url(&mut self, key: &str) -> StoreUrl {
        let text = self.text(key);
        let text = text.trim();
        if text == "memory:" || text == "memory" {
            StoreUrl::Memory
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            StoreUrl::Postgres(SecretString::from(text.to_owned()))
        } else {
            if !text.starts_with("sqlite:") || text.len() == "sqlite:".len() {
                self.wrong(key, "sqlite:PATH, postgres://… or memory:");
            }
            StoreUrl::Sqlite(text.to_owned())
        }
    }

    /// The plain `crm.*` is the connection `default`, and `crm.accounts.NAME.*` the others.
    fn crms(&mut self) -> BTreeMap<Slug, CrmKind> {
        let mut crms = BTreeMap::new();
        let kind = self.one_of("crm.kind", &[("none", 0), ("sandbox", 1), ("pipedrive", 2)]);
        let plain = match kind {
            2 => self.pipedrive("crm.pipedrive.base_url", "crm.pipedrive.api_token", "crm.kind"),
            1 => Some(CrmKind::Sandbox(PathBuf::from(self.text("crm.sandbox.file")))),
            _ => None,
        };
        crms.extend(plain.map(|crm| (default_account(), crm)));
        for name in self.layers.accounts() {
            let key = |part: &str| format!("crm.accounts.{name}.{part}");
            let slug = name.parse().ok().filter(|slug| *slug != own_account() && *slug != default_account());
            let Some(slug) = slug else {
                let expected = "1 to 64 letters, digits, `_` or `-`, and neither `default`, which the plain crm.* is, \
                                nor `own`, which stands for a project's own";
                self.errors.push(
                    &format!("crm.accounts.{name}"),
                    &name,
                    expected,
                    "the name of a connection",
                );
                continue;
            };
            let crm = match self.text(&key("kind")).trim() {
                "pipedrive" => self.pipedrive(&key("base_url"), &key("api_token"), &key("kind")),
                "sandbox" => Some(CrmKind::Sandbox(PathBuf::from(match self.text(&key("file")).trim() {
                    "" => format!("sandbox-crm-{name}.json"),
                    file => file.to_owned(),
                }))),
                _ => {
                    self.wrong(&key("kind"), "one of sandbox, pipedrive");
                    None
                }
            };
            crms.extend(crm.map(|crm| (slug, crm)));
        }
        crms
    }

    fn pipedrive(&mut self, base_url: &str, api_token: &str, kind: &str) -> Option<CrmKind> {
        let token = self.text(api_token).trim().to_owned();
        if token.is_empty() {
            self.wrong(api_token, &format!("the API token, since {kind} is pipedrive"));
        }
        let Ok(base_url) = self.text(base_url).trim().parse() else {
            self.wrong(base_url, "an https address that ends in /api/v2 (plain http on loopback only)");
            return None;
        };
        Some(CrmKind::Pipedrive { base_url, api_token: SecretString::from(token) })
    }

    fn connection_key(&mut self, key: &str) -> Option<SealKey> {
        let text = self.text(key);
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let bytes = hexadecimal(text).or_else(|| base64::prelude::BASE64_STANDARD.decode(text).ok());
        let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
        if bytes.is_none() {
            self.wrong(
                key,
                "32 bytes as 64 hexadecimal digits or base64, such as `openssl rand -hex 32` prints",
            );
        }
        bytes.as_ref().map(SealKey::new)
    }

    fn lease(&mut self, key: &str) -> Duration {
        let shortest = SyncSettings::default().job_time_max;
        let lease = self.span(key, Duration::ZERO);
        if lease <= shortest {
            self.wrong(
                key,
                &format!("longer than the {} s that the work on a job may take", shortest.as_secs()),
            );
        }
        lease
    }

    fn log(&mut self, environment: Environment) -> Log {
        let format = self.one_of("log.format", &[("pretty", LogFormat::Pretty), ("json", LogFormat::Json)]);
        let level = match (self.text("log.level").trim(), environment) {
            ("", Environment::Production) => "warn".to_owned(),
            ("", Environment::Development) => "info".to_owned(),
            (level, _) => level.to_lowercase(),
        };
        let directives = level.parse().unwrap_or_else(|_not_directives| {
            self.wrong(
                "log.level",
                "error, warn, info, debug, trace or directives such as leadtrail_app=debug",
            );
            Targets::new()
        });
        Log { directives, format }
    }

    fn limit(&mut self, key: &str) -> Option<Rate> {
        let text = self.text(key);
        if text.trim().eq_ignore_ascii_case("off") {
            return None;
        }
        let rate = text.parse().ok();
        if rate.is_none() {
            self.wrong(
                key,
                &format!("a rate such as 100/min (1 to {PER_UNIT_MAX} per s, min, h or d) or off"),
            );
        }
        rate
    }
}

/// The bytes of a text of hexadecimal digits.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn with(environment: &[(&str, &str)]) -> Result<Settings, SettingsErrors> {
        let environment: BTreeMap<String, String> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::from_layers(
            &Layers::read(None, &environment, &Flags::default()).expect("the layers can be read"),
        )
    }

    #[test]
    fn the_defaults_are_valid() {
        let settings = with(&[]).unwrap();
        assert_eq!(settings.sync_delay, Duration::from_mins(7));
        assert_eq!(settings.sync, SyncSettings::default());
        assert_eq!(settings.ingest, IngestSettings::default());
        assert_eq!(settings.log.directives.to_string(), "warn");
        assert_eq!(settings.http.metrics, MetricsAccess::Local);
    }

    #[test]
    fn every_problem_is_named_at_once_with_its_key_and_source() {
        let errors = with(&[
            ("LEADTRAIL__SYNC__DELAY", "soon"),
            ("LEADTRAIL__HTTP__BIND", "localhost"),
            ("LEADTRAIL__HTTP__BIDN", "x"),
            ("LEADTRAIL__CRM__KIND", "pipedrive"),
            ("LEADTRAIL__LIMITS__TRACKING", "many"),
        ])
        .unwrap_err()
        .to_string();
        for part in [
            "sync.delay: `soon`",
            "LEADTRAIL__SYNC__DELAY",
            "http.bind",
            "http.bidn",
            "crm.pipedrive.api_token",
            "limits.tracking: `many` is not a rate such as 100/min",
            "LEADTRAIL__LIMITS__TRACKING",
        ] {
            assert!(errors.contains(part), "{part} in {errors}");
        }
    }

    #[test]
    fn each_limit_is_a_rate_or_off() {
        let shown = |limits: Limits| {
            [
                limits.tracking,
                limits.form_reserve,
                limits.reading,
                limits.managing,
                limits.failed_authentications,
            ]
            .map(|rate| rate.map_or("off".to_owned(), |rate| rate.to_string()))
        };
        assert_eq!(shown(with(&[]).unwrap().limits), ["100/min", "20/min", "1000/h", "100/h", "30/min"]);
        let names = ["TRACKING", "FORM_RESERVE", "READING", "MANAGING", "FAILED_AUTHENTICATIONS"];
        let variables = names.map(|name| format!("LEADTRAIL__LIMITS__{name}"));
        let all = |value| variables.each_ref().map(|variable| (variable.as_str(), value));
        assert_eq!(shown(with(&all("off")).unwrap().limits), ["off"; 5]);
        assert_eq!(shown(with(&all("5/s")).unwrap().limits), ["5/s"; 5]);
        for wrong in ["", "0/min", "100", "100/week", "1000001/s"] {
            let errors = with(&all(wrong)).unwrap_err().to_string();
            for (name, variable) in names.iter().zip(&variables) {
                let key = format!("limits.{}: `{wrong}`", name.to_lowercase());
                assert!(errors.contains(&key) && errors.contains(variable), "{errors}");
            }
        }
    }

    #[test]
    fn no_proxy_is_trusted_unless_it_is_listed_by_address_or_network() {
        assert_eq!(with(&[]).unwrap().http.proxies, Proxies::default());
        let listed = with(&[
            ("LEADTRAIL__HTTP__TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,2001:db8::/32,::ffff:192.0.2.1"),
            ("LEADTRAIL__HTTP__CLIENT_HEADER", "CF-Connecting-IP"),
        ]);
        let proxies = listed.unwrap().http.proxies;
        let networks: Vec<String> = proxies.trusted.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32"]);
        assert_eq!(proxies.address_header, AddressHeader::CfConnectingIp);
        for wrong in ["proxy.example", "10.0.0.0/33", "*", "127.0.0.1,,x"] {
            let errors = with(&[("LEADTRAIL__HTTP__TRUSTED_PROXIES", wrong)]).unwrap_err().to_string();
            assert!(errors.contains("http.trusted_proxies") && errors.contains(wrong), "{errors}");
        }
    }

    #[test]
    fn todays_environment_works_and_the_new_name_wins() {
        let old = with(&[
            ("PIPEDRIVE_API_KEY", "test-token"),
            ("ENVIRONMENT", "development"),
            ("LOG_LEVEL", "DEBUG"),
        ])
        .unwrap();
        assert!(matches!(old.crms[&default_account()], CrmKind::Pipedrive { .. }));
        assert_eq!(
            (old.environment, old.log.directives.to_string()),
            (Environment::Development, "debug".to_owned())
        );
        let new = with(&[
            ("LOG_LEVEL", "debug"),
            ("LEADTRAIL__LOG__LEVEL", "error"),
            ("LEADTRAIL__CRM__KIND", "none"),
            ("PIPEDRIVE_API_KEY", "test-token"),
        ])
        .unwrap();
        assert_eq!(new.log.directives.to_string(), "error");
        assert!(new.crms.is_empty());
    }

    #[test]
    fn an_agency_has_a_connection_per_client_and_none_is_called_own() {
        let settings = with(&[
            ("LEADTRAIL__CRM__ACCOUNTS__ACME__KIND", "pipedrive"),
            ("LEADTRAIL__CRM__ACCOUNTS__ACME__BASE_URL", "https://acme.pipedrive.com/api/v2"),
            ("LEADTRAIL__CRM__ACCOUNTS__ACME__API_TOKEN", "canary-token"),
            ("LEADTRAIL__CRM__ACCOUNTS__TRIAL__KIND", "sandbox"),
        ])
        .unwrap();
        assert!(!format!("{settings:?}").contains("canary"));
        let names: Vec<&str> = settings.crms.keys().map(Slug::as_str).collect();
        assert_eq!(names, ["acme", "trial"]);
        for (variable, value, part) in [
            ("OWN__KIND", "sandbox", "crm.accounts.own"),
            ("DEFAULT__KIND", "sandbox", "crm.accounts.default"),
            ("ACME__KIND", "none", "crm.accounts.acme.kind: `none`"),
            ("ACME__KIND", "pipedrive", "crm.accounts.acme.api_token"),
            ("ACME__TOKEN", "x", "crm.accounts.acme.token: there is no such setting"),
        ] {
            let variable = format!("LEADTRAIL__CRM__ACCOUNTS__{variable}");
            let errors = with(&[(&variable, value)]).unwrap_err().to_string();
            assert!(errors.contains(part), "{errors}");
        }
    }

    #[test]
    fn a_key_for_connections_has_32_bytes_in_hex_or_base64_and_is_not_shown() {
        const KEY: &str = "LEADTRAIL__CRM__CONNECTION_KEY";
        assert!(with(&[]).unwrap().connection_key.is_none());
        for good in ["0f".repeat(32), format!("{}=", "Dw8P".repeat(11).get(..43).unwrap())] {
            let settings = with(&[(KEY, &good)]).unwrap();
            assert!(settings.connection_key.is_some());
            assert!(!format!("{settings:?}").contains(&good));
        }
        for wrong in ["0f0f", "canary", &"0g".repeat(32), &"0f".repeat(33)] {
            let errors = with(&[(KEY, wrong)]).unwrap_err().to_string();
            assert!(errors.contains("crm.connection_key: `***` is not 32 bytes"), "{errors}");
        }
    }

    #[test]
    fn a_lease_outlasts_the_work_on_a_job() {
        let errors = with(&[("LEADTRAIL__SYNC__LEASE", "30s")]).unwrap_err().to_string();
        assert!(errors.contains("sync.lease"), "{errors}");
        let settings = with(&[("LEADTRAIL__SYNC__BREAKER__FAILURES", "2")]).unwrap();
        assert_eq!(settings.breaker, BreakerSettings { failures: 2, ..BreakerSettings::default() });
    }

    #[test]
    fn a_secret_is_shown_neither_in_errors_nor_by_debug() {
        let settings = with(&[
            ("LEADTRAIL__CRM__KIND", "pipedrive"),
            ("LEADTRAIL__CRM__PIPEDRIVE__API_TOKEN", "canary-token"),
            ("LEADTRAIL__STORE__URL", "postgres://u:canary-password@localhost/db"),
        ])
        .unwrap();
        assert!(!format!("{settings:?}").contains("canary"));
        let errors = with(&[("LEADTRAIL__STORE__URL", "mysql://u:canary-password@localhost/db")])
            .unwrap_err()
            .to_string();
        assert!(!errors.contains("canary"), "{errors}");
    }
}
