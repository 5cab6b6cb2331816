//! Whether a pixel works on a page: the page is fetched as a visitor who clicked an ad would, and what would keep the
//! pixel from working there is named, each with what mends it.
//!
//! No script is run. What only a browser can see, such as a tag that Google Tag Manager puts in, is told as such.

mod judge;
mod page;
mod policy;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use leadtrail_domain::id::PixelId;
use leadtrail_domain::ports::{Journeys, Projects, StoreError};
use leadtrail_domain::project::PixelContext;
use leadtrail_domain::time::Timestamp;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use self::page::{Page, Tag};
use self::policy::Policy;
use crate::finding::{Finding, Verdict};

/// How long a check may take in all; what has not answered by then is told as that.
pub const CHECK_MAX: Duration = Duration::from_secs(20);
/// How many redirects are followed from a page to the next.
pub const REDIRECTS_MAX: usize = 5;
/// How many checks may run at a time: each holds a page of [`PAGE_BYTES_MAX`] at most.
pub const CHECKS_AT_ONCE: usize = 8;
/// The longest page that is read.
pub const PAGE_BYTES_MAX: usize = 2 * 1_024 * 1_024;
/// What is added to the page's address: a redirect that strips it strips a campaign's too.
const PROBES: [(&str, &str); 2] = [("utm_source", "leadtrail-check"), ("gclid", "leadtrail-check")];

/// The way to pages.
#[async_trait]
pub trait Web: Send + Sync {
    /// What is answered at `url`, whatever its status; redirects are not followed. A body that is longer than
    /// [`PAGE_BYTES_MAX`] is a failure.
    ///
    /// # Errors
    /// As [`WebError`] says.
    async fn get(&self, url: &Url) -> Result<Fetched, WebError>;
}

/// An answer from a web server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fetched {
    /// Its status.
    pub status: u16,
    /// Its headers that are text, names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Fetched {
    /// The first header of that name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer. The texts go to whoever asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WebError {
    /// It may not be asked for.
    #[error("{0}")]
    NotAllowed(String),
    /// Nothing came, or not whole.
    #[error("{0}")]
    Failed(String),
}

/// Why there is no check.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The page's address may not be asked for: this is why.
    #[error("{0}")]
    Url(String),
    /// As many checks run as may: try again.
    #[error("{CHECKS_AT_ONCE} checks are being made already")]
    Busy,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "PixelCheck"))]
pub struct Checked {
    /// The page that was asked for.
    pub url: String,
    /// The page that answered, where that is another.
    pub reached: Option<String>,
    /// The pixel that was checked; absent where none was named and the page has no tag.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub pixel_id: Option<PixelId>,
    /// Whether nothing was found that must be mended.
    pub ok: bool,
    /// What was looked at, in order.
    pub checks: Vec<Finding>,
}

/// Where every version of the service serves the script.
const SCRIPTS: [&str; 2] = ["/static/pixel.js", "/px.js"];

/// Checks pages.
pub struct PixelChecks {
    web: Arc<dyn Web>,
    projects: Arc<dyn Projects>,
    journeys: Arc<dyn Journeys>,
    room: Semaphore,
}

/// What is checked.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The page.
    pub url: &'a Url,
    /// The pixel that should be there; `None`: whichever is.
    pub pixel: Option<&'a PixelId>,
    /// Where browsers reach the service.
    pub service: &'a Url,
}

impl PixelChecks {
    /// Checks by way of `web`, against what the store has.
    pub fn new(web: Arc<dyn Web>, projects: Arc<dyn Projects>, journeys: Arc<dyn Journeys>) -> Self {
        Self { web, projects, journeys, room: Semaphore::new(CHECKS_AT_ONCE) }
    }

