//! nginx.conf around the files of deploy/lb/nginx, for a run that owns nothing but its folder.

use std::path::Path;

/// Directives for a run in the foreground whose worker is the process itself, so that killing that leaves none behind.
pub const ONE_PROCESS: &str = "daemon off;\nmaster_process off;\n";
/// A stream takes two of a worker; as many as one process may open here.
const WORKER_CONNECTIONS: usize = 16_384;
/// What nginx keeps in folders of its own.
const KEPT: [&str; 5] = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];

/// The file, with `main` at its head and `servers` in its `http`.
pub fn around(folder: &Path, main: &str, servers: &str) -> String {
    let folder = folder.display();
    let temporary = KEPT.map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"));
    let temporary = temporary.concat();
    format!(
        "{main}pid {folder}/nginx.pid;\nevents {{ worker_connections {WORKER_CONNECTIONS}; }}\n\
         http {{\naccess_log off;\n{temporary}{servers}\n}}\n"
    )
}
