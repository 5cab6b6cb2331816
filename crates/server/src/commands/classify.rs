//! `leadtrail classify`: what the rules make of one landing.

use std::process::ExitCode;

use anyhow::Context as _;
use leadtrail_domain::classify::{Landing, classify};
use leadtrail_domain::event::Neighbourhood;

use crate::cli::ClassifyArgs;
use crate::output::{self, Format, row, table};

/// Prints the answer. Reads no settings and opens no store.
pub(super) fn run(args: &ClassifyArgs) -> anyhow::Result<ExitCode> {
    let around = Neighbourhood { own_sites: &args.sites, ignored: &args.ignored };
    let landing = classify(&args.url, args.referrer.as_deref(), &around)
        .with_context(|| format!("`{}` is no page", args.url))?;
    output::result(Format::of(args.json), &landing, || described(&landing))?;
    Ok(ExitCode::SUCCESS)
}

fn described(landing: &Landing) -> String {
    let or_none = |text: Option<&str>| text.unwrap_or("–").to_owned();
    let mut rows = vec![
        row(["page", &landing.host]),
        row(["referrer", &or_none(landing.referrer_host.as_deref())]),
        row(["source", &or_none(landing.source.as_deref())]),
        row(["medium", &or_none(landing.medium.as_deref())]),
        row(["campaign", &or_none(landing.campaign.as_deref())]),
        row(["channel", &channel(landing)]),
        row(["touch", if landing.touch { "yes" } else { "no" }]),
        row(["rule", &format!("{}: {}", landing.rule.as_str(), landing.why)]),
        row(["rules", &format!("version {}", landing.rules_version)]),
    ];
    rows.extend(landing.signals.iter().map(|(name, value)| row(["signal", &format!("{name} = {value}")])));
    for id in &landing.click_ids {
        let paid = if id.paid { ", paid clicks only" } else { "" };
        rows.push(row(["click id", &format!("{} = {} ({}{paid})", id.parameter, id.value, id.network)]));
    }
    table(&rows)
}

fn channel(landing: &Landing) -> String {
    match (landing.channel, landing.channel_why) {
        (Some(channel), Some(why)) => format!("{channel}: {why}"),
        (channel, _) if landing.touch => channel.unwrap_or("direct").to_owned(),
        _ => "–".to_owned(),
    }
}
