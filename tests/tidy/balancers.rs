//! docs/load-balancers.md names the settings of the files in deploy/lb: each is there.

use anyhow::{Context, Result, ensure};

use crate::{files, none, text};

/// A load balancer's name on the page, and its folder in deploy/lb.
const FOLDERS: [(&str, &str); 4] = [
    ("nginx", "deploy/lb/nginx/"),
    ("HAProxy", "deploy/lb/haproxy/"),
    ("Envoy", "deploy/lb/envoy/"),
    ("Caddy", "deploy/lb/caddy/"),
];
/// Fewer rows than there were in the beginning mean that the table was not found.
const LEAST_SETTINGS: usize = 20;

/// The lines of all files in a folder that are no comments.
fn lines(folder: &str) -> Result<String> {
    let files = files()?;
    let of_folder = files.iter().filter(|(name, _)| name.starts_with(folder));
    let lines: Vec<&str> = of_folder
        .flat_map(|(_, text)| text.lines())
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .collect();
    ensure!(!lines.is_empty(), "{folder} is empty");
    Ok(lines.join("\n"))
}

#[test]
fn settings_of_load_balancers_that_the_page_names_are_in_the_shipped_files() -> Result<()> {
    let page = text("docs/load-balancers.md")?;
    let (_, section) = page
        .split_once("## The settings that matter")
        .context("the section on settings")?;
    let (section, _) = section.split_once("\n## ").context("its end")?;
    let (mut complaints, mut count) = (Vec::new(), 0);
    for row in section.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let Some((name, folder)) = FOLDERS.iter().find(|(name, _)| cells[1] == *name) else {
            continue;
        };
        let shipped = lines(folder)?;
        for setting in cells[2].split('`').skip(1).step_by(2) {
            count += 1;
            if !shipped.contains(setting) {
                complaints.push(format!("{name}: {folder} does not say {setting}"));
            }
        }
    }
    none(&complaints);
    ensure!(count >= LEAST_SETTINGS, "{count} settings were found");
    Ok(())
}
