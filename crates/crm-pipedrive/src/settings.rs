use std::str::FromStr;
use std::time::Duration;

use leadtrail_outbound::{Destination, DestinationError};
use secrecy::SecretString;

/// Where an account is reached, and how patiently.
#[derive(Clone, Debug)]
pub struct PipedriveSettings {
    /// The account's API.
    pub base_url: BaseUrl,
    /// The API token of a user who sees every person. Sent as `x-api-token`.
    pub token: SecretString,
    /// For how long the list of fields is believed. It carries neither a time nor a version to ask by.
    pub fields_ttl: Duration,
    /// How long one call of the port may take, all its requests and retries included.
    pub call_time_max: Duration,
    /// How long to wait before the first retry, give or take half; three times as long before the second.
    pub retry_wait: Duration,
}

impl PipedriveSettings {
    /// An hour; 7 s, so that a job's two look-ups, its read and its update end within 30 s; 200 ms.
    pub fn new(base_url: BaseUrl, token: SecretString) -> Self {
        Self {
            base_url,
            token,
            fields_ttl: Duration::from_hours(1),
            call_time_max: Duration::from_secs(7),
            retry_wait: Duration::from_millis(200),
        }
    }
}

/// The address of an account's API: `https://COMPANY.pipedrive.com/api/v2`, or http on this machine for a stand-in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseUrl(Destination);

/// Why a text is not a [`BaseUrl`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BaseUrlError {
    /// It is none that may be called.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// Only version 2 of the API is spoken.
    #[error("the URL must end in /api/v2")]
    Version,
    /// It is not Pipedrive's.
    #[error("neither a company's name at Pipedrive nor https://COMPANY.pipedrive.com/api/v2")]
    Company,
}

impl BaseUrl {
    /// The API of a company that somebody else than the operator names, such as a client of our API: by its name at
    /// Pipedrive (`example`), its host or its URL. No request can be led to another host than Pipedrive's.
    ///
    /// # Errors
    /// `Company` for anything else.
    pub fn of_company(text: &str) -> Result<Self, BaseUrlError> {
        let text = text.trim();
        let host = text.strip_prefix("https://").map(|rest| {
            let rest = rest.trim_end_matches('/');
            rest.strip_suffix("/api/v2").unwrap_or(rest)
        });
        let company = match host {
            Some(host) => host.strip_suffix(".pipedrive.com"),
            None => Some(text.strip_suffix(".pipedrive.com").unwrap_or(text)),
        };
        let is_label = |company: &&str| {
            (1..=63).contains(&company.len())
                && company.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
                && !company.starts_with('-')
                && !company.ends_with('-')
        };
        let company = company.filter(is_label).ok_or(BaseUrlError::Company)?;
        Ok(Self(Destination::of_client(&format!("https://{company}.pipedrive.com/api/v2"))?))
    }

    pub(crate) fn destination(&self) -> &Destination {
        &self.0
    }
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, BaseUrlError> {
        let destination = Destination::of_operator(text)?;
        let url = destination.url();
        if url.path().trim_end_matches('/').ends_with("/api/v2") && url.query().is_none() {
            Ok(Self(destination))
        } else {
            Err(BaseUrlError::Version)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_company_is_named_or_its_address_given_and_nobody_elses() {
        let expected = "https://example-1.pipedrive.com/api/v2";
        for good in [
            "example-1",
            " example-1.pipedrive.com ",
            "https://example-1.pipedrive.com",
            "https://example-1.pipedrive.com/",
            "https://example-1.pipedrive.com/api/v2",
            "https://example-1.pipedrive.com/api/v2/",
        ] {
            let base_url = BaseUrl::of_company(good).unwrap();
            assert_eq!(base_url.destination().url().as_str(), expected, "{good}");
        }
        for bad in [
            "",
            "-",
            "Example",
            "example.com",
            "a.b.pipedrive.com",
            ".pipedrive.com",
            "evil.example/.pipedrive.com",
            "evil.example#.pipedrive.com",
            "user@example",
            "https://example",
            "https://example.pipedrive.com.evil.example/api/v2",
            "https://example.pipedrive.com:8443/api/v2",
            "https://evil.example/x.pipedrive.com",
            "http://example.pipedrive.com/api/v2",
            "https://example.pipedrive.com/v1",
            "https://example.pipedrive.com/api/v2?api_token=x",
            "127.0.0.1",
            "https://127.0.0.1/api/v2",
        ] {
            assert_eq!(BaseUrl::of_company(bad), Err(BaseUrlError::Company), "{bad}");
        }
    }

    #[test]
    fn only_version_2_over_https_or_on_this_machine_is_a_base_url() {
        for good in [
            "https://example.pipedrive.com/api/v2",
            "https://example.pipedrive.com/api/v2/",
            "http://127.0.0.1:4000/api/v2",
            "http://localhost:4000/stand-in/api/v2",
        ] {
            assert!(good.parse::<BaseUrl>().is_ok(), "{good}");
        }
        for (bad, why) in [
            ("https://example.pipedrive.com/v1", BaseUrlError::Version),
            ("https://example.pipedrive.com/", BaseUrlError::Version),
            ("https://example.pipedrive.com/api/v2?api_token=x", BaseUrlError::Version),
            ("http://example.pipedrive.com/api/v2", DestinationError::Scheme.into()),
            ("https://user:pass@example.pipedrive.com/api/v2", DestinationError::Credentials.into()),
            ("example", DestinationError::NotUrl.into()),
        ] {
            assert_eq!(bad.parse::<BaseUrl>(), Err(why), "{bad}");
        }
    }
}
