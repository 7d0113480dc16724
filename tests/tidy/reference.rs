//! The reference of docs/configuration.md is what gateway/src/defaults.toml and the types of the settings make of it.
//! `make reference` (`SLUICE_UPDATE_DOCS=1`) writes it anew.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use anyhow::{Context, Result, ensure};

use crate::{root, text};

const PAGE: &str = "docs/configuration.md";
const BEGIN: &str = "<!-- reference: begin -->\n";
const END: &str = "<!-- reference: end -->";
const ACCEPTED: &str = "Accepted: ";
const COLUMNS: usize = 120;

/// A type of the code as an operator reads it.
const KINDS: [(&str, &str); 16] = [
    ("Duration", "duration"),
    ("Option<Duration>", "duration"),
    ("Size", "size"),
    ("usize", "number"),
    ("u32", "number"),
    ("u64", "number"),
    ("bool", "switch"),
    ("SocketAddr", "address and port"),
    ("String", "text"),
    ("Option<String>", "text"),
    ("Option<Secret>", "secret text"),
    ("Option<RedisUrl>", "URL"),
    ("Vec<String>", "list"),
    ("Vec<Network>", "list"),
    ("Vec<JwtAlgorithm>", "list"),
    ("f64", "number"),
];

/// One setting as defaults.toml has it.
#[derive(Debug, Default, Eq, PartialEq)]
struct Setting {
    section: String,
    key: String,
    default: String,
    meaning: String,
    accepted: Option<String>,
}

/// The settings in their order; a setting without a comment is an error.
fn settings(defaults: &str) -> Result<Vec<Setting>> {
    let (mut section, mut comment, mut found) = (String::new(), Vec::new(), Vec::new());
    for line in defaults.lines() {
        if let Some(words) = line.strip_prefix('#') {
            comment.push(words.trim());
        } else if let Some((key, default)) = line.split_once(" = ") {
            ensure!(!comment.is_empty(), "{section}.{key} is not explained");
            let (meaning, accepted) = parted(&comment.join(" "));
            found.push(Setting {
                section: section.clone(),
                key: key.to_owned(),
                default: default.to_owned(),
                meaning,
                accepted,
            });
            comment.clear();
        } else {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
            }
            comment.clear();
        }
    }
    Ok(found)
}

/// What a setting means, and what it accepts: the sentence that begins so.
fn parted(comment: &str) -> (String, Option<String>) {
    let Some((before, from)) = comment.split_once(ACCEPTED) else {
        return (comment.to_owned(), None);
    };
    let (accepted, after) = from.split_once(". ").unwrap_or((from, ""));
    let meaning = format!("{} {after}", before.trim());
    let accepted = accepted.trim_end_matches('.').to_owned();
    (meaning.trim().to_owned(), Some(accepted))
}

/// The fields of the sections' structs by `section.key`, each with its type.
fn types(config: &str, sections: &str) -> Result<BTreeMap<String, String>> {
    let mut fields = BTreeMap::new();
    let whole = members(config, "Config").context("struct Config")?;
    let mut open: Vec<(String, String)> = whole
        .into_iter()
        .filter(|(name, _)| name != "dev")
        .collect();
    while let Some((path, kind)) = open.pop() {
        let inner = kind
            .ends_with("Config")
            .then(|| members(sections, &kind))
            .flatten();
        match inner {
            Some(inner) => open.extend(
                inner
                    .into_iter()
                    .map(|(name, kind)| (format!("{path}.{name}"), kind)),
            ),
            None => {
                fields.insert(path, kind);
            }
        }
    }
    Ok(fields)
}

/// Public fields of one struct: name and type.
fn members(code: &str, name: &str) -> Option<Vec<(String, String)>> {
    let (_, body) = code.split_once(&format!("pub struct {name} {{\n"))?;
    let lines = body.lines().take_while(|line| *line != "}");
    let fields = lines.filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": "));
    let owned = fields.map(|(name, kind)| (name.to_owned(), kind.trim_end_matches(',').to_owned()));
    Some(owned.collect())
}

/// The words of a closed choice, as `choice!` lists them.
fn choices(sections: &str, name: &str) -> Option<Vec<String>> {
    let (_, body) = sections.split_once(&format!("    {name} {{"))?;
    let (body, _) = body.split_once("\n}")?;
    let words = body.split('"').skip(1).step_by(2);
    Some(words.map(str::to_owned).collect())
}

