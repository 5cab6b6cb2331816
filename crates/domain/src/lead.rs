//! Leads: submissions with an e-mail.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::email::EmailAddress;
use crate::event::Form;
use crate::id::{EventId, LeadId, PixelId, ProjectId, SessionId, SyncJobId, VisitorId};
use crate::time::Timestamp;
use crate::touch::{FourTouches, Touch};

/// For how long, from the first of them on, equal submissions are one.
pub const SUBMISSION_WINDOW: Duration = Duration::from_hours(24);

/// A submitted form with an e-mail, with its attribution as it was then.
#[derive(Clone, PartialEq, Debug)]
pub struct Lead {
    /// Its id.
    pub id: LeadId,
    /// Its project.
    pub project_id: ProjectId,
    /// The pixel whose page had the form.
    pub pixel_id: PixelId,
    /// The event that made it.
    pub event_id: EventId,
    /// The visitor who sent it.
    pub visitor_id: VisitorId,
    /// The session it was sent in.
    pub session_id: SessionId,
    /// The sync job it belongs to; `None` where the project tells no CRM.
    pub job_id: Option<SyncJobId>,
    /// The e-mail.
    pub email: EmailAddress,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// When it was sent by the client's clock.
    pub occurred_at: Timestamp,
    /// When it arrived.
    pub received_at: Timestamp,
    /// The four touches of the person up to the form; later visits do not change them.
    pub touches: FourTouches,
    /// The opening touch of the session it was sent in; `None` where that had none.
    pub session_touch: Option<Arc<Touch>>,
}

/// What makes two submissions the same: SHA-256 of project, pixel, e-mail and the form's content. No clock is in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SubmissionKey(pub [u8; 32]);

impl SubmissionKey {
    /// The key of a form with an e-mail, sent to a pixel.
    pub fn of(project: ProjectId, pixel: &PixelId, email: &EmailAddress, form: &Form) -> Self {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(bytes);
        };
        part(b"leadtrail submission");
        part(project.0.as_bytes());
        part(pixel.as_str().as_bytes());
        part(&email.hash().0);
        for name in [&form.first_name, &form.last_name] {
            part(name.as_deref().unwrap_or_default().as_bytes());
        }
        for (field, value) in &form.extra {
            part(field.as_bytes());
            part(value.as_bytes());
        }
        Self(hash.finalize().into())
    }
}
