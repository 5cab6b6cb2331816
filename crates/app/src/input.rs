//! Reading what people want set, strictly: unknown names are refused, and every problem is named at once.

use leadtrail_domain::conversion::CONVERSION_RULES_MAX;
use leadtrail_domain::model::LOOKBACK_MIN;
use leadtrail_domain::project::{PixelSettings, ProjectSettings};
use leadtrail_domain::text;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The longest name of a project, pixel or key, in characters.
pub const NAME_CHARS_MAX: usize = 200;
/// The most form fields a pixel keeps beside e-mail and name.
pub const FORM_FIELDS_MAX: usize = 20;
/// The longest name of such a field, in characters.
pub const FORM_FIELD_CHARS_MAX: usize = 100;
/// The longest name of a CRM's field, in characters.
pub const CRM_FIELD_CHARS_MAX: usize = 200;
/// The most problems named of one input.
pub const PROBLEMS_MAX: usize = 100;
/// How much of a problem's text, or of a field's name, is passed on.
const PROBLEM_CHARS_MAX: usize = 300;

/// What is wrong with one field of an input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FieldProblem {
    /// The field, by its dotted path; the place in a list counts from 0.
    pub field: String,
    /// What is wrong, for its sender.
    pub problem: String,
}

impl FieldProblem {
    /// That `field` has `problem`, both made fit to be shown.
    pub fn new(field: &str, problem: &str) -> Self {
        let shown = |text| text::clean(text, PROBLEM_CHARS_MAX).unwrap_or_default();
        Self { field: shown(field), problem: shown(problem) }
    }
}

/// An input that is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", listed(.problems))]
pub struct Invalid {
    /// Everything that is wrong with it; [`PROBLEMS_MAX`] at most.
    pub problems: Vec<FieldProblem>,
}

impl Invalid {
    /// One problem of one field.
    pub fn one(field: &str, problem: &str) -> Self {
        Self { problems: vec![FieldProblem::new(field, problem)] }
    }
}

/// What was found wrong so far; [`PROBLEMS_MAX`] at most.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Problems(Vec<FieldProblem>);

