//! Attribution models: how one conversion's credit is shared among the touches before it.
//!
//! The six are those of Universal Analytics' multi-channel funnels (Analytics Help, "About the default MCF attribution
//! models"), with its numbers: position-based 40/20/40, time decay with a half-life of 7 days, lookback 90 days. As
//! there, a direct visit is a touch like any other, except that the last non-direct model passes over it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::EventId;
use crate::time::{Span, Timestamp};
use crate::touch::Touch;

/// How credit is shared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// All to the earliest touch.
    FirstTouch,
    /// All to the latest touch.
    LastTouch,
    /// All to the latest touch that is not direct; to the latest, where all are.
    LastNonDirect,
    /// The same to each.
    Linear,
    /// 40 % each to the earliest and the latest, 20 % shared by those between; of two, half each.
    PositionBased,
    /// Half as much for each half-life that a touch lies before the latest.
    TimeDecay,
}

impl Model {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::FirstTouch,
        Self::LastTouch,
        Self::LastNonDirect,
        Self::Linear,
        Self::PositionBased,
        Self::TimeDecay,
    ];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FirstTouch => "first_touch",
            Self::LastTouch => "last_touch",
            Self::LastNonDirect => "last_non_direct",
            Self::Linear => "linear",
            Self::PositionBased => "position_based",
            Self::TimeDecay => "time_decay",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not the name of a [`Model`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not one of first_touch, last_touch, last_non_direct, linear, position_based, time_decay")]
pub struct ModelError;

impl FromStr for Model {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        Self::ALL.into_iter().find(|model| model.as_str() == text).ok_or(ModelError)
    }
}

/// The shortest lookback window that a project may set; the longest is that of every [`Span`], 10 years.
pub const LOOKBACK_MIN: Duration = Duration::from_hours(24);

/// What the models may be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ModelSettings {
    /// How long before the conversion a touch counts; one exactly as old does. A project's is 1 day at least.
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::schema::lookback"))]
    pub lookback: Span,
    /// After how long a touch counts half as much under time decay; zero, which no project can set: only what coincides
    /// with the latest touch counts.
    #[cfg_attr(
        feature = "schema",
        schemars(
            schema_with = "crate::schema::half_life",
            description = "After how long a touch counts half as much under time decay."
        )
    )]
    pub half_life: Span,
}

impl Default for ModelSettings {
    fn default() -> Self {
        let span = |text: &str| text.parse().expect("a constant length of time");
        Self { lookback: span("90d"), half_life: span("7d") }
    }
}

/// What a model looks at in a touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Touchpoint {
    /// Its time and event: its place in the order.
    pub order: (Timestamp, EventId),
    /// Whether it names no place the visit came from.
    pub is_direct: bool,
}

impl From<&Touch> for Touchpoint {
    fn from(touch: &Touch) -> Self {
        Self { order: touch.order(), is_direct: touch.is_direct() }
    }
}

/// One conversion's credit: with `none`, the sum is 1.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Credits {
    /// The credit of each touch, 0 to 1, in the order of the path that was given.
    pub touches: Vec<f64>,
    /// What belongs to no touch: 1 where none lies in the window, else 0.
    pub none: f64,
}

