//! A reverse proxy that serves a site and, under a path of that site, the service.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::process::{Home, poll};

/// How often another port is tried where somebody else took the first.
const ATTEMPTS: usize = 5;

/// One nginx for all sites. The name of a site says where its pages and its way to the service are:
/// `pages-PORT-gate-PORT.proxy.test`.
pub(crate) struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    pub(crate) fn start(home: &Home) -> Result<Self> {
        for _attempt in 0..ATTEMPTS {
            if let Some(nginx) = Self::attempt(home)? {
                return Ok(nginx);
            }
        }
        bail!("nginx does not start: {}", fs::read_to_string(home.path("nginx.log"))?)
    }

    /// `None` where it ended at once.
    fn attempt(home: &Home) -> Result<Option<Self>> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = home.path("").display().to_string();
        fs::write(home.path("nginx.conf"), CONFIGURATION.replace("PORT", &port.to_string()))?;
        let program = program();
        let mut command = Command::new(&program);
        command.args(["-p", &folder, "-c", "nginx.conf", "-e", "nginx.log"]);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| {
            format!(
                "{}: let LEADTRAIL_TEST_NGINX name an nginx, or run `cargo xtask test`, which installs one",
                program.display()
            )
        })?;
        let mut nginx = Self { child, port };
        let listens = poll("nginx", || {
            if nginx.child.try_wait()?.is_some() {
                return Ok(Some(false));
            }
            Ok(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true))
        })?;
        Ok(listens.then_some(nginx))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("ending nginx: {error}");
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "which proxy to test with is the machine's matter, not the product's"
)]
fn program() -> PathBuf {
    match std::env::var_os("LEADTRAIL_TEST_NGINX").filter(|named| !named.is_empty()) {
        Some(named) => PathBuf::from(named),
        // Debian installs it where only root looks.
        None if PathBuf::from("/usr/sbin/nginx").is_file() => PathBuf::from("/usr/sbin/nginx"),
        None => PathBuf::from("nginx"),
    }
}

/// One process without privileges, with all its files in its folder.
const CONFIGURATION: &str = r"
daemon off;
master_process off;
pid nginx.pid;
error_log nginx.log warn;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path nginx-body;
    proxy_temp_path nginx-proxy;
    fastcgi_temp_path nginx-fastcgi;
    uwsgi_temp_path nginx-uwsgi;
    scgi_temp_path nginx-scgi;
    server {
        listen 127.0.0.1:PORT;
        server_name ~^pages-(?<pages>\d+)-gate-(?<gate>\d+)\.proxy\.test$;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        location / { proxy_pass http://127.0.0.1:$pages; }
        location /lt/ {
            rewrite ^/lt(/.*)$ $1 break;
            proxy_pass http://127.0.0.1:$gate;
        }
    }
}
";
