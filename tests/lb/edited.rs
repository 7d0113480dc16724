//! The shipped files of load balancers with another limit on what a reload leaves, and with a node less.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result, ensure};
use sluice_e2e::installed;

use crate::balancer::{Kind, changed};

/// What the shipped files say of the time after which old streams are cut, for nginx and Envoy in their comments.
const NGINX_LIMIT: &str = "worker_shutdown_timeout 75m;";
const HAPROXY_LIMIT: &str = "hard-stop-after 75m";
const CADDY_LIMIT: &str = "grace_period 75m";
const ENVOY_LIMITS: &str = "--drain-time-s 60 --parent-shutdown-time-s 4500";

/// How long streams are kept that were open before a reload or a stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    Shipped,
    Seconds(u64),
}

/// The words that a shipped file has in its comments for who starts the program.
fn shipped_comment(file: &str, words: &'static str) -> Result<&'static str> {
    let path = installed::root().join("deploy/lb").join(file);
    let text = fs::read_to_string(&path)?;
    ensure!(
        text.contains(words),
        "{} does not say {words}",
        path.display()
    );
    Ok(words)
}

/// The shipped file with this limit, and with a listener for orders where orders come that way.
pub fn limited(kind: Kind, limit: Limit, admin: SocketAddr, text: String) -> Result<String> {
    let said = |words: &str| match limit {
        Limit::Shipped => words.to_owned(),
        Limit::Seconds(seconds) => words.replace("75m", &format!("{seconds}s")),
    };
    match kind {
        Kind::Nginx => {
            let words = shipped_comment("nginx/sluice.conf", NGINX_LIMIT)?;
            // As root, the workers must stay root to reach the folder.
            let user = if is_root()? { "user root;\n" } else { "" };
            let head = format!("{user}{}\nworker_processes 1;", said(words));
            changed(text, &[("master_process off;", head)])
        }
        Kind::Haproxy => changed(text, &[(HAPROXY_LIMIT, said(HAPROXY_LIMIT))]),
        Kind::Caddy => changed(
            text,
            &[
                (CADDY_LIMIT, said(CADDY_LIMIT)),
                ("admin off", format!("admin {admin}")),
            ],
        ),
        Kind::Envoy => {
            let (before, rest) = text.split_once("\nadmin:\n").context("an admin listener")?;
            let (_, after) = rest.split_once("\nstatic_resources:").context("the rest")?;
            let admin = format!(
                "admin:\n  address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }}\n",
                admin.port()
            );
            Ok(format!("{before}\n{admin}\nstatic_resources:{after}"))
        }
    }
}

/// What Envoy is told of its limits at its start.
pub fn process_limits(limit: Limit) -> Result<String> {
    Ok(match limit {
        Limit::Shipped => shipped_comment("envoy/envoy.yaml", ENVOY_LIMITS)?.to_owned(),
        Limit::Seconds(seconds) => format!("--drain-time-s 1 --parent-shutdown-time-s {seconds}"),
    })
}

fn is_root() -> Result<bool> {
    let owner = fs::metadata(Path::new("/proc/self"));
    Ok(owner.map(|meta| std::os::unix::fs::MetadataExt::uid(&meta))? == 0)
}

/// A load balancer's file without one of its nodes.
pub fn without(kind: Kind, text: &str, node: SocketAddr) -> Result<String> {
    let named = match kind {
        Kind::Nginx | Kind::Haproxy | Kind::Caddy => node.to_string(),
        Kind::Envoy => format!("address: {}, port_value: {} ", node.ip(), node.port()),
    };
    ensure!(text.contains(&named), "the file does not name {named}");
    let mut lines: Vec<String> = Vec::new();
    let mut of_the_node = false;
    for line in text.lines() {
        match kind {
            Kind::Nginx | Kind::Haproxy if line.contains(&named) => {}
            Kind::Nginx | Kind::Haproxy => lines.push(line.to_owned()),
            Kind::Caddy => lines.push(line.replace(&format!(" {named}"), "")),
            // An endpoint is three lines: what it is, the address, and how its health is asked for.
            Kind::Envoy if line.contains(&named) => {
                lines.pop();
                of_the_node = true;
            }
            Kind::Envoy if of_the_node => of_the_node = false,
            Kind::Envoy => lines.push(line.to_owned()),
        }
    }
    Ok(lines.join("\n") + "\n")
}
