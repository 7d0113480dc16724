//! What the documents name, the code has; and the other way round where a page promises to be complete.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result};

use crate::{documents, files, none, quoted, root, text, words};

/// The settings of `defaults.toml` as `section.key`.
fn settings() -> Result<BTreeSet<String>> {
    Ok(defaults()?.into_keys().collect())
}

/// The same with their defaults, as they are written there.
pub fn defaults() -> Result<BTreeMap<String, String>> {
    let mut section = "";
    let mut keys = BTreeMap::new();
    let defaults = text("gateway/src/defaults.toml")?;
    for line in defaults.lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = name;
        } else if let Some((key, value)) = line.split_once(" = ")
            && !line.starts_with('#')
        {
            keys.insert(format!("{section}.{key}"), value.to_owned());
        }
    }
    Ok(keys)
}

/// `SLUICE__SECTION__KEY` anywhere outside Rust code, and `section.key` in documents, are settings.
#[test]
fn settings_that_are_named_exist() -> Result<()> {
    let known = settings()?;
    let sections: BTreeSet<&str> = known
        .iter()
        .filter_map(|key| key.split_once('.'))
        .map(|(section, _)| section)
        .collect();
    let mut complaints = Vec::new();
    for (name, text) in files()?.iter().filter(|(name, _)| !name.ends_with(".rs")) {
        for word in words(text, "SLUICE__", |c| {
            c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
        }) {
            let key = word
                .trim_start_matches("SLUICE__")
                .to_lowercase()
                .replace("__", ".");
            let is_the_pattern = ["", "section.key"].contains(&key.as_str());
            if !is_the_pattern && !known.contains(&key) {
                complaints.push(format!("{name}: {word} is no setting"));
            }
        }
        if !name.ends_with(".md") {
            continue;
        }
        for quote in quoted(text) {
            let key = quote.split(" = ").next().unwrap_or(quote);
            let has_section = key.split_once('.').is_some_and(|(section, rest)| {
                sections.contains(section)
                    && rest
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || "_.".contains(c))
            });
            let is_file = key.ends_with(".rs");
            if has_section && !is_file && !known.contains(key) {
                complaints.push(format!("{name}: `{key}` is no setting"));
            }
        }
    }
    none(&complaints);
    Ok(())
}

/// The routes in the code that routes: method and path.
fn routes() -> Result<BTreeSet<String>> {
    let mut routes = BTreeSet::new();
    for path in [
        "gateway/src/http/routes.rs",
        "gateway/src/http/probes.rs",
        "gateway/src/http/admin/mod.rs",
    ] {
        let code = text(path)?;
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        let constants: BTreeMap<&str, &str> = code
            .lines()
            .filter_map(|line| {
                line.trim_start_matches("pub ")
                    .strip_prefix("const ")?
                    .split_once(": &str = ")
            })
            .map(|(name, value)| (name, value.trim_matches(['"', ';'])))
            .collect();
        let mut resource = String::new();
        for line in code.lines().map(str::trim) {
            let named = line
                .split_once("web::resource(")
                .or_else(|| line.split_once(".route("));
            if let Some((_, rest)) = named {
                let name = rest.split([',', ')']).next().unwrap_or_default();
                let name = constants
                    .get(name)
                    .copied()
                    .unwrap_or(name)
                    .trim_matches('"');
                if name.starts_with('/') {
                    name.clone_into(&mut resource);
                }
            }
            for method in ["get", "head", "post", "delete", "put"] {
                if line.contains(&format!("web::{method}()")) {
                    routes.insert(format!("{} {resource}", method.to_uppercase()));
                }
            }
        }
    }
    Ok(routes)
}

#[test]
fn documented_routes_are_those_of_the_router() -> Result<()> {
    let page = text("docs/http.md")?;
    let section = page
        .split("## Routes")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next());
    let documented: BTreeSet<String> = quoted(section.context("the section on routes")?)
        .into_iter()
        .filter(|quote| quote.contains(" /"))
        .map(str::to_owned)
        .collect();
    assert_eq!(documented, routes()?);
    Ok(())
}

