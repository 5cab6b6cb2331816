//! Events as rows.

use diesel::prelude::*;
use leadtrail_domain::click_id::{self, ClickId};
use leadtrail_domain::event::{Client, Consent, Event, EventKind, EventSync, Size, StoredEvent, VisitorName};
use leadtrail_domain::id::{EventId, LeadId, ProjectId, SessionId, VisitorId};
use leadtrail_domain::ports::StoreError;
use leadtrail_domain::signals::{AdParameters, Signals, Utm};
use leadtrail_domain::touch::RULES_VERSION;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::column::{Address, At, Columns, JsonText, parsed, ranged};
use crate::schema::tracking_events;

/// The columns that [`push`] fills, in its order.
macro_rules! event_columns {
    () => {
        "event_id, pixel_id, partition_at, project_id, visitor_id, session_id, lead_id, original_id, event_type, \
         occurred_at, received_at, page_url, page_title, referrer_url, utm_source, utm_medium, utm_campaign, utm_term, \
         utm_content, utm_id, utm_extra, gclid, fbclid, msclkid, ttclid, twclid, li_fat_id, sc_click_id, click_ids, \
         campaign_region, ad_group, ad_id, search_query, form_data, viewport_width, viewport_height, screen_width, \
         screen_height, language, props, value, consent, ip_address, user_agent, device_type, operating_system, \
         browser, bot, country, region, city, rules_version, pipedrive_sync_status, pipedrive_sync_at, \
         pipedrive_person_id"
    };
}
/// As many placeholders as [`event_columns`] has columns.
macro_rules! event_placeholders {
    () => {
        "{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, \
         {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}"
    };
}
pub(super) use {event_columns, event_placeholders};

