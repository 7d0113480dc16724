//! docs/auth.md: the programs on it are those of tests/tokens, and its shell lines can be taken from it.

use std::fs;

use anyhow::{Context, Result, ensure};
use sluice_e2e::installed::root;

const PAGE: &str = "docs/auth.md";
const MARK: &str = "<!-- program: ";
const UPDATE: &str = "SLUICE_UPDATE_DOCS";

fn text() -> Result<String> {
    fs::read_to_string(root().join(PAGE)).context(PAGE)
}

/// The page's `sh` blocks below a heading, up to the next of its rank.
pub fn shell_blocks(heading: &str) -> Result<Vec<String>> {
    let page = text()?;
    let (_, section) = page
        .split_once(&format!("\n{heading}\n"))
        .with_context(|| format!("{PAGE} lacks {heading}"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let fenced = section.split("```").skip(1).step_by(2);
    let blocks = fenced.filter_map(|block| block.strip_prefix("sh\n"));
    Ok(blocks.map(str::to_owned).collect())
}

/// What a program shows: the part between its marks, or, without marks, all of it.
fn shown(program: &str) -> Result<String> {
    let path = root().join("tests/tokens").join(program);
    let text = fs::read_to_string(path).with_context(|| program.to_owned())?;
    let marked = text.split_once("docs: begin\n").map(|(_, rest)| rest);
    let marked = marked.and_then(|rest| rest.split_once("// docs: end"));
    Ok(marked.map_or(text.clone(), |(part, _)| part.to_owned()))
}

/// Compares the page's programs with those that run, or, when asked to by `SLUICE_UPDATE_DOCS=1`, writes them.
pub fn compare_or_write<'a>(programs: impl Iterator<Item = &'a str>) -> Result<()> {
    let page = text()?;
    let mut made = page.clone();
    for program in programs {
        let mark = format!("{MARK}{program} -->\n");
        let (before, rest) = made
            .split_once(&mark)
            .with_context(|| format!("{PAGE} lacks {}", mark.trim()))?;
        let (fence, rest) = rest.split_once('\n').context("a program's fence")?;
        ensure!(fence.starts_with("```"), "{program}: a fence must follow");
        let (_, after) = rest.split_once("```\n").context("a program's end")?;
        made = format!("{before}{mark}{fence}\n{}```\n{after}", shown(program)?);
    }
    if made != page && is_to_write() {
        fs::write(root().join(PAGE), &made)?;
        return Ok(());
    }
    ensure!(
        made == page,
        "the programs of {PAGE} are not those that run: renew them with `scripts/tokens --update`"
    );
    Ok(())
}

#[allow(
    clippy::disallowed_methods,
    reason = "the tests' own variable, not a setting of the gateway"
)]
fn is_to_write() -> bool {
    std::env::var(UPDATE).is_ok_and(|value| value == "1")
}
