//! The ports: what the use cases need of the world. An adapter MUST pass the suite of its port in
//! `leadtrail-contract`.

mod clock;
mod connections;
mod conversions;
mod crm;
mod enrich;
mod events;
mod histories;
mod journeys;
mod keys;
mod maintenance;
mod projects;
mod store_error;
mod sync_jobs;
mod visits;

pub use self::clock::Clock;
pub use self::connections::{Connections, SealedConnection};
pub use self::conversions::{ConversionFilter, Conversions};
pub use self::crm::{Crm, CrmError, RateScope};
pub use self::enrich::{Enrich, RequestFacts};
pub use self::events::{EventOrder, EventPage, EventPlace, Events};
pub use self::histories::Histories;
pub use self::journeys::{Journey, JourneyBounds, JourneyTouch, Journeys, LeftOut};
pub use self::keys::Keys;
pub use self::maintenance::{Durability, Maintenance};
pub use self::projects::{Created, Page, Projects};
pub use self::store_error::StoreError;
pub use self::sync_jobs::{
    AttemptRecord, DueQueue, JobAction, JobCounts, JobFilter, LedgerEntry, Planned, Queue, SyncJobs, Updates,
};
pub use self::visits::Visits;