#[test]
fn documented_problem_codes_are_those_of_the_code() -> Result<()> {
    let code = text("gateway/src/http/problem.rs")?;
    let (_, table) = code
        .split_once("\ncodes! {")
        .context("the table of codes")?;
    let known: BTreeSet<&str> = table
        .lines()
        .take_while(|line| *line != "}")
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    let page = text("docs/http.md")?;
    let (_, section) = page
        .split_once("## Problems")
        .context("the section on problems")?;
    let (_, rows) = section.split_once("| --- | --- |").context("its table")?;
    let (rows, _) = rows.split_once("\n\n").context("its end")?;
    let codes = rows.lines().filter_map(|row| row.split('|').nth(1));
    let documented: BTreeSet<&str> = codes
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert_eq!(documented, known);
    Ok(())
}

/// Every metric is documented, every documented one exists; so with the label values.
#[test]
fn documented_metrics_are_those_of_the_registry() -> Result<()> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let files = files()?;
    let known: BTreeSet<&str> = files
        .iter()
        .filter(|(path, _)| path.starts_with("gateway/src/metrics") && !path.ends_with("tests.rs"))
        .filter_map(|(_, code)| code.split("#[cfg(test)]").next())
        .flat_map(|code| code.split('"').skip(1).step_by(2))
        .filter(|text| text.starts_with("sluice_"))
        .collect();
    let page = text("docs/metrics.md")?;
    assert_eq!(words(&page, "sluice_", is_name), known);

    let reasons = text("gateway/src/reasons.rs")?;
    let labels = reasons
        .lines()
        .filter_map(|line| line.trim().strip_suffix("\",")?.split_once(" = \""));
    let quotes = quoted(&page);
    let missing: Vec<&str> = labels
        .map(|(_, label)| label)
        .filter(|label| !quotes.contains(label))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/metrics.md lacks the label values {missing:?}"
    );

    let functions = text("wire/src/publish.lua")? + &text("wire/src/publish.rs")?;
    let mut complaints = Vec::new();
    for (name, text) in documents()? {
        for quote in quoted(&text)
            .iter()
            .flat_map(|quote| words(quote, "sluice_", is_name))
        {
            if !known.contains(quote) && !functions.contains(quote) && quote != "sluice_gateway" {
                complaints.push(format!("{name}: there is no {quote}"));
            }
        }
    }
    none(&complaints);
    Ok(())
}

/// Each `[text](target)` in a document leads to a file, and `#heading` to a heading of it.
#[test]
fn links_resolve() -> Result<()> {
    let documents = documents()?;
    let mut complaints = Vec::new();
    for (name, text) in &documents {
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(name).parent().unwrap_or(Path::new(""));
            let target = if path.is_empty() {
                root().join(name)
            } else {
                root().join(folder).join(path)
            };
            let has_heading = heading.is_empty()
                || fs::read_to_string(&target)
                    .is_ok_and(|text| text.lines().any(|line| slug(line) == heading));
            if !target.exists() || !has_heading {
                complaints.push(format!("{name}: {link} leads nowhere"));
            }
        }
    }
    none(&complaints);
    Ok(())
}

/// A heading's anchor as code hosts make it; empty for other lines.
fn slug(line: &str) -> String {
    let Some(heading) = line.strip_prefix('#') else {
        return String::new();
    };
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// ARCHITECTURE.md names, for each invariant, tests that hold it: each exists.
#[test]
fn tests_that_hold_the_invariants_exist() -> Result<()> {
    let page = text("ARCHITECTURE.md")?;
    let (_, section) = page
        .split_once("## Invariants")
        .context("the section on invariants")?;
    let named = quoted(section).into_iter().filter(|quote| {
        quote.matches('_').count() >= 2
            && quote
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    });
    let files = files()?;
    let missing: Vec<&str> = named
        .filter(|test| {
            let definition = format!("fn {test}(");
            !files.values().any(|text| text.contains(&definition))
        })
        .collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md names tests that do not exist: {missing:?}"
    );
    Ok(())
}
