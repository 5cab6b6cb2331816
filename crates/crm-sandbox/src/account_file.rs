use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::account::Account;

/// Why the sandbox's file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The file system refused.
    #[error("cannot use the sandbox CRM's file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// The content is not a sandbox CRM's.
    #[error("{} is not the file of a sandbox CRM", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where it departs.
        source: serde_json::Error,
    },
    /// Another process kept the lock for too long.
    #[error("another process holds {}", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
}

/// An account in a file that several processes use at once.
///
/// Readers need no lock, for the file is only ever replaced whole. Writers take the lock of a file beside it, which is
/// never removed: a lock on the replaced file itself would lock out nobody.
#[derive(Debug)]
pub(crate) struct AccountFile {
    path: PathBuf,
    seen: Mutex<Seen>,
}

/// The content read last: a file as large as this one is faster compared than parsed.
#[derive(Debug, Default)]
struct Seen {
    content: Vec<u8>,
    account: Account,
}

impl AccountFile {
    /// How long a writer waits for another.
    const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
    /// How often it looks whether the other has finished.
    const LOCK_POLL: Duration = Duration::from_millis(2);

    pub(crate) fn open(path: PathBuf) -> Result<Self, SandboxError> {
        let file = Self { path, seen: Mutex::default() };
        file.read(|_account| ())?;
        Ok(file)
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&Account) -> T) -> Result<T, SandboxError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut seen)?;
        Ok(look(&seen.account))
    }

    /// Applies `change`, and keeps what it left behind unless nothing differs.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut Account) -> T) -> Result<T, SandboxError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let _held = self.lock()?;
        self.refresh(&mut seen)?;
        let mut account = seen.account.clone();
        let answer = change(&mut account);
        if account != seen.account {
            let content = serde_json::to_vec_pretty(&account)
                .map_err(|source| SandboxError::Corrupt { path: self.path.clone(), source })?;
            self.replace(&content).map_err(|source| self.io_error(source))?;
            *seen = Seen { content, account };
        }
        Ok(answer)
    }

    fn refresh(&self, seen: &mut Seen) -> Result<(), SandboxError> {
        let content = match std::fs::read(&self.path) {
            Ok(content) => content,
            Err(missing) if missing.kind() == ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(self.io_error(source)),
        };
        if content == seen.content {
            return Ok(());
        }
        let account = if content.is_empty() {
            Account::default()
        } else {
            serde_json::from_slice(&content)
                .map_err(|source| SandboxError::Corrupt { path: self.path.clone(), source })?
        };
        *seen = Seen { content, account };
        Ok(())
    }

    /// The lock is given back when the file is dropped.
    fn lock(&self) -> Result<File, SandboxError> {
        let path = beside(&self.path, ".lock");
        let of_lock = |source| SandboxError::Io { path: path.clone(), source };
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(of_lock)?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if started.elapsed() < Self::LOCK_WAIT_MAX => {
                    std::thread::sleep(Self::LOCK_POLL);
                }
                Err(TryLockError::WouldBlock) => return Err(SandboxError::Busy { path }),
                Err(TryLockError::Error(source)) => return Err(of_lock(source)),
            }
        }
    }

    fn replace(&self, content: &[u8]) -> io::Result<()> {
        let draft_path = beside(&self.path, ".tmp");
        let mut draft = File::create(&draft_path)?;
        draft.write_all(content)?;
        draft.sync_all()?;
        std::fs::rename(&draft_path, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn io_error(&self, source: io::Error) -> SandboxError {
        SandboxError::Io { path: self.path.clone(), source }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
