use std::borrow::Cow;

use diesel::prelude::*;
use leadtrail_domain::click_id::{COLUMNS, ClickId};
use leadtrail_domain::event::{Client, Consent, Event, EventKind, EventSync, Size, StoredEvent, VisitorName};
use leadtrail_domain::id::{EventId, LeadId, ProjectId, SessionId, VisitorId};
use leadtrail_domain::ports::StoreError;
use leadtrail_domain::signals::{AdParameters, Signals, Utm};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::RULES_VERSION;

use crate::failure::{json_text, json_unless};
use crate::row::Row;
use crate::schema::tracking_events;

/// A row of `tracking_events`, in the order of its columns. Borrows what is written, owns what was read.
#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = tracking_events, treat_none_as_default_value = false)]
pub(crate) struct EventRow<'a> {
    event_id: Cow<'a, [u8]>,
    pixel_id: Cow<'a, str>,
    partition_at: i64,
    project_id: Cow<'a, [u8]>,
    visitor_id: Cow<'a, [u8]>,
    session_id: Cow<'a, [u8]>,
    lead_id: Option<Cow<'a, [u8]>>,
    original_id: Option<Cow<'a, str>>,
    event_type: Cow<'a, str>,
    occurred_at: i64,
    received_at: i64,
    page_url: Cow<'a, str>,
    page_title: Option<Cow<'a, str>>,
    referrer_url: Option<Cow<'a, str>>,
    utm_source: Option<Cow<'a, str>>,
    utm_medium: Option<Cow<'a, str>>,
    utm_campaign: Option<Cow<'a, str>>,
    utm_term: Option<Cow<'a, str>>,
    utm_content: Option<Cow<'a, str>>,
    utm_id: Option<Cow<'a, str>>,
    utm_extra: Option<Cow<'a, str>>,
    gclid: Option<Cow<'a, str>>,
    fbclid: Option<Cow<'a, str>>,
    msclkid: Option<Cow<'a, str>>,
    ttclid: Option<Cow<'a, str>>,
    twclid: Option<Cow<'a, str>>,
    li_fat_id: Option<Cow<'a, str>>,
    sc_click_id: Option<Cow<'a, str>>,
    click_ids: Option<Cow<'a, str>>,
    campaign_region: Option<Cow<'a, str>>,
    ad_group: Option<Cow<'a, str>>,
    ad_id: Option<Cow<'a, str>>,
    search_query: Option<Cow<'a, str>>,
    form_data: Option<Cow<'a, str>>,
    viewport_width: Option<i64>,
    viewport_height: Option<i64>,
    screen_width: Option<i64>,
    screen_height: Option<i64>,
    language: Option<Cow<'a, str>>,
    props: Option<Cow<'a, str>>,
    value: Option<f64>,
    consent: Option<Cow<'a, str>>,
    ip_address: Option<Cow<'a, str>>,
    user_agent: Option<Cow<'a, str>>,
    device_type: Option<Cow<'a, str>>,
    operating_system: Option<Cow<'a, str>>,
    browser: Option<Cow<'a, str>>,
    bot: Option<Cow<'a, str>>,
    country: Option<Cow<'a, str>>,
    region: Option<Cow<'a, str>>,
    city: Option<Cow<'a, str>>,
    rules_version: i64,
    pipedrive_sync_status: Option<Cow<'a, str>>,
    pipedrive_sync_at: Option<i64>,
    pipedrive_person_id: Option<Cow<'a, str>>,
}

