//! What commands print: results to standard output, as lines for people or JSON for scripts.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Text,
    Json,
}

impl Format {
    pub(crate) fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// Prints a line and passes it on at once. A reader that has gone away ends nothing.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Tells how far long work is, on standard error: in one line that is written anew on a terminal, a line each elsewhere.
/// A reader that has gone away ends nothing.
pub(crate) fn progress(text: &str) {
    let mut out = io::stderr().lock();
    let (before, after) = if out.is_terminal() { ("\r\x1b[K", "") } else { ("", "\n") };
    write!(out, "{before}{text}{after}").and_then(|()| out.flush()).ok();
}

/// Ends the line of [`progress`] on a terminal.
pub(crate) fn progress_ends() {
    let mut out = io::stderr().lock();
    if out.is_terminal() {
        writeln!(out).ok();
    }
}

/// Rows in columns as wide as their widest entry, two spaces apart, without blanks at the ends of lines.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A row of texts.
pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// An instant to the second, as people read it.
pub(crate) fn shown_at(at: leadtrail_domain::time::Timestamp) -> String {
    at.to_datetime().format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A JSON value as people read it: texts without quotes, nothing as a dash, cut to `chars_max`.
pub(crate) fn shown_value(value: &serde_json::Value, chars_max: usize) -> String {
    let text = match value {
        serde_json::Value::Null => "–".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        other @ (serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_)) => other.to_string(),
    };
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A count with its unit, which takes an `s` but for one.
pub(crate) fn counted(count: impl TryInto<u64>, unit: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// Prints a result: as one line of JSON, or as the text for people.
pub(crate) fn result(
    format: Format,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    match format {
        Format::Json => line(&serde_json::to_string(value)?),
        Format::Text => line(&text()),
    }
}
