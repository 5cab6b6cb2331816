//! A request by the bearer of a key that was let in.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;

use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, Route, web};
use futures::future::LocalBoxFuture;
use leadtrail_app::access::View;
use leadtrail_app::input::Given;
use leadtrail_domain::key::ApiKey;
use leadtrail_domain::ports::Projects;
use leadtrail_domain::project::Project;
use leadtrail_domain::time::Timestamp;
use serde::de::DeserializeOwned;

use crate::access::{self, Needs};
use crate::limits::{Client, Group, Standing};
use crate::problem::Problem;
use crate::server::State;
use crate::{body, json};

/// The largest body of a request that manages something: 64 KiB.
pub const INPUT_BYTES_MAX: usize = 64 * 1_024;

/// The media type of bodies.
pub(crate) const JSON: &[&str] = &["application/json"];
/// The media types of a body that changes a part.
pub(crate) const MERGE_PATCH: &[&str] = &["application/merge-patch+json", "application/json"];

/// A request that its key lets in.
pub(crate) struct Asked {
    pub(crate) state: web::Data<State>,
    pub(crate) request: HttpRequest,
    pub(crate) key: Arc<ApiKey>,
    pub(crate) now: Timestamp,
}

pub(crate) type Answer = Result<HttpResponse, Problem>;
/// What answers such a request.
pub(crate) type KeyedHandler = fn(Asked) -> LocalBoxFuture<'static, Answer>;

/// `route` to `handler`, which sees only requests with a key that opens what is needed, within the limit of `group`.
pub(crate) fn keyed(route: Route, needs: Needs, group: Group, handler: KeyedHandler) -> Route {
    route.to(move |state: web::Data<State>, request: HttpRequest| async move {
        let now = state.collector.clock.now();
        let key = access::key(&state, &request, now).await;
        let client = key.as_ref().map_or_else(|_problem| state.client(&request), |key| Client::Key(key.id));
        let standing = state.limiters.charge(group, client);
        let answer = match (standing.filter(|standing| standing.retry_after.is_some()), key) {
            (Some(standing), _) => Err(Problem::TooManyRequests(standing)),
            (None, Err(problem)) => Err(problem),
            (None, Ok(key)) => {
                answer(Asked { state, request: request.clone(), key, now }, needs, handler).await
            }
        };
        let mut response = answer.unwrap_or_else(|problem| problem.response(&request));
        if let Some(standing) = standing.filter(|_| !Standing::is_in(response.headers())) {
            standing.put_into(response.headers_mut());
        }
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    })
}

/// What answers a request from near.
pub(crate) type LocalHandler = fn(&State) -> HttpResponse;

/// `route` to `handler`, which sees only requests that [`access::local`] lets in.
pub(crate) fn local(route: Route, handler: LocalHandler) -> Route {
    route.to(move |state: web::Data<State>, request: HttpRequest| async move {
        let let_in = access::local(&state, &request, state.collector.clock.now()).await;
        let mut response = match let_in {
            Ok(()) => handler(&state),
            Err(problem) => problem.response(&request),
        };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    })
}

async fn answer(asked: Asked, needs: Needs, handler: KeyedHandler) -> Answer {
    access::admit(&asked.key, needs)?;
    let (request, key_id) = (asked.request.clone(), asked.key.id);
    let answer = handler(asked).await?;
    if !request.method().is_safe() {
        let route = request.match_pattern().unwrap_or_default();
        let method = request.method().as_str();
        tracing::info!(key.id = %key_id, http.route = route, http.method = method, "managed");
    }
    Ok(answer)
}

impl Asked {
    /// What the key lets its bearer see.
    pub(crate) fn view(&self) -> View {
        View::of(&self.key)
    }

    pub(crate) fn projects(&self) -> &dyn Projects {
        self.state.collector.projects.as_ref()
    }

    /// What the path names, where it can be read as an id at all.
    pub(crate) fn id<Id: FromStr>(&self) -> Result<Id, Problem> {
        self.named().parse().map_err(|_not_an_id| Problem::NotFound)
    }

    /// The project in view that the path names by id or slug.
    pub(crate) async fn project(&self) -> Result<Project, Problem> {
        let found = leadtrail_app::projects::find(self.projects(), self.view(), self.named()).await?;
        found.ok_or(Problem::NotFound)
    }

    fn named(&self) -> &str {
        self.request.match_info().get("id").unwrap_or_default()
    }

    /// The body, read strictly.
    pub(crate) async fn input<T: Default + DeserializeOwned>(&self) -> Result<Given<T>, Problem> {
        let body = body::read_json(&self.state, &self.request, INPUT_BYTES_MAX).await?;
        let value = json::parse(&body.bytes)
            .map_err(|error| Problem::Malformed(Cow::Owned(format!("the body is not JSON: {error}"))))?;
        Ok(Given::read(&value)?)
    }

    /// Where browsers reach the service: its public address, or where it listens. Never what the request says.
    pub(crate) fn base_url(&self) -> String {
        let public_url = self.state.collector.settings.public_url.as_ref();
        public_url.map_or_else(
            || format!("http://{}", self.request.app_config().local_addr()),
            |url| url.as_str().trim_end_matches('/').to_owned(),
        )
    }
}