impl<'a> EventRow<'a> {
    pub(crate) fn of(stored: &'a StoredEvent) -> Result<Self, StoreError> {
        let event = &stored.event;
        let Signals { utm, click_ids, ad } = &event.signals;
        let (columns, others) = click_id_columns(click_ids)?;
        // In the order of `COLUMNS`.
        let [google, meta, microsoft, tiktok, x, linkedin, snapchat] = columns;
        let Client { ip, user_agent, device_type, browser, operating_system, country, region, city, bot } =
            &event.client;
        Ok(Self {
            event_id: Cow::Owned(event.id.uuid().as_bytes().to_vec()),
            pixel_id: event.pixel_id.as_str().into(),
            partition_at: event.id.partition_at().micros(),
            project_id: Cow::Borrowed(event.project_id.0.as_bytes()),
            visitor_id: Cow::Borrowed(stored.visitor_id.0.as_bytes()),
            session_id: Cow::Borrowed(stored.session_id.0.as_bytes()),
            lead_id: stored.lead_id.as_ref().map(|id| Cow::Borrowed(id.0.as_bytes().as_slice())),
            original_id: text(event.original_id.as_ref()),
            event_type: event.kind.as_str().into(),
            occurred_at: event.occurred_at.micros(),
            received_at: event.received_at.micros(),
            page_url: event.page_url.as_str().into(),
            page_title: text(event.page_title.as_ref()),
            referrer_url: text(event.referrer_url.as_ref()),
            utm_source: text(utm.source.as_ref()),
            utm_medium: text(utm.medium.as_ref()),
            utm_campaign: text(utm.campaign.as_ref()),
            utm_term: text(utm.term.as_ref()),
            utm_content: text(utm.content.as_ref()),
            utm_id: text(utm.id.as_ref()),
            utm_extra: json_unless(utm.extra.is_empty(), &utm.extra)?.map(Cow::Owned),
            gclid: google.map(Cow::Borrowed),
            fbclid: meta.map(Cow::Borrowed),
            msclkid: microsoft.map(Cow::Borrowed),
            ttclid: tiktok.map(Cow::Borrowed),
            twclid: x.map(Cow::Borrowed),
            li_fat_id: linkedin.map(Cow::Borrowed),
            sc_click_id: snapchat.map(Cow::Borrowed),
            click_ids: others.map(Cow::Owned),
            campaign_region: text(ad.campaign_region.as_ref()),
            ad_group: text(ad.ad_group.as_ref()),
            ad_id: text(ad.ad_id.as_ref()),
            search_query: text(ad.search_query.as_ref()),
            form_data: event.form.as_ref().map(json_text).transpose()?.map(Cow::Owned),
            viewport_width: event.viewport.map(|size| i64::from(size.width)),
            viewport_height: event.viewport.map(|size| i64::from(size.height)),
            screen_width: event.screen.map(|size| i64::from(size.width)),
            screen_height: event.screen.map(|size| i64::from(size.height)),
            language: text(event.language.as_ref()),
            props: json_unless(event.props.is_empty(), &event.props)?.map(Cow::Owned),
            value: event.value,
            consent: event.consent.map(|consent| consent.as_str().into()),
            ip_address: ip.map(|ip| ip.to_string().into()),
            user_agent: text(user_agent.as_ref()),
            device_type: text(device_type.as_ref()),
            operating_system: text(operating_system.as_ref()),
            browser: text(browser.as_ref()),
            bot: text(bot.as_ref()),
            country: text(country.as_ref()),
            region: text(region.as_ref()),
            city: text(city.as_ref()),
            rules_version: i64::from(RULES_VERSION),
            pipedrive_sync_status: stored.sync.status.map(|status| status.as_str().into()),
            pipedrive_sync_at: stored.sync.at.map(Timestamp::micros),
            pipedrive_person_id: text(stored.sync.person_id.as_ref()),
        })
    }
}

