//! The site of the documents (`make docs`) has every page, and no page of it leads to one that it lacks.

use std::{collections::BTreeSet, path::Path};

use anyhow::Result;

use crate::{documents, none, text};

const SUMMARY: &str = "docs/SUMMARY.md";
/// What the site shows beside the pages in docs/.
const AT_THE_TOP: [&str; 4] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "SECURITY.md",
];

/// What a page links to inside the repository, as paths from its root; headings cut off.
fn targets(page: &str, text: &str) -> BTreeSet<String> {
    let folder = Path::new(page).parent().unwrap_or(Path::new(""));
    let links = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|link| !link.contains("://"))
        .filter_map(|link| link.split('#').next())
        .filter(|path| !path.is_empty());
    links.map(|path| plain(&folder.join(path))).collect()
}

/// The path without `..`.
fn plain(path: &Path) -> String {
    let mut parts = Vec::new();
    for part in path {
        match part.to_str() {
            Some("..") => drop(parts.pop()),
            Some(".") | None => {}
            Some(part) => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn the_site_has_every_page_and_each_that_its_pages_lead_to() -> Result<()> {
    let chapters = targets(SUMMARY, &text(SUMMARY)?);
    let pages = documents()?;
    let mut complaints = Vec::new();
    for page in pages.keys() {
        let belongs = page.starts_with("docs/") || AT_THE_TOP.contains(&page.as_str());
        if belongs && page != SUMMARY && !chapters.contains(page) {
            complaints.push(format!("{SUMMARY} leaves {page} out"));
        }
    }
    for chapter in &chapters {
        let Some(text) = pages.get(chapter) else {
            complaints.push(format!("{SUMMARY} names {chapter}, which is not there"));
            continue;
        };
        let pages = targets(chapter, text);
        let pages = pages.iter().filter(|target| target.ends_with(".md"));
        for target in pages.filter(|target| !chapters.contains(*target)) {
            complaints.push(format!(
                "{chapter} leads to {target}, which {SUMMARY} leaves out"
            ));
        }
    }
    none(&complaints);
    Ok(())
}

#[test]
fn links_are_read_as_paths_from_the_root() {
    let text = "[a](../README.md#x) [b](adr/0001-chain.md) [c](#here) [d](https://e.example/f)";
    let want = ["README.md", "docs/adr/0001-chain.md"].map(str::to_owned);
    assert_eq!(targets("docs/a.md", text), BTreeSet::from(want));
}