impl Problems {
    /// Adds a problem, unless `field` or a part of it is named already.
    pub fn add(&mut self, field: &str, problem: &str) {
        let is_named = self.0.iter().any(|one| {
            one.field.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        if !is_named && !self.are_full() {
            self.0.push(FieldProblem::new(field, problem));
        }
    }

    /// Adds all that is wrong with a part.
    pub fn add_all(&mut self, invalid: Invalid) {
        let room = PROBLEMS_MAX.saturating_sub(self.0.len());
        self.0.extend(invalid.problems.into_iter().take(room));
    }

    /// `value`, unless there are problems.
    ///
    /// # Errors
    /// There are.
    pub fn unless_none<T>(self, value: T) -> Result<T, Invalid> {
        if self.0.is_empty() { Ok(value) } else { Err(Invalid { problems: self.0 }) }
    }

    fn are_full(&self) -> bool {
        self.0.len() >= PROBLEMS_MAX
    }
}

/// An input as far as it could be read: the rest is checked too, so that all problems are told together.
#[derive(Clone, PartialEq, Debug)]
pub struct Given<T> {
    /// The fields that could be read.
    pub fields: T,
    /// What is wrong with the others.
    pub problems: Problems,
}

impl<T> From<T> for Given<T> {
    fn from(fields: T) -> Self {
        Self { fields, problems: Problems::default() }
    }
}

impl<T: Default + DeserializeOwned> Given<T> {
    /// Reads an input whose every field may be absent.
    ///
    /// # Errors
    /// It is no object.
    pub fn read(input: &Value) -> Result<Self, Invalid> {
        let Value::Object(fields) = input else { return Err(Invalid::one("body", "is not a JSON object")) };
        let problems = match read::<T>(input) {
            Ok(fields) => return Ok(fields.into()),
            Err(invalid) => Problems(invalid.problems),
        };
        let good = fields.iter().filter(|(key, value)| {
            T::deserialize(alone(&[Step::Key((*key).clone())], (*value).clone())).is_ok()
        });
        let good: Map<String, Value> = good.map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Self { fields: T::deserialize(Value::Object(good)).unwrap_or_default(), problems })
    }
}

fn listed(problems: &[FieldProblem]) -> String {
    problems.iter().map(|one| format!("{}: {}", one.field, one.problem)).collect::<Vec<_>>().join("; ")
}

/// Reads an object whose every field may be absent.
///
/// # Errors
/// Some fields are unknown or of another form.
fn read<T: DeserializeOwned>(input: &Value) -> Result<T, Invalid> {
    T::deserialize(input).map_err(|error| {
        let mut problems = Vec::new();
        locate::<T>(&mut Vec::new(), input, &error, &mut problems);
        Invalid { problems }
    })
}

/// Reads a field that may be absent but not null.
///
/// # Errors
/// Those of the value.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Names what is wrong below `path` by trying each part alone: what fails alone is the fault.
fn locate<T: DeserializeOwned>(
    path: &mut Vec<Step>,
    value: &Value,
    error: &serde_json::Error,
    problems: &mut Vec<FieldProblem>,
) {
    let named = problems.len();
    for (step, part) in parts(value) {
        if problems.len() == PROBLEMS_MAX {
            return;
        }
        path.push(step);
        if let Err(error) = T::deserialize(alone(path, part.clone())) {
            locate::<T>(path, part, &error, problems);
        }
        path.pop();
    }
    if problems.len() == named {
        problems.push(FieldProblem::new(&dotted(path), &error.to_string()));
    }
}

#[derive(Clone)]
enum Step {
    Key(String),
    Index(usize),
}

fn parts(value: &Value) -> Vec<(Step, &Value)> {
    match value {
        Value::Object(fields) => fields.iter().map(|(key, part)| (Step::Key(key.clone()), part)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, part)| (Step::Index(index), part)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// A value at its path with nothing beside it.
fn alone(path: &[Step], value: Value) -> Value {
    path.iter().rev().fold(value, |value, step| match step {
        Step::Key(key) => Value::Object(Map::from_iter([(key.clone(), value)])),
        Step::Index(_) => Value::Array(vec![value]),
    })
}

fn dotted(path: &[Step]) -> String {
    let steps = path.iter().map(|step| match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
    });
    steps.collect::<Vec<_>>().join(".")
}

/// Settings that are checked beyond their form.
pub(crate) trait Settings: Clone + Default + Serialize + DeserializeOwned {
    /// These settings in their kept form, and what is wrong with them.
    fn checked(self, problems: &mut Problems) -> Self;
}

impl Settings for ProjectSettings {
    fn checked(self, problems: &mut Problems) -> Self {
        if self.retention_days == Some(0) {
            problems.add("retention_days", "is less than 1");
        }
        if self.conversions.len() > CONVERSION_RULES_MAX {
            problems.add("conversions", &format!("has more than {CONVERSION_RULES_MAX} entries"));
        }
        for (name, rule) in &self.conversions {
            if rule.is_boundless() {
                problems.add(
                    &format!("conversions.{name}"),
                    "needs `event`, `page` or both: it counts every page view",
                );
            }
        }
        if self.attribution.lookback.duration() < LOOKBACK_MIN {
            problems
                .add("attribution.lookback", &format!("is shorter than {}h", LOOKBACK_MIN.as_secs() / 3_600));
        }
        if self.attribution.half_life.duration().is_zero() {
            problems.add("attribution.half_life", "is no time at all");
        }
        for (name, target) in &self.crm.mapping {
            if target.field.as_deref().is_some_and(|field| !is_plain(field, CRM_FIELD_CHARS_MAX)) {
                let problem = format!(
                    "is empty, padded, longer than {CRM_FIELD_CHARS_MAX} characters or not plain text"
                );
                problems.add(&format!("crm.mapping.{name}.field"), &problem);
            }
        }
        self
    }
}

impl Settings for PixelSettings {
    fn checked(mut self, problems: &mut Problems) -> Self {
        for field in &mut self.form_fields {
            *field = field.trim().to_lowercase();
        }
        if self.form_fields.len() > FORM_FIELDS_MAX {
            let problem = format!("has more than {FORM_FIELDS_MAX} entries");
            problems.add("form_fields", &problem);
        }
        for (index, field) in self.form_fields.iter().enumerate().take(FORM_FIELDS_MAX) {
            if !is_plain(field, FORM_FIELD_CHARS_MAX) {
                let problem =
                    format!("is empty, longer than {FORM_FIELD_CHARS_MAX} characters or not plain text");
                problems.add(&format!("form_fields.{index}"), &problem);
            }
        }
        self
    }
}

fn is_plain(text: &str, chars_max: usize) -> bool {
    text::clean(text, chars_max).as_deref() == Some(text)
}

/// `current` changed by a JSON merge patch (RFC 7396): what is null in it goes back to its default.
///
/// # Errors
/// The patch names unknown settings, or the outcome is not valid; every field is named under `settings`.
pub(crate) fn patched<T: Settings>(current: &T, patch: &Value) -> Result<T, Invalid> {
    let mut problems = Problems::default();
    let settings = match patch {
        Value::Null => T::default(),
        Value::Object(_) => {
            let mut document = serde_json::to_value(current).expect("settings always serialise");
            unknown_nulls::<T>(&mut Vec::new(), Some(&document), patch, &mut problems);
            merge(&mut document, patch);
            match read::<T>(&document) {
                Ok(settings) => {
                    let kept = serde_json::to_value(&settings).expect("settings always serialise");
                    lists_for_objects(&mut Vec::new(), &document, &kept, &mut problems);
                    settings.checked(&mut problems)
                }
                Err(invalid) => {
                    problems.add_all(invalid);
                    T::default()
                }
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(Invalid::one("settings", "is not an object"));
        }
    };
    for problem in &mut problems.0 {
        problem.field = format!("settings.{}", problem.field);
    }
    problems.unless_none(settings)
}

fn merge(document: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *document = patch.clone();
        return;
    };
    if !document.is_object() {
        *document = Value::Object(Map::new());
    }
    let Value::Object(fields) = document else { return };
    for (key, change) in changes {
        if change.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key).or_insert(Value::Null), change);
        }
    }
}