impl EventRow<'static> {
    /// The event, together with the cookie that its visitor is recognised by.
    pub(crate) fn read(self, cookie: Option<&str>) -> Result<StoredEvent, StoreError> {
        let event_id = self.event_id;
        let row = Row::of("tracking_events", &event_id);
        let columns = [
            self.gclid,
            self.fbclid,
            self.msclkid,
            self.ttclid,
            self.twclid,
            self.li_fat_id,
            self.sc_click_id,
        ];
        let visitor = match cookie {
            Some(cookie) => {
                VisitorName::Cookie(Row::of("visitors", &self.visitor_id).parse("cookie", cookie)?)
            }
            None => VisitorName::Unlinked,
        };
        let event = Event {
            id: EventId::from_uuid(row.uuid("event_id", &event_id)?),
            original_id: owned(self.original_id),
            project_id: ProjectId(row.uuid("project_id", &self.project_id)?),
            pixel_id: row.parse("pixel_id", &self.pixel_id)?,
            kind: EventKind::parse(&self.event_type).ok_or_else(|| row.corrupt("event_type"))?,
            occurred_at: Timestamp::from_micros(self.occurred_at),
            received_at: Timestamp::from_micros(self.received_at),
            visitor,
            page_url: self.page_url.into_owned(),
            page_title: owned(self.page_title),
            referrer_url: owned(self.referrer_url),
            signals: Signals {
                utm: Utm {
                    source: owned(self.utm_source),
                    medium: owned(self.utm_medium),
                    campaign: owned(self.utm_campaign),
                    term: owned(self.utm_term),
                    content: owned(self.utm_content),
                    id: owned(self.utm_id),
                    extra: row.json_or_none("utm_extra", self.utm_extra.as_deref())?.unwrap_or_default(),
                },
                click_ids: click_ids(columns, self.click_ids.as_deref())
                    .ok_or_else(|| row.corrupt("click_ids"))?,
                ad: AdParameters {
                    campaign_region: owned(self.campaign_region),
                    ad_group: owned(self.ad_group),
                    ad_id: owned(self.ad_id),
                    search_query: owned(self.search_query),
                },
            },
            form: row.json_or_none("form_data", self.form_data.as_deref())?,
            viewport: size(
                &row,
                "viewport_width",
                self.viewport_width,
                "viewport_height",
                self.viewport_height,
            )?,
            screen: size(&row, "screen_width", self.screen_width, "screen_height", self.screen_height)?,
            language: owned(self.language),
            props: row.json_or_none("props", self.props.as_deref())?.unwrap_or_default(),
            value: self.value,
            consent: match self.consent.as_deref() {
                None => None,
                Some("granted") => Some(Consent::Granted),
                Some("denied") => Some(Consent::Denied),
                Some(_) => return Err(row.corrupt("consent")),
            },
            client: Client {
                ip: self.ip_address.map(|ip| row.parse("ip_address", &ip)).transpose()?,
                user_agent: owned(self.user_agent),
                device_type: owned(self.device_type),
                browser: owned(self.browser),
                operating_system: owned(self.operating_system),
                country: owned(self.country),
                region: owned(self.region),
                city: owned(self.city),
                bot: owned(self.bot),
            },
        };
        let status = self.pipedrive_sync_status;
        Ok(StoredEvent {
            event,
            visitor_id: VisitorId(row.uuid("visitor_id", &self.visitor_id)?),
            session_id: SessionId(row.uuid("session_id", &self.session_id)?),
            lead_id: self.lead_id.map(|id| row.uuid("lead_id", &id)).transpose()?.map(LeadId),
            sync: EventSync {
                status: status.map(|status| row.parse("pipedrive_sync_status", &status)).transpose()?,
                at: self.pipedrive_sync_at.map(Timestamp::from_micros),
                person_id: owned(self.pipedrive_person_id),
            },
        })
    }
}

fn text(text: Option<&String>) -> Option<Cow<'_, str>> {
    text.map(|text| Cow::Borrowed(text.as_str()))
}

fn owned(text: Option<Cow<'static, str>>) -> Option<String> {
    text.map(Cow::into_owned)
}

fn size(
    row: &Row<'_>,
    width_column: &'static str,
    width: Option<i64>,
    height_column: &'static str,
    height: Option<i64>,
) -> Result<Option<Size>, StoreError> {
    match (width, height) {
        (None, None) => Ok(None),
        (Some(width), Some(height)) => Ok(Some(Size {
            width: row.count(width_column, width)?,
            height: row.count(height_column, height)?,
        })),
        (None, Some(_)) => Err(row.corrupt(width_column)),
        (Some(_), None) => Err(row.corrupt(height_column)),
    }
}

