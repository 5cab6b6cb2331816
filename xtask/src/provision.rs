//! Finds the programs that the tests need, and installs them where that is one command.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::postgres::MAJOR_MIN;
use crate::{process, workspace};

/// Debian's postgresql package starts a cluster of its own unless told not to; this file tells it, for as long as the
/// installation takes.
const NO_MAIN_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/leadtrail-xtask.conf";

/// Debian's nginx package starts a server for the whole machine unless this file forbids services to start, for as long
/// as the installation takes.
const NO_SERVICES: &str = "/usr/sbin/policy-rc.d";

/// Where Debian installs nginx; the search path of others than root does not have it.
const DEBIAN_NGINX: &str = "/usr/sbin/nginx";

const CHROMIUM_NAMES: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// The folder of PostgreSQL's server programs, new enough.
///
/// # Errors
/// There is none, and none can be installed; the message has the command to run.
pub(crate) fn postgres() -> Result<PathBuf> {
    if let Some(found) = find_postgres()? {
        return Ok(found);
    }
    let mend = "or let LEADTRAIL_TEST_POSTGRES_URL name a server's superuser";
    install_without_main_cluster().with_context(|| mend.to_owned())?;
    find_postgres()?.with_context(|| {
        format!(
            "this system's PostgreSQL is older than {MAJOR_MIN}; install it from apt.postgresql.org, {mend}"
        )
    })
}

