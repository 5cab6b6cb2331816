//! How each model shares the credit for a lead.

use std::collections::BTreeSet;

use leadtrail_domain::id::EventId;
use leadtrail_domain::lead::Lead;
use leadtrail_domain::model::{Credits, Model, ModelSettings, Touchpoint, credits};
use leadtrail_domain::ports::Journey;
use serde::Serialize;

/// How one model shares the credit for a lead.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModelCredits {
    /// The model.
    pub model: Model,
    /// The touches shown that get some, in their order.
    pub touches: Vec<Credit>,
    /// What belongs to touches that are not shown.
    pub not_shown: f64,
    /// What belongs to no touch: 1 where none lies in the window. All of these add up to 1.
    pub none: f64,
}

/// A touch's share.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Credit {
    /// The event that carried the touch.
    pub event_id: EventId,
    /// More than 0, at most 1.
    pub credit: f64,
}

/// Each model's credits for the touches of a journey.
pub(super) struct Shares<'a> {
    journey: &'a Journey,
    /// The places of those that count for the lead.
    counting: Vec<usize>,
    /// Their credits.
    by_model: Vec<(Model, Credits)>,
}

impl<'a> Shares<'a> {
    pub(super) fn of(journey: &'a Journey, lead: &Lead, settings: &ModelSettings) -> Self {
        let counts = |place: &usize| journey.counts_for(lead, journey.touches[*place].visitor_id);
        let counting: Vec<usize> = (0..journey.touches.len()).filter(counts).collect();
        let path: Vec<Touchpoint> =
            counting.iter().map(|place| Touchpoint::from(&journey.touches[*place].touch)).collect();
        let conversion = (lead.occurred_at, lead.event_id);
        let by_model = Model::ALL.map(|model| (model, credits(&path, conversion, model, settings))).into();
        Self { journey, counting, by_model }
    }

    /// What each touch of the journey gets from all models together.
    pub(super) fn weights(&self) -> Vec<f64> {
        let mut weights = vec![0.0; self.journey.touches.len()];
        for (_, credits) in &self.by_model {
            for (place, credit) in self.counting.iter().zip(&credits.touches) {
                weights[*place] += credit;
            }
        }
        weights
    }

    /// The credits as they are told where only the touches at the places `shown` are.
    pub(super) fn told(&self, shown: &BTreeSet<usize>) -> Vec<ModelCredits> {
        let told = |(model, credits): &(Model, Credits)| {
            let given = self.counting.iter().zip(&credits.touches).filter(|(_, credit)| **credit > 0.0);
            let (told, others): (Vec<_>, Vec<_>) = given.partition(|(place, _)| shown.contains(place));
            let credit = |(place, credit): (&usize, &f64)| Credit {
                event_id: self.journey.touches[*place].touch.event_id,
                credit: *credit,
            };
            ModelCredits {
                model: *model,
                touches: told.into_iter().map(credit).collect(),
                not_shown: others.into_iter().map(|(_, credit)| credit).sum(),
                none: credits.none,
            }
        };
        self.by_model.iter().map(told).collect()
    }
}