    /// Looks at a page.
    ///
    /// # Errors
    /// As [`CheckError`] says. A page that cannot be had is a finding.
    pub async fn check(&self, subject: Subject<'_>, now: Timestamp) -> Result<Checked, CheckError> {
        let _room = self.room.try_acquire().map_err(|_no_room| CheckError::Busy)?;
        let deadline = Instant::now() + CHECK_MAX;
        let mut findings = Vec::new();
        let (reached, answer) = self.arrive(subject.url, deadline, &mut findings).await?;
        let page = answer.map(|answer| {
            let headers = answer.all("content-security-policy");
            let policies = headers.flat_map(Policy::of_header).collect();
            Page::read(&reached, policies, &answer.body, subject.service)
        });
        let tag = page.as_ref().and_then(|page| judge::tag(page, subject.pixel, &mut findings));
        let named = tag.and_then(|tag| tag.attribute("data-pixel-id")).and_then(|id| id.parse().ok());
        let pixel_id = subject.pixel.cloned().or(named);
        let pixel = match &pixel_id {
            Some(id) => self.projects.pixel_context(id).await?,
            None => None,
        };
        if let Some(id) = &pixel_id {
            findings.push(judge::pixel(id, pixel.as_ref()));
        }
        if let (Some(page), Some(tag)) = (&page, tag) {
            findings.extend(judge::placement(page, tag, pixel.as_ref()));
            findings.extend(self.script(page, tag, subject.service, deadline).await);
            findings.extend(self.endpoint(tag, subject.service, deadline).await);
        }
        if let Some(pixel) = &pixel {
            findings.push(self.events(pixel, now).await?);
        }
        // Both without the probes, in whose place the query is written anew.
        let (asked, reached) = (without_probes(subject.url), without_probes(&reached));
        Ok(Checked {
            url: subject.url.to_string(),
            reached: (reached != asked).then(|| reached.to_string()),
            pixel_id,
            ok: findings.iter().all(|finding| finding.verdict != Verdict::Fail),
            checks: findings,
        })
    }

    /// Goes to the page as a visitor who clicked an ad does, and judges the way there. The answer is there where it is a
    /// page.
    async fn arrive(
        &self,
        url: &Url,
        deadline: Instant,
        findings: &mut Vec<Finding>,
    ) -> Result<(Url, Option<Fetched>), CheckError> {
        let mut at = url.clone();
        at.query_pairs_mut().extend_pairs(PROBES);
        let mut ways = Vec::new();
        loop {
            let answer = match self.get(&at, deadline).await {
                Ok(answer) => answer,
                Err(WebError::NotAllowed(why)) if ways.is_empty() => return Err(CheckError::Url(why)),
                Err(error) => {
                    findings.push(judge::unreached(&at, &error));
                    return Ok((at, None));
                }
            };
            let next = (300..400).contains(&answer.status).then(|| answer.header("location")).flatten();
            match next.and_then(|next| at.join(next).ok()) {
                Some(_) if ways.len() == REDIRECTS_MAX => {
                    findings.push(judge::endless(&at));
                    return Ok((at, None));
                }
                Some(next) => ways.push((std::mem::replace(&mut at, next.clone()), next)),
                None => {
                    let is_page = judge::arrival(&at, &answer, findings);
                    findings.push(judge::query(&ways, &at));
                    return Ok((at, is_page.then_some(answer)));
                }
            }
        }
    }

    async fn script(&self, page: &Page, tag: &Tag, service: &Url, deadline: Instant) -> Option<Finding> {
        let script = tag.script.as_ref()?;
        let below = script.path().strip_prefix(service.path().trim_end_matches('/'));
        if is_below(script, service) && below.is_some_and(|path| SCRIPTS.contains(&path)) {
            return Some(Finding::ok("script", "it comes from this service"));
        }
        // Elsewhere, or under a name that only the version it was made by serves.
        let answer = self.get(script, deadline).await;
        Some(judge::script(page, script, service, answer.as_ref()))
    }

    async fn endpoint(&self, tag: &Tag, service: &Url, deadline: Instant) -> Option<Finding> {
        let endpoint = tag.endpoint.as_ref()?;
        if is_below(endpoint, service) {
            return Some(judge::own_endpoint(endpoint, service));
        }
        let answer = self.get(endpoint, deadline).await;
        Some(judge::endpoint(endpoint, answer.as_ref()))
    }

    async fn events(&self, pixel: &PixelContext, now: Timestamp) -> Result<Finding, StoreError> {
        let last = self.journeys.last_event_at(pixel.project.id, &pixel.pixel.id).await?;
        Ok(judge::events(last, now))
    }

    async fn get(&self, url: &Url, deadline: Instant) -> Result<Fetched, WebError> {
        let in_time = tokio::time::timeout_at(deadline, self.web.get(url)).await;
        in_time.unwrap_or_else(|_elapsed| {
            Err(WebError::Failed(format!("no answer within the {} s of a check", CHECK_MAX.as_secs())))
        })
    }
}

/// Whether `url` lies at the service, which therefore need not be asked.
fn is_below(url: &Url, service: &Url) -> bool {
    url.origin() == service.origin() && url.path().starts_with(service.path())
}

fn without_probes(url: &Url) -> Url {
    let mut clean = url.clone();
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, value)| !PROBES.contains(&(name.as_ref(), value.as_ref())))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    clean.set_query(None);
    if !kept.is_empty() {
        clean.query_pairs_mut().extend_pairs(kept);
    }
    clean
}

#[cfg(test)]
mod tests;
