//! The way to other people's pages, for `pixel check`: by the one client for calls to the world.

use async_trait::async_trait;
use leadtrail_app::pixel_check::{Fetched, PAGE_BYTES_MAX, Web, WebError};
use leadtrail_outbound::{Destination, DestinationError, Outbound, OutboundError, OutboundSettings, Request};
use url::Url;

/// The most that one answer of a page may take.
const PAGE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(8);

/// Whose word it is where a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnBehalfOf {
    /// Whoever runs commands on this machine, and may look at its own pages.
    Operator,
    /// A client of the API, who may see public pages only.
    Client,
}

/// Pages, as far as somebody may see them.
pub(crate) struct Pages {
    whose: OnBehalfOf,
    outbound: Outbound,
}

impl Pages {
    pub(crate) fn new(whose: OnBehalfOf) -> Self {
        let outbound = Outbound::new(&OutboundSettings {
            timeout: PAGE_TIMEOUT,
            body_bytes_max: PAGE_BYTES_MAX,
            user_agent: concat!(
                "Mozilla/5.0 (compatible; leadtrail/",
                env!("CARGO_PKG_VERSION"),
                "; pixel check)"
            )
            .to_owned(),
            ..OutboundSettings::default()
        });
        Self { whose, outbound }
    }

    fn destination(&self, url: &Url) -> Result<Destination, DestinationError> {
        match self.whose {
            OnBehalfOf::Operator => Destination::of_operator(url.as_str()),
            OnBehalfOf::Client => Destination::of_client(url.as_str()),
        }
    }

    /// What a failure is told as. To a client, a host within our network is as one that does not exist.
    fn told(&self, error: &OutboundError) -> String {
        if let (OnBehalfOf::Client, OutboundError::Refused { host } | OutboundError::Connect { host, .. }) =
            (self.whose, error)
        {
            return format!("cannot connect to {host}");
        }
        let error: &dyn std::error::Error = error;
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
    }
}

/// The page that an operator names.
pub(crate) fn page(text: &str) -> Result<Url, DestinationError> {
    Destination::of_operator(text).map(|to| to.url().clone())
}

#[async_trait]
impl Web for Pages {
    async fn get(&self, url: &Url) -> Result<Fetched, WebError> {
        let to = self.destination(url).map_err(|error| WebError::NotAllowed(error.to_string()))?;
        let answer = self
            .outbound
            .send(Request::get(to))
            .await
            .map_err(|error| WebError::Failed(self.told(&error)))?;
        let headers = answer.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Fetched { status: answer.status, headers, body: answer.body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_sees_no_page_of_this_machine_and_the_operator_does() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for url in [
            format!("http://127.0.0.1:{port}/"),
            format!("https://127.0.0.1:{port}/"),
            format!("https://[::ffff:127.0.0.1]:{port}/"),
            "https://169.254.169.254/latest/meta-data".to_owned(),
            "https://2130706433/".to_owned(),
            "http://www.example.com/".to_owned(),
            "https://user:word@www.example.com/".to_owned(),
            "file:///etc/passwd".to_owned(),
        ] {
            let answer = Pages::new(OnBehalfOf::Client).get(&url.parse().unwrap()).await;
            assert!(matches!(answer, Err(WebError::NotAllowed(_))), "{url}: {answer:?}");
        }
        // A name that leads here is told as one that leads nowhere.
        let named: Url = format!("https://localhost:{port}/").parse().unwrap();
        let answer = Pages::new(OnBehalfOf::Client).get(&named).await;
        assert_eq!(answer, Err(WebError::Failed(format!("cannot connect to localhost:{port}"))));
        let answering = tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1_024];
            let _read = stream.read(&mut asked).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nx-one: 1\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        });
        let own: Url = format!("http://127.0.0.1:{port}/").parse().unwrap();
        let page = Pages::new(OnBehalfOf::Operator).get(&own).await.unwrap();
        answering.await.unwrap();
        assert_eq!((page.status, page.header("x-one"), &*page.body), (200, Some("1"), &b"hi"[..]));
    }
}
