use std::time::SystemTime;

use leadtrail_domain::ports::Clock;
use leadtrail_domain::time::Timestamp;

use crate::SqliteStore;

impl Clock for SqliteStore {
    /// The clock of the host, which is the file's too: every process that uses the file runs here.
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the `Clock` port")]
        let now = SystemTime::now();
        match now.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Timestamp::EPOCH.plus(since),
            Err(before) => Timestamp::EPOCH.minus(before.duration()),
        }
    }
}
