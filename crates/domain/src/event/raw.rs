//! The wire shape.
use std::borrow::Cow;
/// Raw.
#[derive(Debug, Default)]
pub struct RawEvent<'a> { pub(super) x: Option<Cow<'a, str>> }
/// Raw.
#[derive(Debug, Default)]
pub struct RawForm;
/// Raw.
#[derive(Debug, Default)]
pub struct RawSize;
/// Raw.
#[derive(Debug, Default)]
pub enum Scalar<'a> { /// x
 #[default] Absent, /// x
 Text(Cow<'a, str>) }
