//! E-mail addresses: how people are told apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A usable e-mail address in its normal form: trimmed, local part and domain in lower case, an international domain
/// in ASCII. Plus tags are kept: `a+b@x` and `a@x` are two addresses.
///
/// Its `Debug` shows nothing of it, so that it cannot reach a log by accident.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress(String);

/// A text that is not a usable e-mail address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a usable e-mail address")]
pub struct EmailAddressError;

impl EmailAddress {
    /// The longest address, by RFC 5321 section 4.5.3.1.3 less the angle brackets.
    const BYTES_MAX: usize = 254;
    /// The longest local part, by RFC 5321 section 4.5.3.1.1.
    const LOCAL_BYTES_MAX: usize = 64;

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash people are looked up by.
    pub fn hash(&self) -> EmailHash {
        let mut hash = Sha256::new();
        hash.update(b"leadtrail e-mail ");
        hash.update(self.0.as_bytes());
        EmailHash(hash.finalize().into())
    }
}

impl FromStr for EmailAddress {
    type Err = EmailAddressError;

    fn from_str(text: &str) -> Result<Self, EmailAddressError> {
        let (local, domain) = text.trim().rsplit_once('@').ok_or(EmailAddressError)?;
        let forbidden =
            |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '<' | '>' | ',' | ';' | '"');
        if local.is_empty() || local.len() > Self::LOCAL_BYTES_MAX || local.contains(forbidden) {
            return Err(EmailAddressError);
        }
        let Ok(url::Host::Domain(domain)) = url::Host::parse(domain) else { return Err(EmailAddressError) };
        let labels_fit = domain.contains('.')
            && domain.split('.').all(|label| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            });
        let address = format!("{}@{domain}", local.to_lowercase());
        if labels_fit && address.len() <= Self::BYTES_MAX {
            Ok(Self(address))
        } else {
            Err(EmailAddressError)
        }
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = EmailAddressError;

    fn try_from(text: String) -> Result<Self, EmailAddressError> {
        text.parse()
    }
}

impl From<EmailAddress> for String {
    fn from(email: EmailAddress) -> Self {
        email.0
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(***)")
    }
}

/// SHA-256 of a normalised e-mail address: what a person is found by without the address itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EmailHash(pub [u8; 32]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_one_address_are_one_person() {
        let normal: EmailAddress = "jane.doe@example.com".parse().unwrap();
        for spelling in [" Jane.Doe@Example.COM ", "JANE.DOE@example.com"] {
            assert_eq!(spelling.parse::<EmailAddress>().unwrap().hash(), normal.hash());
        }
        assert_eq!("a@Bücher.example".parse::<EmailAddress>().unwrap().as_str(), "a@xn--bcher-kva.example");
        assert_ne!("a+b@x.example".parse::<EmailAddress>(), "a@x.example".parse());
    }

    #[test]
    fn what_no_mail_server_takes_is_not_usable() {
        let long = format!("{}@example.com", "x".repeat(65));
        for bad in [
            "",
            "a",
            "@x.example",
            "a@",
            "a@b",
            "a b@x.example",
            "a@@x.example",
            "a@x..example",
            "a@[1.2.3.4]",
            "a@1.2.3.4",
            "<a@x.example>",
            &long,
        ] {
            assert_eq!(bad.parse::<EmailAddress>(), Err(EmailAddressError), "{bad}");
        }
    }

    #[test]
    fn an_address_is_not_shown_by_debug() {
        let email: EmailAddress = "jane@example.com".parse().unwrap();
        assert!(!format!("{email:?}").contains("jane"));
    }
}