fn kind_of(setting: &Setting, kind: &str, sections: &str) -> Result<String> {
    if let Some((_, words)) = KINDS.iter().find(|(name, _)| *name == kind) {
        return Ok((*words).to_owned());
    }
    let Setting { section, key, .. } = setting;
    let words = choices(sections, kind).with_context(|| {
        format!(
            "{section}.{key}: the type {kind} has no name in {}",
            file!()
        )
    })?;
    let said = setting.accepted.as_deref().unwrap_or_default();
    for word in &words {
        let told = said.contains(word.as_str()) || setting.meaning.contains(word.as_str());
        ensure!(
            told,
            "{section}.{key} accepts {word}, but defaults.toml does not say so"
        );
    }
    Ok("choice".to_owned())
}

fn reference() -> Result<String> {
    let sections = text("gateway/src/config/sections.rs")?;
    let mut types = types(&text("gateway/src/config.rs")?, &sections)?;
    let (mut page, mut section) = (String::new(), String::new());
    for setting in settings(&text("gateway/src/defaults.toml")?)? {
        let path = format!("{}.{}", setting.section, setting.key);
        let kind = types
            .remove(&path)
            .with_context(|| format!("{path} is no field of the configuration"))?;
        if setting.section != section {
            setting.section.clone_into(&mut section);
            writeln!(page, "\n### [{section}]")?;
        }
        let variable = path.to_uppercase().replace('.', "__");
        let default = match setting.default.as_str() {
            "\"\"" => "not set".to_owned(),
            "[]" => "empty".to_owned(),
            other => format!("`{}`", other.trim_matches('"')),
        };
        let mut facts = format!(
            "`SLUICE__{variable}`: {}, by default {default}",
            kind_of(&setting, &kind, &sections)?
        );
        if let Some(accepted) = &setting.accepted {
            write!(facts, "; accepted: {accepted}")?;
        }
        writeln!(page, "\n#### `{path}`\n")?;
        write!(page, "{}\n{}", wrapped(&setting.meaning), wrapped(&facts))?;
    }
    ensure!(types.is_empty(), "defaults.toml lacks {:?}", types.keys());
    Ok(page)
}

/// A paragraph in lines of a readable length, with what Markdown would take for markup outside of quotes escaped.
fn wrapped(paragraph: &str) -> String {
    if paragraph.is_empty() {
        return String::new();
    }
    let parts = paragraph.split('`').enumerate().map(|(at, part)| {
        if at % 2 == 1 {
            return part.to_owned();
        }
        part.replace('<', "&lt;").replace('*', "\\*")
    });
    let escaped: Vec<String> = parts.collect();
    let (mut lines, mut line) = (String::new(), String::new());
    for word in escaped.join("`").split(' ') {
        if !line.is_empty() && line.len() + word.len() >= COLUMNS {
            lines += &format!("{line}\n");
            line.clear();
        }
        line += if line.is_empty() { "" } else { " " };
        line += word;
    }
    format!("{lines}{line}\n")
}

/// Every setting stands on the page with its variable, kind, default, accepted values and meaning, and no other does.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' own variable, not a setting of the gateway"
)]
fn the_reference_of_settings_is_that_of_the_code() -> Result<()> {
    let page = text(PAGE)?;
    let (before, rest) = page
        .split_once(BEGIN)
        .context("the reference's beginning")?;
    let (written, after) = rest.split_once(END).context("the reference's end")?;
    let made = reference()?;
    if std::env::var_os("SLUICE_UPDATE_DOCS").is_some() {
        let page = format!("{before}{BEGIN}{made}\n{END}{after}");
        return Ok(fs::write(root().join(PAGE), page)?);
    }
    let differs = made
        .lines()
        .zip(written.lines())
        .find(|(made, written)| made != written);
    assert!(
        written.trim_end() == made.trim_end(),
        "{PAGE} is not what the code makes of it; `make reference` renews it. First difference: {differs:?}"
    );
    Ok(())
}

#[test]
fn a_setting_is_read_with_all_its_comment_says() -> Result<()> {
    let found = settings(
        "# Of the file.\n\n[a.b]\n# What it\n# is. Accepted: 1s to 5m, and not below a.c. More.\nkey = \"2s\"\n",
    )?;
    let want = Setting {
        section: "a.b".to_owned(),
        key: "key".to_owned(),
        default: "\"2s\"".to_owned(),
        meaning: "What it is. More.".to_owned(),
        accepted: Some("1s to 5m, and not below a.c".to_owned()),
    };
    assert_eq!(found, [want]);
    assert!(
        settings("[a]\nkey = 1\n").is_err(),
        "an unexplained setting is refused"
    );
    Ok(())
}
