use std::fmt;

use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::destination::Destination;

/// One request.
pub struct Request {
    pub(crate) method: Method,
    pub(crate) to: Destination,
    pub(crate) headers: Vec<(&'static str, SecretString)>,
    pub(crate) body: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    Get,
    Post,
    Patch,
}

impl Request {
    /// Asks for what is there.
    pub fn get(to: Destination) -> Self {
        Self { method: Method::Get, to, headers: Vec::new(), body: None }
    }

    /// Sends `body` as JSON by POST.
    ///
    /// # Errors
    /// `body` cannot be written as JSON.
    pub fn post<T: Serialize + ?Sized>(to: Destination, body: &T) -> Result<Self, serde_json::Error> {
        Ok(Self { method: Method::Post, to, headers: Vec::new(), body: Some(serde_json::to_vec(body)?) })
    }

    /// Sends `body` as JSON by PATCH.
    ///
    /// # Errors
    /// `body` cannot be written as JSON.
    pub fn patch<T: Serialize + ?Sized>(to: Destination, body: &T) -> Result<Self, serde_json::Error> {
        Ok(Self { method: Method::Patch, to, headers: Vec::new(), body: Some(serde_json::to_vec(body)?) })
    }

    /// The request with one more query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.to.add_query(name, value);
        self
    }

    /// The request with a header that is never shown.
    #[must_use]
    pub fn secret_header(mut self, name: &'static str, value: &SecretString) -> Self {
        self.headers.push((name, value.clone()));
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body_bytes = self.body.as_ref().map(Vec::len);
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("to", &self.to)
            .field("body_bytes", &body_bytes)
            .finish_non_exhaustive()
    }
}

/// An answer, whatever its status.
pub struct Response {
    /// The HTTP status, 200 and above.
    pub status: u16,
    /// The body, never longer than the client's cap.
    pub body: Vec<u8>,
    pub(crate) headers: reqwest::header::HeaderMap,
}

impl Response {
    /// The first header of that name, whatever its case; nothing where it is not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Every header that is text, names in lower case, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// It is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