/// Adds the columns of new events.
pub(super) fn push(columns: &mut Columns, stored: &[StoredEvent]) {
    fn events(stored: &[StoredEvent]) -> impl Iterator<Item = &Event> {
        stored.iter().map(|stored| &stored.event)
    }
    let utm =
        |part: fn(&Utm) -> &Option<String>| events(stored).map(move |e| part(&e.signals.utm).as_deref());
    let ad = |part: fn(&AdParameters) -> &Option<String>| {
        events(stored).map(move |e| part(&e.signals.ad).as_deref())
    };
    let client =
        |part: fn(&Client) -> &Option<String>| events(stored).map(move |e| part(&e.client).as_deref());

    columns.uuids(events(stored).map(|e| e.id.uuid()));
    columns.texts(events(stored).map(|e| e.pixel_id.as_str()));
    columns.instants(events(stored).map(|e| e.id.partition_at()));
    columns.uuids(events(stored).map(|e| e.project_id.0));
    columns.uuids(stored.iter().map(|s| s.visitor_id.0));
    columns.uuids(stored.iter().map(|s| s.session_id.0));
    columns.optional_uuids(stored.iter().map(|s| s.lead_id.map(|id| id.0)));
    columns.optional_texts(events(stored).map(|e| e.original_id.as_deref()));
    columns.texts(events(stored).map(|e| e.kind.as_str()));
    columns.instants(events(stored).map(|e| e.occurred_at));
    columns.instants(events(stored).map(|e| e.received_at));
    columns.texts(events(stored).map(|e| e.page_url.as_str()));
    columns.optional_texts(events(stored).map(|e| e.page_title.as_deref()));
    columns.optional_texts(events(stored).map(|e| e.referrer_url.as_deref()));
    columns.optional_texts(utm(|utm| &utm.source));
    columns.optional_texts(utm(|utm| &utm.medium));
    columns.optional_texts(utm(|utm| &utm.campaign));
    columns.optional_texts(utm(|utm| &utm.term));
    columns.optional_texts(utm(|utm| &utm.content));
    columns.optional_texts(utm(|utm| &utm.id));
    columns
        .optional_json(events(stored).map(|e| Some(&e.signals.utm.extra).filter(|extra| !extra.is_empty())));
    for parameter in click_id::COLUMNS {
        columns.optional_texts(events(stored).map(|e| e.signals.click_id(parameter)));
    }
    columns.optional_json(events(stored).map(|e| beside_columns(&e.signals.click_ids)));
    columns.optional_texts(ad(|ad| &ad.campaign_region));
    columns.optional_texts(ad(|ad| &ad.ad_group));
    columns.optional_texts(ad(|ad| &ad.ad_id));
    columns.optional_texts(ad(|ad| &ad.search_query));
    columns.optional_json(events(stored).map(|e| e.form.as_ref()));
    columns.optional_sizes(events(stored).map(|e| e.viewport.map(|size| size.width)));
    columns.optional_sizes(events(stored).map(|e| e.viewport.map(|size| size.height)));
    columns.optional_sizes(events(stored).map(|e| e.screen.map(|size| size.width)));
    columns.optional_sizes(events(stored).map(|e| e.screen.map(|size| size.height)));
    columns.optional_texts(events(stored).map(|e| e.language.as_deref()));
    columns.optional_json(events(stored).map(|e| Some(&e.props).filter(|props| !props.is_empty())));
    columns.optional_doubles(events(stored).map(|e| e.value));
    columns.optional_texts(events(stored).map(|e| e.consent.map(Consent::as_str)));
    columns.optional_addresses(events(stored).map(|e| e.client.ip));
    columns.optional_texts(client(|client| &client.user_agent));
    columns.optional_texts(client(|client| &client.device_type));
    columns.optional_texts(client(|client| &client.operating_system));
    columns.optional_texts(client(|client| &client.browser));
    columns.optional_texts(client(|client| &client.bot));
    columns.optional_texts(client(|client| &client.country));
    columns.optional_texts(client(|client| &client.region));
    columns.optional_texts(client(|client| &client.city));
    columns.integers(stored.iter().map(|_| i32::from(RULES_VERSION)));
    columns
        .optional_texts(stored.iter().map(|s| s.sync.status.map(leadtrail_domain::sync::JobStatus::as_str)));
    columns.optional_instants(stored.iter().map(|s| s.sync.at));
    columns.optional_texts(stored.iter().map(|s| s.sync.person_id.as_deref()));
}

/// What the column `click_ids` holds of one click id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum ClickIdEntry {
    /// Its value stands in the column of that name.
    InColumn(String),
    /// Its name and value.
    Pair(String, String),
}

/// What the seven columns do not tell of an event's click ids: further ones, and an order other than the columns'.
fn beside_columns(click_ids: &[ClickId]) -> Option<Vec<ClickIdEntry>> {
    let places =
        click_ids.iter().map(|id| click_id::COLUMNS.iter().position(|column| *column == id.parameter));
    if places.clone().all(|place| place.is_some()) && places.is_sorted_by(|a, b| a < b) {
        return None;
    }
    let mut in_column = Vec::new();
    let entries = click_ids.iter().map(|id| {
        let name = id.parameter.as_str();
        // A column holds the first value of its name.
        if click_id::COLUMNS.contains(&name) && !in_column.contains(&name) {
            in_column.push(name);
            ClickIdEntry::InColumn(id.parameter.clone())
        } else {
            ClickIdEntry::Pair(id.parameter.clone(), id.value.clone())
        }
    });
    Some(entries.collect())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = tracking_events)]