/// The values of the seven columns, and the JSON text of what they do not say: the other click ids as
/// `[parameter, value]`. Where the order in which they came is not that of the columns followed by the others, all are
/// in the list, those of the columns as `[parameter]`.
fn click_id_columns(ids: &[ClickId]) -> Result<([Option<&str>; 7], Option<String>), StoreError> {
    let mut columns = [None; 7];
    let mut places = Vec::new();
    let mut listed = Vec::new();
    let mut others = Vec::new();
    let mut in_order = true;
    for id in ids {
        let column = COLUMNS.iter().position(|column| *column == id.parameter);
        if let Some(column) = column.filter(|&column| columns[column].is_none()) {
            in_order = in_order && others.is_empty() && places.last().is_none_or(|last| *last < column);
            columns[column] = Some(id.value.as_str());
            places.push(column);
            listed.push(vec![id.parameter.as_str()]);
        } else {
            others.push(vec![id.parameter.as_str(), id.value.as_str()]);
            listed.push(vec![id.parameter.as_str(), id.value.as_str()]);
        }
    }
    let list = if in_order { others } else { listed };
    Ok((columns, json_unless(list.is_empty(), &list)?))
}

/// The click ids in the order in which they came; `None` where the list is not one that was written here.
fn click_ids(columns: [Option<Cow<'static, str>>; 7], list: Option<&str>) -> Option<Vec<ClickId>> {
    let mut columns = columns.map(owned);
    let list: Vec<Vec<String>> = list.map_or(Some(Vec::new()), |list| serde_json::from_str(list).ok())?;
    let mut ids = Vec::new();
    if !list.iter().any(|entry| entry.len() == 1) {
        for (parameter, value) in COLUMNS.iter().zip(&mut columns) {
            ids.extend(value.take().map(|value| ClickId { parameter: (*parameter).to_owned(), value }));
        }
    }
    for entry in list {
        let mut entry = entry.into_iter();
        let (parameter, value, more) = (entry.next()?, entry.next(), entry.next());
        if more.is_some() {
            return None;
        }
        let value = match value {
            Some(value) => value,
            None => columns[COLUMNS.iter().position(|column| *column == parameter)?].take()?,
        };
        ids.push(ClickId { parameter, value });
    }
    columns.iter().all(Option::is_none).then_some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(ids: &[(&str, &str)]) -> Option<String> {
        let ids: Vec<ClickId> = ids
            .iter()
            .map(|(parameter, value)| ClickId {
                parameter: (*parameter).to_owned(),
                value: (*value).to_owned(),
            })
            .collect();
        let (columns, list) = click_id_columns(&ids).unwrap();
        let columns = columns.map(|value| value.map(|value| Cow::Owned(value.to_owned())));
        assert_eq!(click_ids(columns, list.as_deref()), Some(ids));
        list
    }

    #[test]
    fn click_ids_come_back_in_their_order_and_mostly_without_a_list() {
        for (ids, list) in [
            (&[][..], None),
            (&[("gclid", "a")], None),
            (&[("gclid", "a"), ("fbclid", "b"), ("sc_click_id", "c")], None),
            (&[("gclid", "a"), ("wbraid", "b")], Some(r#"[["wbraid","b"]]"#)),
            (&[("fbclid", "a"), ("gclid", "b")], Some(r#"[["fbclid"],["gclid"]]"#)),
            (&[("wbraid", "a"), ("gclid", "b")], Some(r#"[["wbraid","a"],["gclid"]]"#)),
            (&[("gclid", "a"), ("gclid", "b")], Some(r#"[["gclid","b"]]"#)),
            (
                &[("dclid", ""), ("gclid", "a"), ("epik", "é")],
                Some(r#"[["dclid",""],["gclid"],["epik","é"]]"#),
            ),
        ] {
            assert_eq!(round_trip(ids).as_deref(), list, "{ids:?}");
        }
    }

    #[test]
    fn a_list_that_does_not_fit_its_columns_is_not_guessed_at() {
        let none = || [const { None }; 7];
        let gclid = || [Some(Cow::Borrowed("a")), None, None, None, None, None, None];
        assert_eq!(click_ids(none(), Some("{}")), None);
        assert_eq!(click_ids(none(), Some(r#"[["gclid"]]"#)), None);
        assert_eq!(click_ids(none(), Some(r#"[["a","b","c"]]"#)), None);
        assert_eq!(click_ids(gclid(), Some(r#"[["gclid"],["gclid"]]"#)), None);
        assert_eq!(click_ids(gclid(), Some(r#"[["fbclid"]]"#)), None);
    }
}