/// Names the lists that stand where objects belong: serde reads a list as an object's fields in their order.
fn lists_for_objects(place: &mut Vec<Step>, given: &Value, kept: &Value, problems: &mut Problems) {
    match (given, kept) {
        (Value::Array(_), Value::Object(_)) => problems.add(&dotted(place), "is not an object"),
        (Value::Object(given), Value::Object(kept)) => {
            for (key, part) in given {
                let Some(kept) = kept.get(key) else { continue };
                place.push(Step::Key(key.clone()));
                lists_for_objects(place, part, kept, problems);
                place.pop();
            }
        }
        _ => {}
    }
}

/// Names the nulls of a patch that stand where no setting could be: merging would drop them without a word.
fn unknown_nulls<T: Settings>(
    place: &mut Vec<Step>,
    document: Option<&Value>,
    patch: &Value,
    problems: &mut Problems,
) {
    let Value::Object(changes) = patch else { return };
    for (key, change) in changes {
        let current = document.and_then(|document| document.get(key));
        place.push(Step::Key(key.clone()));
        if change.is_null() && current.is_none() {
            let fits = |value| T::deserialize(alone(place, value)).is_ok();
            if !fits(Value::Null) && !fits(Value::Object(Map::new())) {
                problems.add(&dotted(place), "is not a setting");
            }
        }
        unknown_nulls::<T>(place, current, change, problems);
        place.pop();
    }
}

/// A name for people, cleaned.
///
/// # Errors
/// Absent; nothing is left of it; it is too long.
pub(crate) fn name(given: Option<&str>, problems: &mut Problems) -> String {
    let Some(given) = given else {
        problems.add("name", "is required");
        return String::new();
    };
    // Counted as it was given: what a schema says of lengths is about that.
    if given.chars().count() > NAME_CHARS_MAX {
        problems.add("name", &format!("is longer than {NAME_CHARS_MAX} characters"));
        return String::new();
    }
    text::clean(given, NAME_CHARS_MAX).unwrap_or_else(|| {
        problems.add("name", "is empty");
        String::new()
    })
}

