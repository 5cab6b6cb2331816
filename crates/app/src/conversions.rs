//! What was counted as a conversion, as the API and the command line show it.

use leadtrail_domain::conversion::{Conversion, ConversionName};
use leadtrail_domain::id::{ConversionId, EventId, PixelId, SessionId, VisitorId};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::{Attribution, FourTouches, Touch};
use serde::Serialize;

/// A conversion as it is shown.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Conversion"))]
pub struct ConversionShown {
    /// Its id.
    pub id: ConversionId,
    /// Which kind of conversion.
    pub name: ConversionName,
    /// When it occurred.
    pub occurred_at: Timestamp,
    /// What it is worth, without a currency.
    pub value: Option<f64>,
    /// The event.
    pub event_id: EventId,
    /// The event's pixel.
    pub pixel_id: PixelId,
    /// Who converted.
    pub visitor_id: VisitorId,
    /// In which session.
    pub session_id: SessionId,
    /// From where the visitor had come by then.
    pub touches: TouchesShown,
}

/// The four touches as they are shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "FourTouches"))]
pub struct TouchesShown {
    /// The earliest.
    pub first: Option<Origin>,
    /// The earliest that is not direct.
    pub first_non_direct: Option<Origin>,
    /// The latest that is not direct.
    pub last_non_direct: Option<Origin>,
    /// The latest.
    pub last: Option<Origin>,
}

/// From where a visit came, in short.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Origin {
    /// The event that carried it.
    pub event_id: EventId,
    /// When.
    pub at: Timestamp,
    /// What decided: `utm`, `click_id`, `referrer` or `direct`.
    pub kind: &'static str,
    /// What it says.
    #[serde(flatten)]
    pub attribution: Attribution,
    /// The page landed on.
    pub landing_page: String,
}

impl From<Conversion> for ConversionShown {
    fn from(conversion: Conversion) -> Self {
        Self {
            id: conversion.id,
            name: conversion.name,
            occurred_at: conversion.occurred_at,
            value: conversion.value,
            event_id: conversion.event_id,
            pixel_id: conversion.pixel_id,
            visitor_id: conversion.visitor_id,
            session_id: conversion.session_id,
            touches: TouchesShown::from(&conversion.touches),
        }
    }
}

impl From<&FourTouches> for TouchesShown {
    fn from(four: &FourTouches) -> Self {
        let FourTouches { first, first_non_direct, last_non_direct, last } = four;
        let [first, first_non_direct, last_non_direct, last] =
            [first, first_non_direct, last_non_direct, last].map(|touch| touch.as_deref().map(Origin::from));
        Self { first, first_non_direct, last_non_direct, last }
    }
}

impl From<&Touch> for Origin {
    fn from(touch: &Touch) -> Self {
        Self {
            event_id: touch.event_id,
            at: touch.at,
            kind: touch.kind.as_str(),
            attribution: touch.attribution(),
            landing_page: touch.landing_page.clone(),
        }
    }
}