pub(crate) struct EventRow {
    event_id: Uuid,
    pixel_id: String,
    project_id: Uuid,
    visitor_id: Uuid,
    session_id: Uuid,
    lead_id: Option<Uuid>,
    original_id: Option<String>,
    event_type: String,
    occurred_at: At,
    received_at: At,
    page_url: String,
    page_title: Option<String>,
    referrer_url: Option<String>,
    utm_source: Option<String>,
    utm_medium: Option<String>,
    utm_campaign: Option<String>,
    utm_term: Option<String>,
    utm_content: Option<String>,
    utm_id: Option<String>,
    utm_extra: Option<JsonText>,
    gclid: Option<String>,
    fbclid: Option<String>,
    msclkid: Option<String>,
    ttclid: Option<String>,
    twclid: Option<String>,
    li_fat_id: Option<String>,
    sc_click_id: Option<String>,
    click_ids: Option<JsonText>,
    campaign_region: Option<String>,
    ad_group: Option<String>,
    ad_id: Option<String>,
    search_query: Option<String>,
    form_data: Option<JsonText>,
    viewport_width: Option<i32>,
    viewport_height: Option<i32>,
    screen_width: Option<i32>,
    screen_height: Option<i32>,
    language: Option<String>,
    props: Option<JsonText>,
    value: Option<f64>,
    consent: Option<String>,
    ip_address: Option<Address>,
    user_agent: Option<String>,
    device_type: Option<String>,
    operating_system: Option<String>,
    browser: Option<String>,
    bot: Option<String>,
    country: Option<String>,
    region: Option<String>,
    city: Option<String>,
    pipedrive_sync_status: Option<String>,
    pipedrive_sync_at: Option<At>,
    pipedrive_person_id: Option<String>,
}

const TABLE: &str = "tracking_events";

impl EventRow {
    /// The event, with its visitor's cookie.
    pub(crate) fn stored(mut self, cookie: Option<String>) -> Result<StoredEvent, StoreError> {
        let id = self.event_id;
        let corrupt = |column| StoreError::Corrupt { table: TABLE, column, id: id.to_string() };
        let visitor = match cookie {
            Some(cookie) => VisitorName::Cookie(parsed(&cookie, "visitors", "cookie", self.visitor_id)?),
            None => VisitorName::Unlinked,
        };
        let consent = match self.consent.as_deref() {
            None => None,
            Some("granted") => Some(Consent::Granted),
            Some("denied") => Some(Consent::Denied),
            Some(_) => return Err(corrupt("consent")),
        };
        let status = self.pipedrive_sync_status.take();
        let status = status.map(|status| parsed(&status, TABLE, "pipedrive_sync_status", id)).transpose()?;
        let json = |text: &Option<JsonText>| text.clone();
        Ok(StoredEvent {
            visitor_id: VisitorId(self.visitor_id),
            session_id: SessionId(self.session_id),
            lead_id: self.lead_id.map(LeadId),
            sync: EventSync {
                status,
                at: self.pipedrive_sync_at.map(|at| at.0),
                person_id: self.pipedrive_person_id.take(),
            },
            event: Event {
                id: EventId::from_uuid(id),
                original_id: self.original_id.take(),
                project_id: ProjectId(self.project_id),
                pixel_id: parsed(&self.pixel_id, TABLE, "pixel_id", id)?,
                kind: EventKind::parse(&self.event_type).ok_or_else(|| corrupt("event_type"))?,
                occurred_at: self.occurred_at.0,
                received_at: self.received_at.0,
                visitor,
                form: json(&self.form_data).map(|form| form.parse(TABLE, "form_data", id)).transpose()?,
                viewport: size(self.viewport_width, self.viewport_height, "viewport_width", id)?,
                screen: size(self.screen_width, self.screen_height, "screen_width", id)?,
                props: json(&self.props)
                    .map(|props| props.parse(TABLE, "props", id))
                    .transpose()?
                    .unwrap_or_default(),
                signals: self.signals()?,
                page_url: self.page_url,
                page_title: self.page_title,
                referrer_url: self.referrer_url,
                language: self.language,
                value: self.value,
                consent,
                client: Client {
                    ip: self.ip_address.map(|address| address.0),
                    user_agent: self.user_agent,
                    device_type: self.device_type,
                    browser: self.browser,
                    operating_system: self.operating_system,
                    country: self.country,
                    region: self.region,
                    city: self.city,
                    bot: self.bot,
                },
            },
        })
    }

