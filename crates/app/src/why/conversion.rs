//! Why a conversion is attributed as it is.

use std::sync::Arc;

use leadtrail_domain::conversion::Conversion;
use leadtrail_domain::model::{Model, ModelSettings, Touchpoint, credits};
use leadtrail_domain::touch::Touch;
use serde::Serialize;

use super::credit::{Credit, ModelCredits};
use super::touches::SHOWN_MAX;
use crate::conversions::{ConversionShown, Origin};

/// Why a conversion is attributed as it is.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConversionWhy {
    /// The conversion, with the touches that are frozen with it.
    #[serde(flatten)]
    pub conversion: ConversionShown,
    /// From where the visitor had come by then, each time, in order; of more than 500 the latest.
    pub path: Vec<Origin>,
    /// The lookback window over which the models count, and the half-life of time decay.
    pub attribution: ModelSettings,
    /// Each model's credit for the touches of the path.
    pub models: Vec<ModelCredits>,
}

impl ConversionWhy {
    /// `touches`: all of the visitor, in their order.
    pub(super) fn of(conversion: Conversion, touches: &[Arc<Touch>], settings: &ModelSettings) -> Self {
        let at = (conversion.occurred_at, conversion.event_id);
        let until = touches.partition_point(|touch| touch.order() <= at);
        let (touches, _later) = touches.split_at(until);
        let path: Vec<Touchpoint> = touches.iter().map(|touch| Touchpoint::from(touch.as_ref())).collect();
        let shown_from = touches.len().saturating_sub(SHOWN_MAX);
        let (_earlier, shown) = touches.split_at(shown_from);
        let models = Model::ALL.map(|model| {
            let shared = credits(&path, at, model, settings);
            let (not_shown, given) = shared.touches.split_at(shown_from);
            let credit =
                |(touch, credit): (&Arc<Touch>, &f64)| Credit { event_id: touch.event_id, credit: *credit };
            ModelCredits {
                model,
                touches: shown.iter().zip(given).map(credit).filter(|one| one.credit > 0.0).collect(),
                not_shown: not_shown.iter().sum(),
                none: shared.none,
            }
        });
        let path = shown.iter().map(|touch| Origin::from(touch.as_ref())).collect();
        Self { conversion: conversion.into(), path, attribution: *settings, models: models.into() }
    }
}
