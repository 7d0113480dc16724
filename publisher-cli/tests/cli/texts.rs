//! `sluice completions` and `sluice man`.

use std::process::Command;

use crate::support::{run, run_with_input, sluice};

/// Whether a program of this name is on this machine.
fn is_there(program: &str) -> bool {
    run(shell(&format!("command -v {program} >&2"))).code == 0
}

fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    command
}

/// The commands as `sluice --help` lists them.
fn commands() -> Vec<String> {
    listed(&["--help"])
}

fn listed(help: &[&str]) -> Vec<String> {
    let help = run(sluice(help)).stdout;
    let list = help.split("Commands:\n").nth(1).unwrap();
    list.lines()
        .map_while(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_shell_gets_completions_of_every_command() {
    let commands = commands();
    assert!(commands.len() >= 7, "{commands:?}");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = run(sluice(&["completions", shell]));
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{shell}");
        for name in &commands {
            assert!(ran.stdout.contains(name.as_str()), "{shell}: {name}");
        }
    }
}

/// The script is sourced and asked, as a Tab in the shell would.
#[test]
fn bash_completes_with_it() {
    if !is_there("bash") {
        println!("there is no bash here: nothing was shown");
        return;
    }
    let script = run(sluice(&["completions", "bash"])).stdout;
    let mut check = Command::new("bash");
    check.arg("-n");
    let ran = run_with_input(check, Some(script.as_bytes()));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));

    let ask = "\nCOMP_WORDS=(sluice hist) COMP_CWORD=1; _sluice sluice hist sluice; echo \"${COMPREPLY[@]}\"\
        \nCOMP_WORDS=(sluice history --lim) COMP_CWORD=2; _sluice sluice --lim history; echo \"${COMPREPLY[@]}\"\n";
    let mut bash = Command::new("bash");
    bash.arg("--norc");
    let ran = run_with_input(bash, Some(format!("{script}{ask}").as_bytes()));
    assert_eq!(ran.stdout, "history\n--limit\n", "{}", ran.stderr);
}

#[test]
fn there_is_a_page_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("share/man/man1");
    let mut man = sluice(&["man", "--dir"]);
    man.arg(&pages);
    let ran = run(man);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let mut expected: Vec<String> = commands()
        .iter()
        .map(|name| format!("sluice-{name}.1"))
        .collect();
    expected.push("sluice.1".into());
    let of_token = listed(&["token", "--help"]);
    assert_eq!(of_token.len(), 5);
    expected.extend(of_token.iter().map(|name| format!("sluice-token-{name}.1")));
    let mut written: Vec<String> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut told: Vec<String> = ran
        .lines()
        .iter()
        .map(|path| path.rsplit('/').next().unwrap().to_owned())
        .collect();
    for names in [&mut expected, &mut written, &mut told] {
        names.sort();
    }
    assert_eq!((&written, &told), (&expected, &expected));
    for name in &written {
        let page = std::fs::read_to_string(pages.join(name)).unwrap();
        assert!(page.contains("\n.SH SYNOPSIS\n"), "{name}");
        if is_there("groff") {
            let mut groff = Command::new("groff");
            groff.args(["-man", "-ww", "-z"]).arg(pages.join(name));
            let ran = run(groff);
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{name}");
        }
    }
}

#[test]
fn a_page_is_read_by_man() {
    let page = run(sluice(&["man", "history"]));
    assert_eq!(page.code, 0);
    assert!(page.stdout.contains("sluice\\-history"), "{}", page.stdout);
    assert!(run(sluice(&["man"])).stdout.contains("sluice\\-history(1)"));
    let of_token = run(sluice(&["man", "token"])).stdout;
    assert!(of_token.contains("sluice\\-token\\-mint(1)"), "{of_token}");
    let mint = run(sluice(&["man", "token-mint"])).stdout;
    assert!(mint.contains("\\-\\-subscribe"), "{mint}");
    if !is_there("man") {
        return;
    }
    let mut man = shell("MANWIDTH=80 man -l -");
    man.env("LC_ALL", "C");
    let ran = run_with_input(man, Some(page.stdout.as_bytes()));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for words in ["SYNOPSIS", "sluice history", "--limit", "SLUICE_REDIS_URL"] {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
}

#[test]
fn a_page_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut man = sluice(&["man", "--dir"]);
    man.arg(&file);
    let ran = run(man);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr
            .starts_with(&format!("error: cannot write {}: ", file.display())),
        "{}",
        ran.stderr
    );
}