/// The newest new enough among `pg_config --bindir`, Debian's folders and the search path.
fn find_postgres() -> Result<Option<PathBuf>> {
    let mut folders = Vec::new();
    if process::on_path(&["pg_config"]).is_some() {
        folders.push(PathBuf::from(process::output(Command::new("pg_config").arg("--bindir"))?.trim()));
    }
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        for version in versions {
            folders.push(version?.path().join("bin"));
        }
    }
    folders.extend(process::on_path(&["postgres"]).and_then(|file| file.parent().map(Path::to_owned)));
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for folder in folders {
        // A client-only installation has pg_config but no server.
        if folder.join("initdb").is_file() && folder.join("postgres").is_file() {
            let version = process::output(Command::new(folder.join("postgres")).arg("--version"))?;
            if let Some(major) = postgres_major(&version).filter(|major| *major >= MAJOR_MIN) {
                found.push((major, folder));
            }
        }
    }
    Ok(found.into_iter().max_by_key(|(major, _folder)| *major).map(|(_major, folder)| folder))
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` or `… 18beta1`.
fn postgres_major(version: &str) -> Option<u32> {
    let number = version.split_whitespace().nth(2)?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn install_without_main_cluster() -> Result<()> {
    may_install("postgresql")?;
    let setting = Path::new(NO_MAIN_CLUSTER);
    if let Some(folder) = setting.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::write(setting, "create_main_cluster = false\n").context(NO_MAIN_CLUSTER)?;
    let installed = install("postgresql");
    fs::remove_file(setting).context(NO_MAIN_CLUSTER)?;
    installed
}

/// A Chromium or Chrome that runs.
///
/// # Errors
/// There is none, and none can be installed; the message has the command to run.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(named) = workspace::setting("LEADTRAIL_TEST_CHROMIUM") {
        let named = PathBuf::from(named);
        version_of(&named).context("LEADTRAIL_TEST_CHROMIUM")?;
        return Ok(named);
    }
    if let Some(found) = find_chromium() {
        return Ok(found);
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if is_ubuntu(&release) {
        bail!(
            "no Chromium, and Ubuntu's is a snap, which does not run everywhere: install Google Chrome's .deb, or let \
             LEADTRAIL_TEST_CHROMIUM name a Chromium"
        );
    }
    may_install("chromium")?;
    install("chromium")?;
    find_chromium().context("the package chromium was installed, but no Chromium runs")
}

/// An nginx that runs.
///
/// # Errors
/// There is none, and none can be installed; the message has the command to run.
pub(crate) fn nginx() -> Result<PathBuf> {
    if let Some(named) = workspace::setting("LEADTRAIL_TEST_NGINX") {
        let named = PathBuf::from(named);
        nginx_version(&named).context("LEADTRAIL_TEST_NGINX")?;
        return Ok(named);
    }
    if let Some(found) = find_nginx() {
        return Ok(found);
    }
    may_install("nginx-light")?;
    install_without_services("nginx-light")?;
    find_nginx().context("the package nginx-light was installed, but there is no nginx")
}

fn find_nginx() -> Option<PathBuf> {
    let debian = Path::new(DEBIAN_NGINX);
    process::on_path(&["nginx"]).or_else(|| debian.is_file().then(|| debian.to_owned()))
}

/// What nginx answers to `-v`; it does so on standard error.
///
/// # Errors
/// It cannot be run.
pub(crate) fn nginx_version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("-v").output().with_context(|| program.display().to_string())?;
    Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

fn install_without_services(package: &str) -> Result<()> {
    let policy = Path::new(NO_SERVICES);
    if policy.exists() {
        return install(package);
    }
    // 101 is "forbidden by policy".
    fs::write(policy, "#!/bin/sh\nexit 101\n").context(NO_SERVICES)?;
    let installed = fs::set_permissions(policy, fs::Permissions::from_mode(0o755))
        .context(NO_SERVICES)
        .and_then(|()| install(package));
    fs::remove_file(policy).context(NO_SERVICES)?;
    installed
}

/// A Python that can make virtual environments.
///
/// # Errors
/// There is none, and none can be installed; the message has the command to run.
pub(crate) fn python() -> Result<PathBuf> {
    if let Some(found) = find_python() {
        return Ok(found);
    }
    // On Debian a Python without this package has the module `venv`, but nothing to put pip into what it makes.
    may_install("python3-venv")?;
    install("python3-venv")?;
    find_python().context("the package python3-venv was installed, but python3 makes no virtual environments")
}

fn find_python() -> Option<PathBuf> {
    let python = process::on_path(&["python3"])?;
    let can = process::output(Command::new(&python).args(["-c", "import ensurepip, venv"])).is_ok();
    can.then_some(python)
}

/// The first that answers for its version: Ubuntu's `chromium-browser` may be a script that only names a snap.
fn find_chromium() -> Option<PathBuf> {
    CHROMIUM_NAMES.iter().find_map(|name| {
        let found = process::on_path(&[name])?;
        match version_of(&found) {
            Ok(_version) => Some(found),
            Err(error) => {
                eprintln!("xtask: passed over: {error:#}");
                None
            }
        }
    })
}

/// What a program answers to `--version`.
///
/// # Errors
/// It cannot be run.
pub(crate) fn version_of(program: &Path) -> Result<String> {
    Ok(process::output(Command::new(program).arg("--version"))?.trim().to_owned())
}

fn is_ubuntu(os_release: &str) -> bool {
    os_release.lines().any(|line| matches!(line, "ID=ubuntu" | "ID=\"ubuntu\""))
}

/// # Errors
/// This process may not install packages; the message has the command to run.
fn may_install(package: &str) -> Result<()> {
    if process::on_path(&["apt-get"]).is_none() {
        bail!("`{package}` is missing; install it with this system's package manager");
    }
    if process::user_id()? != 0 {
        bail!("`{package}` is missing; run: sudo apt-get install --no-install-recommends {package}");
    }
    Ok(())
}

fn install(package: &str) -> Result<()> {
    eprintln!("xtask: installing {package}");
    let apt_get = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet");
        command
    };
    process::run(apt_get().arg("update"))?;
    process::run(apt_get().args(["install", "--yes", "--no-install-recommends", package]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_of_releases_and_betas() {
        assert_eq!(postgres_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(postgres_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(postgres_major("postgres"), None);
    }

    #[test]
    fn ubuntu_is_told_from_its_neighbours() {
        assert!(is_ubuntu("NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n"));
        assert!(!is_ubuntu("ID=linuxmint\nID_LIKE=ubuntu\n"));
    }
}
