//! A PostgreSQL of our own: made, used by one command, thrown away.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::guarded::Guarded;
use crate::process;

/// The oldest major version that the product supports.
pub(crate) const MAJOR_MIN: u32 = 15;

/// How long a server may take until it accepts connections.
const START_AT_MOST: Duration = Duration::from_secs(45);

/// What the cluster promises to keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durability {
    /// Stock configuration: what is measured must be what operators get.
    Stock,
    /// Nothing survives a crash of the machine: tests run several times faster.
    Relaxed,
}

/// A running cluster, stopped and removed when dropped.
pub(crate) struct Cluster {
    _server: Guarded,
    port: u16,
}

impl Cluster {
    /// Makes and starts a cluster from the programs in `bin`, under `target` where its user can reach that.
    ///
    /// # Errors
    /// `initdb` fails, or the server does not start; the message has the end of its log.
    pub(crate) fn start(bin: &Path, target: &Path, durability: Durability) -> Result<Self> {
        let owner = Owner::choose(&fs::read_to_string("/etc/passwd").context("/etc/passwd")?)?;
        let folder = folder_for(target, owner.as_ref());
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        if let Some(owner) = &owner {
            chown(&folder, Some(owner.uid), Some(owner.gid))?;
        }
        let data = folder.join("data");
        let mut initdb = owned(bin.join("initdb"), owner.as_ref(), &folder);
        initdb.args(["--username=leadtrail", "--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8"]);
        process::output(initdb.arg("--pgdata").arg(&data)).inspect_err(|_error| remove(&folder))?;

        serve(bin, owner.as_ref(), &folder, &data, durability)
    }

    /// Where its superuser connects.
    pub(crate) fn url(&self) -> String {
        format!("postgres://leadtrail@127.0.0.1:{}/postgres", self.port)
    }
}

fn serve(
    bin: &Path,
    owner: Option<&Owner>,
    folder: &Path,
    data: &Path,
    durability: Durability,
) -> Result<Cluster> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?.port();
    let log = folder.join("server.log");
    let mut command = owned(bin.join("postgres"), owner, folder);
    command.arg("-D").arg(data);
    let mut settings = vec![
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        // No socket at all: nothing to collide with, and no limit on the length of our path.
        "unix_socket_directories=".to_owned(),
    ];
    if durability == Durability::Relaxed {
        settings.extend(
            // The suites open many small pools at once.
            ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300"]
                .map(str::to_owned),
        );
    }
    for setting in settings {
        command.arg("-c").arg(setting);
    }
    let log_file = fs::File::create(&log).with_context(|| log.display().to_string())?;
    command.stdout(Stdio::null()).stderr(log_file);
    let mut server = Guarded::start(&mut command, "INT", folder)?;
    let pid_file = data.join("postmaster.pid");
    let ready = process::wait_for("PostgreSQL", START_AT_MOST, || {
        if server.has_ended()? {
            bail!("PostgreSQL ended at once");
        }
        // Its eighth line is the state; the file is short and rewritten as the state changes.
        Ok(fs::read_to_string(&pid_file)
            .is_ok_and(|text| text.lines().nth(7).is_some_and(|state| state.trim() == "ready")))
    });
    // Read now: dropping the server removes the folder.
    ready.with_context(|| fs::read_to_string(&log).unwrap_or_else(|error| error.to_string()))?;
    Ok(Cluster { _server: server, port })
}

/// The unprivileged user that the server runs as when this process is root, whom PostgreSQL refuses.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    fn choose(passwd: &str) -> Result<Option<Self>> {
        if process::user_id()? != 0 {
            return Ok(None);
        }
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| Self::named(name, passwd))
            .map(Some)
            .context("PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody`")
    }

    fn named(name: &str, passwd: &str) -> Option<Self> {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Self { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }

    /// Whether this user can walk down to `folder`, which exists.
    fn reaches(&self, folder: &Path) -> bool {
        folder.ancestors().all(|ancestor| {
            let Ok(metadata) = ancestor.metadata() else { return false };
            let executable = if metadata.uid() == self.uid {
                0o100
            } else if metadata.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            metadata.mode() & executable != 0
        })
    }
}

/// A command as the cluster's user, at home in its folder.
fn owned(program: PathBuf, owner: Option<&Owner>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("HOME", folder).env("LC_ALL", "C");
    if let Some(owner) = owner {
        command.uid(owner.uid).gid(owner.gid);
    }
    command
}

/// Under `target`; under the system's temporary folder where the cluster's user cannot reach that (`/root`).
fn folder_for(target: &Path, owner: Option<&Owner>) -> PathBuf {
    let name = format!("throwaway-postgres-{}", std::process::id());
    let reachable = owner.is_none_or(|owner| owner.reaches(target));
    if reachable { target.join(name) } else { std::env::temp_dir().join(format!("leadtrail-{name}")) }
}

fn remove(folder: &Path) {
    if folder.exists()
        && let Err(error) = fs::remove_dir_all(folder)
    {
        eprintln!("xtask: {}: {error}", folder.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533:nobody:/:/bin/false\n";

    #[test]
    fn a_user_is_found_by_whole_name_with_its_group() {
        assert_eq!(Owner::named("nobody", PASSWD), Some(Owner { uid: 65534, gid: 65533 }));
        assert_eq!(Owner::named("body", PASSWD), None);
        assert_eq!(Owner::named("postgres", PASSWD), None);
    }

    #[test]
    fn a_folder_below_one_that_others_may_not_enter_is_not_reached() {
        let outer = std::env::temp_dir().join(format!("leadtrail-xtask-reach-{}", std::process::id()));
        let inner = outer.join("inner");
        fs::create_dir_all(&inner).unwrap();
        let stranger = Owner { uid: 4_000_000, gid: 4_000_000 };
        fs::set_permissions(&outer, fs::Permissions::from_mode(0o755)).unwrap();
        let open = stranger.reaches(&inner);
        fs::set_permissions(&outer, fs::Permissions::from_mode(0o700)).unwrap();
        let closed = stranger.reaches(&inner);
        fs::remove_dir_all(&outer).unwrap();
        assert_eq!((open, closed), (true, false));
    }
}
