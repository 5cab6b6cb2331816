//! Why a conversion is attributed as it is.

use std::sync::Arc;

use leadtrail_domain::conversion::Conversion;
use leadtrail_domain::model::{Model, ModelSettings, Touchpoint, credits};
use leadtrail_domain::touch::Touch;
use serde::Serialize;

use super::credit::{Credit, ModelCredits};
use super::touches::SHOWN_MAX;
use crate::conversions::ConversionShown;

/// Why a conversion is attributed as it is.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConversionWhy {
    /// The conversion, with the touches that are frozen with it.
    #[serde(flatten)]
    pub conversion: ConversionShown,
    /// The lookback window over which the models count, and the half-life of time decay.
    pub attribution: ModelSettings,
    /// Each model's credit for the touches of the visitor; of more than 500 the latest.
    pub models: Vec<ModelCredits>,
}

impl ConversionWhy {
    /// `touches`: all of the visitor, in their order.
    pub(super) fn of(conversion: Conversion, touches: &[Arc<Touch>], settings: &ModelSettings) -> Self {
        let path: Vec<Touchpoint> = touches.iter().map(|touch| Touchpoint::from(touch.as_ref())).collect();
        let at = (conversion.occurred_at, conversion.event_id);
        let models = Model::ALL.map(|model| {
            let shared = credits(&path, at, model, settings);
            let given: Vec<Credit> = (touches.iter().zip(&shared.touches))
                .filter(|(_, credit)| **credit > 0.0)
                .map(|(touch, credit)| Credit { event_id: touch.event_id, credit: *credit })
                .collect();
            let (others, shown) = given.split_at(given.len().saturating_sub(SHOWN_MAX));
            ModelCredits {
                model,
                touches: shown.to_vec(),
                not_shown: others.iter().map(|one| one.credit).sum(),
                none: shared.none,
            }
        });
        Self { conversion: conversion.into(), attribution: *settings, models: models.into() }
    }
}