    fn signals(&mut self) -> Result<Signals, StoreError> {
        let id = self.event_id;
        let extra = self.utm_extra.take().map(|extra| extra.parse(TABLE, "utm_extra", id)).transpose()?;
        Ok(Signals {
            utm: Utm {
                source: self.utm_source.take(),
                medium: self.utm_medium.take(),
                campaign: self.utm_campaign.take(),
                term: self.utm_term.take(),
                content: self.utm_content.take(),
                id: self.utm_id.take(),
                extra: extra.unwrap_or_default(),
            },
            click_ids: self.click_ids()?,
            ad: AdParameters {
                campaign_region: self.campaign_region.take(),
                ad_group: self.ad_group.take(),
                ad_id: self.ad_id.take(),
                search_query: self.search_query.take(),
            },
        })
    }

    fn click_ids(&mut self) -> Result<Vec<ClickId>, StoreError> {
        let id = self.event_id;
        let values = [
            self.gclid.take(),
            self.fbclid.take(),
            self.msclkid.take(),
            self.ttclid.take(),
            self.twclid.take(),
            self.li_fat_id.take(),
            self.sc_click_id.take(),
        ];
        let mut in_columns = click_id::COLUMNS.into_iter().zip(values);
        let Some(entries) = self.click_ids.take() else {
            return Ok(in_columns
                .filter_map(|(name, value)| Some(ClickId { parameter: name.to_owned(), value: value? }))
                .collect());
        };
        let in_columns: Vec<_> = in_columns.by_ref().collect();
        let entries: Vec<ClickIdEntry> = entries.parse(TABLE, "click_ids", id)?;
        entries
            .into_iter()
            .map(|entry| match entry {
                ClickIdEntry::Pair(parameter, value) => Ok(ClickId { parameter, value }),
                ClickIdEntry::InColumn(parameter) => {
                    let column = in_columns.iter().find(|(name, _)| *name == parameter);
                    match column.and_then(|(_, value)| value.clone()) {
                        Some(value) => Ok(ClickId { parameter, value }),
                        None => {
                            Err(StoreError::Corrupt { table: TABLE, column: "click_ids", id: id.to_string() })
                        }
                    }
                }
            })
            .collect()
    }
}

fn size(
    width: Option<i32>,
    height: Option<i32>,
    column: &'static str,
    id: Uuid,
) -> Result<Option<Size>, StoreError> {
    match (width, height) {
        (Some(width), Some(height)) => Ok(Some(Size {
            width: ranged(width, TABLE, column, id)?,
            height: ranged(height, TABLE, column, id)?,
        })),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => {
            Err(StoreError::Corrupt { table: TABLE, column, id: id.to_string() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn click_ids(names: &[&str]) -> Vec<ClickId> {
        names.iter().map(|name| ClickId { parameter: (*name).to_owned(), value: "v".to_owned() }).collect()
    }

    #[test]
    fn click_ids_that_the_columns_tell_in_their_order_are_told_once() {
        assert_eq!(beside_columns(&[]), None);
        assert_eq!(beside_columns(&click_ids(&["gclid", "msclkid"])), None);
        let entries = beside_columns(&click_ids(&["msclkid", "gclid", "wbraid"]));
        let expected = r#"["msclkid","gclid",["wbraid","v"]]"#;
        assert_eq!(serde_json::to_string(&entries).unwrap(), expected);
    }

    #[test]
    fn every_event_column_has_its_placeholder() {
        assert_eq!(event_columns!().split(", ").count(), event_placeholders!().matches("{}").count());
        let mut columns = Columns::default();
        push(&mut columns, &[]);
        assert_eq!(columns.finish().map(|binds| binds.len()).unwrap(), event_columns!().split(", ").count());
    }
}