/// Shares the credit of what happened at `conversion` (its time and event). `path` in the order of touches; those after
/// the conversion, and those longer before it than the lookback window, get nothing.
pub fn credits(
    path: &[Touchpoint],
    conversion: (Timestamp, EventId),
    model: Model,
    settings: &ModelSettings,
) -> Credits {
    let mut touches = vec![0.0; path.len()];
    let since = conversion.0.minus(settings.lookback.duration());
    let from = path.partition_point(|touch| touch.order.0 < since);
    let until = path.partition_point(|touch| touch.order <= conversion);
    let (Some(window), Some(shares)) = (path.get(from..until), touches.get_mut(from..until)) else {
        return Credits { touches, none: 1.0 };
    };
    let (Some(last), Some(latest)) = (shares.len().checked_sub(1), window.last()) else {
        return Credits { touches, none: 1.0 };
    };
    match model {
        Model::FirstTouch => shares[0] = 1.0,
        Model::LastTouch => shares[last] = 1.0,
        Model::LastNonDirect => {
            shares[window.iter().rposition(|touch| !touch.is_direct).unwrap_or(last)] = 1.0;
        }
        Model::Linear => shares.fill(1.0 / count(shares.len())),
        Model::PositionBased => match last {
            0 => shares[0] = 1.0,
            1 => shares.fill(0.5),
            _ => {
                shares.fill(0.2 / count(shares.len() - 2));
                shares[0] = 0.4;
                shares[last] = 0.4;
            }
        },
        Model::TimeDecay => {
            // Counted from the latest touch, so that the largest weight is 1 and an old path does not underflow.
            let half_life = settings.half_life.duration().as_secs_f64();
            for (share, touch) in shares.iter_mut().zip(window) {
                let before = latest.order.0.since(touch.order.0).as_secs_f64();
                *share = if before == 0.0 { 1.0 } else { (-before / half_life).exp2() };
            }
            let sum: f64 = shares.iter().sum();
            for share in shares {
                *share /= sum;
            }
        }
    }
    Credits { touches, none: 0.0 }
}

fn count(touches: usize) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::as_conversions,
        reason = "paths stay far below 2^53 touches"
    )]
    let count = touches as f64;
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(days_and_direct: &[(u64, bool)]) -> Vec<Touchpoint> {
        (days_and_direct.iter())
            .map(|(day, is_direct)| Touchpoint { order: at(*day), is_direct: *is_direct })
            .collect()
    }

    fn at(day: u64) -> (Timestamp, EventId) {
        (Timestamp::EPOCH.plus(Duration::from_hours(24 * (1_000 + day))), EventId::of_text("e"))
    }

    fn shares(model: Model, path: &[Touchpoint]) -> Vec<f64> {
        credits(path, at(100), model, &ModelSettings::default()).touches
    }

    #[test]
    fn each_model_shares_as_it_is_described() {
        let path = path(&[(80, true), (86, false), (93, false), (100, true)]);
        assert_eq!(shares(Model::FirstTouch, &path), [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(shares(Model::LastTouch, &path), [0.0, 0.0, 0.0, 1.0]);
        assert_eq!(shares(Model::LastNonDirect, &path), [0.0, 0.0, 1.0, 0.0]);
        assert_eq!(shares(Model::Linear, &path), [0.25; 4]);
        assert_eq!(shares(Model::PositionBased, &path), [0.4, 0.1, 0.1, 0.4]);
        let decay = shares(Model::TimeDecay, &path[1..]);
        for (share, expected) in decay.into_iter().zip([0.25 / 1.75, 0.5 / 1.75, 1.0 / 1.75]) {
            assert!((share - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn where_all_are_direct_the_last_is_the_last_non_direct() {
        assert_eq!(shares(Model::LastNonDirect, &path(&[(1 + 10, true), (20, true)])), [0.0, 1.0]);
    }

    #[test]
    fn what_lies_outside_the_window_or_after_the_conversion_gets_nothing() {
        let path = path(&[(9, false), (10, false), (101, false)]);
        for model in Model::ALL {
            assert_eq!(shares(model, &path), [0.0, 1.0, 0.0], "{model}");
            let none = credits(&path[..1], at(100), model, &ModelSettings::default());
            assert_eq!(none, Credits { touches: vec![0.0], none: 1.0 });
            assert_eq!(
                credits(&[], at(100), model, &ModelSettings::default()).none.to_bits(),
                1.0_f64.to_bits()
            );
        }
    }

    #[test]
    fn a_half_life_of_nothing_leaves_the_latest_touches() {
        let settings = ModelSettings { half_life: "0s".parse().unwrap(), ..ModelSettings::default() };
        let path = path(&[(98, false), (99, false), (99, true)]);
        assert_eq!(credits(&path, at(100), Model::TimeDecay, &settings).touches, [0.0, 0.5, 0.5]);
    }

    #[test]
    fn a_model_is_read_by_its_name() {
        for model in Model::ALL {
            assert_eq!(model.as_str().parse(), Ok(model));
            assert_eq!(serde_json::to_string(&model).unwrap(), format!("\"{model}\""));
        }
        assert_eq!("last".parse::<Model>(), Err(ModelError));
    }
}
