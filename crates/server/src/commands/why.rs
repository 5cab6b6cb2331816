//! `leadtrail why`: why a lead or a conversion is attributed as it is.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use leadtrail_app::conversions::{ConversionShown, Origin, TouchesShown};
use leadtrail_app::why::{self, ConversionWhy, ModelCredits, Sources, Subject, TouchShown, Why};
use leadtrail_domain::id::EventId;
use leadtrail_domain::model::ModelSettings;
use leadtrail_domain::touch::Attribution;

use super::{find_project, sync};
use crate::cli::WhyArgs;
use crate::output::{self, Format, counted, row, shown_at, table};
use crate::settings::Settings;
use crate::wiring;

/// Shows why.
pub(super) async fn run(settings: &Settings, args: &WhyArgs) -> anyhow::Result<ExitCode> {
    let stores = wiring::open_ready(&settings.store).await?;
    let project = find_project(stores.projects.as_ref(), &args.project).await?;
    let accounts = wiring::accounts(settings, &stores)?;
    let text = args.subject.trim();
    let subject = if text.contains('@') {
        Subject::Email(text.parse().context("no e-mail address")?)
    } else {
        Subject::of_event(text)
    };
    let sources = Sources {
        journeys: stores.journeys.as_ref(),
        conversions: stores.conversions.as_ref(),
        histories: stores.histories.as_ref(),
        jobs: stores.jobs.as_ref(),
        projects: stores.projects.as_ref(),
        accounts: &accounts,
    };
    let found = why::why(sources, &project, &subject).await?;
    if found.is_empty() {
        bail!("no lead or conversion of {} belongs to `{text}`", project.slug);
    }
    output::result(Format::of(args.json), &found, || {
        let leads = found.leads.iter().map(described);
        leads.chain(found.conversions.iter().map(conversion)).collect::<Vec<_>>().join("\n\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn described(why: &Why) -> String {
    let mut head = vec![
        row(["lead", &why.lead_id.to_string()]),
        row(["e-mail", &why.email]),
        row(["form", &format!("{} on pixel {}", shown_at(why.occurred_at), why.pixel_id)]),
        row(["event", &why.event_id.to_string()]),
        row(["rule", why.rule]),
        row(["known", &known(why)]),
    ];
    head.extend(left_out(why).into_iter().map(|what| row(["left out", what])));
    let head = table(&head);
    let touches = if why.touches.is_empty() {
        "  none".to_owned()
    } else {
        let rows: Vec<Vec<String>> = why.touches.iter().map(|touch| touch_row(touch, why)).collect();
        table(&rows)
    };
    let told = why.job.as_ref().map_or_else(
        || "  nothing: the project told no CRM when the form came".to_owned(),
        |job| {
            let text = sync::described(job, None);
            text.lines().map(|line| format!("  {line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
        },
    );
    let ignored = if why.ignored.is_empty() {
        "  none".to_owned()
    } else {
        let rows: Vec<Vec<String>> = (why.ignored.iter())
            .map(|one| {
                vec![format!("  {}", shown_at(one.latest_at)), counted(one.events, "event"), one.why.clone()]
            })
            .collect();
        table(&rows)
    };
    let by_event: Vec<_> = why.touches.iter().map(|one| (one.event_id, one.source.as_deref())).collect();
    let models: Vec<Vec<String>> =
        why.models.iter().map(|one| model_row(one, &by_event, &why.attribution)).collect();
    format!(
        "{head}\n\ntouches, oldest first{}\n{touches}\n\nno touches, by reason (the latest of each)\n{ignored}\n\n\
         credit by model, for touches in the {} before the form (time decay by half in {})\n{}\n\n\
         what the CRM was told\n{told}",
        if why.touches.len() < why.touches_known { " (those that count most)" } else { "" },
        why.attribution.lookback,
        why.attribution.half_life,
        table(&models)
    )
}

fn conversion(why: &ConversionWhy) -> String {
    let ConversionShown { name, occurred_at, value, event_id, pixel_id, visitor_id, touches, .. } =
        &why.conversion;
    let value = value.map_or_else(|| "none".to_owned(), |value| value.to_string());
    let head = table(&[
        row(["conversion", name.as_str()]),
        row(["event", &format!("{event_id} of {} on pixel {pixel_id}", shown_at(*occurred_at))]),
        row(["visitor", &visitor_id.to_string()]),
        row(["value", &value]),
    ]);
    let TouchesShown { first, first_non_direct, last_non_direct, last } = touches;
    let frozen = [
        ("first", first),
        ("first_non_direct", first_non_direct),
        ("last_non_direct", last_non_direct),
        ("last", last),
    ];
    let touch = |origin: &Origin| {
        let is =
            |(name, one): &(&'static str, &Option<Origin>)| (one.as_ref() == Some(origin)).then_some(*name);
        let is: Vec<&str> = frozen.iter().filter_map(is).collect();
        let channel = origin.attribution.channel.clone().unwrap_or_default();
        let (at, from) = (format!("  {}", shown_at(origin.at)), from(&origin.attribution));
        vec![at, origin.kind.to_owned(), from, channel, is.join(", ")]
    };
    let path: Vec<Vec<String>> = why.path.iter().map(touch).collect();
    let touches =
        why.path.iter().map(|one| (one.event_id, one.attribution.source.as_deref())).collect::<Vec<_>>();
    let models: Vec<Vec<String>> =
        why.models.iter().map(|model| model_row(model, &touches, &why.attribution)).collect();
    format!(
        "{head}\n\ntouches of the visitor up to then, oldest first\n{}\n\ncredit by model, for touches in the {} before (time \
         decay by half in {})\n{}",
        if path.is_empty() { "  none".to_owned() } else { table(&path) },
        why.attribution.lookback,
        why.attribution.half_life,
        table(&models)
    )
}

fn from(attribution: &Attribution) -> String {
    let Attribution { source, medium, campaign, .. } = attribution;
    let from: Vec<&str> = [source, medium, campaign].into_iter().flatten().map(String::as_str).collect();
    if from.is_empty() { "direct".to_owned() } else { from.join(" / ") }
}

fn known(why: &Why) -> String {
    let touches = why.touches_known;
    let touches = format!("{touches} {}", if touches == 1 { "touch" } else { "touches" });
    format!("{}, {touches}, {}", counted(why.events, "event"), counted(why.browsers, "browser"))
}

/// What there is beyond what is known.
fn left_out(why: &Why) -> Vec<&'static str> {
    let all = [
        (why.events_left_out, "more events than these, so that more made no touch than is shown"),
        (why.touches_left_out, "more touches than these: the credits are of the latest up to the form"),
        (why.browsers_left_out, "more browsers than these gave the e-mail: nothing of them is shown"),
    ];
    all.into_iter().filter(|(is_left_out, _)| *is_left_out).map(|(_, what)| what).collect()
}

/// How many shares of a model are printed.
const SHARES_MAX: usize = 8;

/// The model, and its shares by the place of the touch in the list: all, or the largest.
fn model_row(
    credits: &ModelCredits,
    touches: &[(EventId, Option<&str>)],
    settings: &ModelSettings,
) -> Vec<String> {
    let share = |event| credits.touches.iter().find(|one| one.event_id == event).map(|one| one.credit);
    let mut shares: Vec<(usize, &str, f64)> = (1..)
        .zip(touches)
        .filter_map(|(place, (event, source))| Some((place, source.unwrap_or("direct"), share(*event)?)))
        .collect();
    shares.sort_by(|(.., one), (.., other)| other.total_cmp(one));
    let others = shares.split_off(shares.len().min(SHARES_MAX));
    shares.sort_by_key(|(place, ..)| *place);
    let mut all: Vec<String> = (shares.iter())
        .map(|(place, source, credit)| format!("{} {place}. {source}", percent(*credit)))
        .collect();
    let rest = credits.not_shown + others.iter().map(|(.., credit)| credit).sum::<f64>();
    if rest > 0.0 {
        all.push(format!("{} others", percent(rest)));
    }
    if credits.none > 0.0 {
        all.push(format!("no touch in the {} before", settings.lookback));
    }
    vec![format!("  {}", credits.model), all.join(", ")]
}

fn percent(share: f64) -> String {
    if share < 0.005 { "<1 %".to_owned() } else { format!("{:.0} %", share * 100.0) }
}

fn touch_row(touch: &TouchShown, why: &Why) -> Vec<String> {
    let mark = if why.chosen == Some(touch.event_id) { "→" } else { " " };
    let source = [&touch.source, &touch.medium, &touch.campaign];
    let source: Vec<&str> = source.into_iter().flatten().map(String::as_str).collect();
    let source = if source.is_empty() { "direct".to_owned() } else { source.join(" / ") };
    vec![
        format!("{mark} {}", shown_at(touch.at)),
        touch.kind.to_owned(),
        source,
        touch.channel.clone().unwrap_or_default(),
        touch.click_ids.join(", "),
        touch.is.join(", "),
        touch.note.clone(),
    ]
}