/// The schema of a name: a text of which something is left once it is cleaned.
#[cfg(feature = "schema")]
pub fn name_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "maxLength": NAME_CHARS_MAX, "pattern": VISIBLE})
}

/// One character at least that is neither white space nor a control character.
#[cfg(feature = "schema")]
const VISIBLE: &str =
    "[^\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(patch: &Value) -> Vec<String> {
        let invalid = patched(&ProjectSettings::default(), patch).unwrap_err();
        invalid.problems.into_iter().map(|one| one.field).collect()
    }

    #[test]
    fn what_a_conversion_is_must_be_said_and_no_more_than_fifty_are() {
        let fields = |conversions: Value| -> Vec<String> {
            let invalid = patched(&ProjectSettings::default(), &json!({"conversions": conversions}));
            invalid.unwrap_err().problems.into_iter().map(|problem| problem.field).collect()
        };
        for bad in [
            json!({"a": {}}),
            json!({"a": {"value": 1}}),
            json!({"a": {"event": "pageview"}}),
            json!({"a": {"event": null}}),
        ] {
            assert_eq!(fields(bad.clone()), ["settings.conversions.a"], "{bad}");
        }
        for (bad, field) in [
            (json!({"a": {"event": "x!"}}), "event"),
            (json!({"a": {"page": "thanks"}}), "page"),
            (json!({"a": {"page": "/a", "value": "1"}}), "value"),
            (json!({"a": {"page": "/a", "count": 1}}), "count"),
        ] {
            assert_eq!(fields(bad.clone()), [format!("settings.conversions.a.{field}")], "{bad}");
        }
        assert_eq!(fields(json!({" a": {"page": "/a"}})), ["settings.conversions. a.page"]);
        let many = |count: usize| -> Value {
            (0..count).map(|n| (format!("rule {n}"), json!({"event": "pageview", "page": "/a"}))).collect()
        };
        assert_eq!(fields(many(CONVERSION_RULES_MAX + 1)), ["settings.conversions"]);
        let most = patched(&ProjectSettings::default(), &json!({"conversions": many(CONVERSION_RULES_MAX)}));
        let one_less = patched(&most.unwrap(), &json!({"conversions": {"rule 3": null}})).unwrap();
        assert_eq!(one_less.conversions.len(), CONVERSION_RULES_MAX - 1);
    }

    #[test]
    fn every_problem_is_named_by_its_path() {
        let patch = json!({
            "nonsense": 1,
            "time_zone": "Mars",
            "retention_days": "x",
            "consent": "maybe",
            "attribution": {"lookback": "11y", "half_life": 7, "window": "1d"},
            "ignore_referrers": ["ok.example", "https://bad/", 7],
            "crm": {"enabled": "yes", "nonsense": true, "mapping": {"email": {}, "utm_source": {"policy": "sometimes"}}},
        });
        let mut named = fields(&patch);
        named.sort_unstable();
        assert_eq!(
            named,
            [
                "settings.attribution.half_life",
                "settings.attribution.lookback",
                "settings.attribution.window",
                "settings.consent",
                "settings.crm.enabled",
                "settings.crm.mapping.email",
                "settings.crm.mapping.utm_source.policy",
                "settings.crm.nonsense",
                "settings.ignore_referrers.1",
                "settings.ignore_referrers.2",
                "settings.nonsense",
                "settings.retention_days",
                "settings.time_zone",
            ]
        );
    }

    #[test]
    fn a_null_goes_back_to_the_default_and_is_refused_where_nothing_can_be() {
        let patch =
            json!({"time_zone": "Europe/Berlin", "crm": {"enabled": false, "mapping": {"utm_source": {}}}});
        let settings = patched(&ProjectSettings::default(), &patch).unwrap();
        let back = json!({"time_zone": null, "sync_delay": null, "crm": {"enabled": null,
                          "mapping": {"utm_source": null, "gclid": null, "utm_medium": {"field": null}}}});
        let settings = patched(&settings, &back).unwrap();
        assert_eq!(settings.time_zone.name(), "UTC");
        assert_eq!(settings.crm.mapping.len(), 1);
        assert_eq!(patched(&settings, &Value::Null).unwrap(), ProjectSettings::default());
        assert_eq!(
            fields(&json!({"nonsense": null, "crm": {"mapping": {"email": null}, "nonsense": {"a": null}}})),
            [
                "settings.crm.mapping.email",
                "settings.crm.nonsense.a",
                "settings.nonsense",
                "settings.crm.nonsense"
            ]
        );
    }

    #[test]
    fn the_models_windows_are_set_within_their_bounds_and_go_back_to_90_and_7_days() {
        let patch = json!({"attribution": {"lookback": "1d", "half_life": "1ms"}});
        let shortest = patched(&ProjectSettings::default(), &patch).unwrap();
        let patch = json!({"attribution": {"lookback": "3653d", "half_life": "3653d"}});
        let longest = patched(&shortest, &patch).unwrap().attribution;
        assert_eq!(longest.lookback, longest.half_life);
        let back = patched(&shortest, &json!({"attribution": {"lookback": null}})).unwrap().attribution;
        assert_eq!([back.lookback, back.half_life].map(|span| span.to_string()), ["90d", "1ms"]);
        let back = patched(&shortest, &json!({"attribution": null})).unwrap().attribution;
        assert_eq!([back.lookback, back.half_life].map(|span| span.to_string()), ["90d", "7d"]);
    }

    #[test]
    fn a_list_is_no_object_whatever_serde_makes_of_it() {
        for patch in [json!({"crm": []}), json!({"crm": [true]})] {
            assert_eq!(fields(&patch), ["settings.crm"]);
        }
        let patch = json!({"crm": {"mapping": {"utm_source": [], "gclid": {"field": "GCLID"}}}});
        assert_eq!(fields(&patch), ["settings.crm.mapping.utm_source"]);
    }

    #[test]
    fn a_name_is_counted_as_it_is_given() {
        let named = |given: &str| {
            let mut problems = Problems::default();
            let name = name(Some(given), &mut problems);
            problems.unless_none(name).map_err(|invalid| invalid.problems.len())
        };
        assert_eq!(named(&format!(" {}\u{7}", "x".repeat(198))), Ok("x".repeat(198)));
        assert_eq!(named(&format!(" {}\u{7}", "x".repeat(199))), Err(1));
        assert_eq!(named(" \u{7}"), Err(1));
    }

    #[test]
    fn a_value_of_the_right_form_may_still_be_wrong() {
        assert_eq!(fields(&json!({"retention_days": 0})), ["settings.retention_days"]);
        let patch = json!({"attribution": {"lookback": "23h", "half_life": "0s"}});
        assert_eq!(fields(&patch), ["settings.attribution.lookback", "settings.attribution.half_life"]);
        for field in ["", "a\u{0}b", " padded", &"x".repeat(201)] {
            let patch = json!({"crm": {"mapping": {"utm_source": {"field": field}}}});
            assert_eq!(fields(&patch), ["settings.crm.mapping.utm_source.field"]);
        }
        let pixel = json!({"form_fields": [" Phone ", "\u{0}"]});
        let invalid = patched(&PixelSettings::default(), &pixel).unwrap_err();
        assert_eq!(invalid.problems[0].field, "settings.form_fields.1");
        let pixel = json!({"form_fields": [" Phone "]});
        assert_eq!(patched(&PixelSettings::default(), &pixel).unwrap().form_fields, ["phone"]);
    }

    #[test]
    fn a_complaint_holds_no_control_characters_and_is_bounded() {
        let invalid = patched(&ProjectSettings::default(), &json!({"x\u{0}\n": {"y": "z".repeat(9_000)}}));
        let problems = invalid.unwrap_err().problems;
        assert!(problems.iter().all(|one| !one.field.contains(char::is_control)));
        let many: Map<String, Value> = (0..500).map(|index| (format!("x{index}"), Value::Null)).collect();
        assert_eq!(fields(&Value::Object(many)).len(), PROBLEMS_MAX);
    }
}
