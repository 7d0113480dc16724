//! Images built by buildah from deploy/docker/Dockerfile, whose build stage is replaced by programs that were built before; and
//! containers of them as a runtime makes them: an own root that is read-only, an own process tree, the image's user, no rights.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluice_e2e::{installed, wait};
use tokio::process::{Child, Command};

use crate::{
    server::PATIENCE,
    tools::{self, Ended, only_child, run},
};

/// Names the folder of static programs to put into the images.
const PROGRAMS_VARIABLE: &str = "SLUICE_IMAGE_PROGRAMS";

/// Where the programs are: the release ones, or those of the development profile.
#[allow(
    clippy::disallowed_methods,
    reason = "the tests' own variable, not a setting of the gateway"
)]
pub fn programs() -> Result<PathBuf> {
    let path = std::env::var_os(PROGRAMS_VARIABLE);
    path.map(PathBuf::from).with_context(|| {
        format!("{PROGRAMS_VARIABLE} is not set: scripts/image-test builds and sets it")
    })
}

/// A built image.
pub struct Image {
    storage: Vec<String>,
    /// As Docker's format has it: `Config` is in `config`.
    pub config: Value,
    /// Its files.
    root: PathBuf,
}

/// A file of an image: permissions and bytes.
pub type Files = BTreeMap<String, (u32, u64)>;

impl Image {
    /// Builds `target` of the Dockerfile, with `bundle` as the authorities that the build stage has.
    pub async fn build(dir: &Path, target: &str, bundle: &str) -> Result<Image> {
        let out = dir.join("build/out");
        fs::create_dir_all(&out)?;
        for program in ["sluice-gateway", "sluice"] {
            fs::copy(programs()?.join(program), out.join(program))?;
        }
        fs::copy(installed::root().join("LICENSE"), out.join("LICENSE"))?;
        fs::write(out.join("ca-certificates.crt"), bundle)?;
        let at = |name: &str| dir.join(name).display().to_string();
        let storage = [
            "--storage-driver",
            "vfs",
            "--root",
            &at("storage"),
            "--runroot",
            &at("run"),
        ];
        let storage: Vec<String> = storage.map(str::to_owned).to_vec();
        let image = Image {
            storage,
            config: Value::Null,
            root: PathBuf::new(),
        };
        let context = format!("build={}", at("build"));
        let words = [
            "bud",
            "--isolation",
            "chroot",
            "--format",
            "docker",
            "--build-context",
            &context,
            "--target",
            target,
            "--build-arg",
            "REVISION=0123abc",
            "--tag",
            target,
            "--file",
            "deploy/docker/Dockerfile",
            ".",
        ];
        image.buildah(&words).await?;
        let inspected: Value = serde_json::from_str(
            &image
                .buildah(&["inspect", "--type", "image", target])
                .await?,
        )?;
        let config = inspected["Docker"]["config"].clone();
        ensure!(config.is_object(), "{inspected}");
        image
            .buildah(&["from", "--name", &format!("{target}-c"), target])
            .await?;
        let root = image
            .buildah(&["mount", &format!("{target}-c")])
            .await?
            .trim()
            .into();
        Ok(Image {
            config,
            root,
            ..image
        })
    }

    async fn buildah(&self, words: &[&str]) -> Result<String> {
        let all: Vec<&str> = self
            .storage
            .iter()
            .map(String::as_str)
            .chain(words.iter().copied())
            .collect();
        run("buildah", &all).await
    }

    /// All files, by path; a folder or a link that belongs to anybody but root is an error.
    pub fn files(&self) -> Result<Files> {
        let (mut files, mut folders) = (Files::new(), vec![self.root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let facts = fs::symlink_metadata(&path)?;
                ensure!(
                    facts.uid() == 0 && facts.gid() == 0,
                    "{} is not root's",
                    path.display()
                );
                if facts.is_dir() {
                    folders.push(path);
                } else {
                    let name = format!("/{}", path.strip_prefix(&self.root)?.display());
                    files.insert(name, (facts.mode(), facts.len()));
                }
            }
        }
        Ok(files)
    }

    /// The texts of a list in the configuration.
    pub fn list(&self, name: &str) -> Vec<String> {
        let list = self.config[name].as_array().cloned().unwrap_or_default();
        list.iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    /// A container, with the files that a runtime adds for the network.
    pub fn container(&self, dir: &Path, name: &str, name_server: &str) -> Result<Container> {
        let root = dir.join(name);
        for (file, _) in self.files()? {
            let to = root.join(file.trim_start_matches('/'));
            fs::create_dir_all(to.parent().context("a folder")?)?;
            fs::copy(self.root.join(file.trim_start_matches('/')), &to)?;
        }
        fs::create_dir_all(root.join("proc"))?;
        fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
        fs::write(
            root.join("etc/resolv.conf"),
            format!("nameserver {name_server}\n"),
        )?;
        let user = self.config["User"].as_str().context("a user")?.to_owned();
        Ok(Container {
            root,
            user,
            environment: self.list("Env"),
            log: dir.join(format!("{name}.log")),
        })
    }
}

/// The root of a container, and what runs in it.
#[derive(Clone)]
pub struct Container {
    pub root: PathBuf,
    user: String,
    pub environment: Vec<String>,
    log: PathBuf,
}

/// Makes the root, enters it and drops all rights; its arguments are the root, the user, and the command with its variables.
const ENTER: &str = r#"
root=$1 user=$2 chroot=$(command -v chroot)
shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs env -i VARIABLES "$chroot" --userspec="$user" "$root" "$@"
"#;

impl Container {
    /// The command that runs `words` in it.
    fn command(&self, words: &[&str]) -> Command {
        let variables: Vec<String> = self
            .environment
            .iter()
            .map(|one| format!("'{one}'"))
            .collect();
        let script = ENTER.replace("VARIABLES", &variables.join(" "));
        // A tree within a tree: the program is the first process of the inner one, as in a container, and not root; the outer one's
        // first is `unshare`, which is, and takes all with it.
        let mut command = tools::tree(&["unshare", "--mount", "--pid", "--fork"]);
        command
            .args(["sh", "-euc", &script, "sh"])
            .arg(&self.root)
            .arg(&self.user)
            .args(words);
        command
    }

    /// Runs `words` to their end.
    pub async fn run(&self, words: &[&str]) -> Result<Ended> {
        tools::ended(self.command(words)).await
    }

    /// Starts `words` and gives the process around them, and their own process id.
    pub async fn start(&self, words: &[&str]) -> Result<(Child, u32)> {
        let log = fs::File::create(&self.log)?;
        let child = self
            .command(words)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            .kill_on_drop(true)
            .spawn()?;
        let around = child.id().context("unshare has ended")?;
        let program = Path::new(words[0]).file_name().context("a program")?;
        let inside = wait::until(PATIENCE, "the program runs", async || {
            let Some(pid) = only_child(around).and_then(only_child) else {
                return Ok(None);
            };
            // Before, it is the shell, or chroot.
            let runs =
                fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with(program));
            Ok(runs.then_some(pid))
        })
        .await
        .with_context(|| self.said())?;
        Ok((child, inside))
    }

    /// What it wrote.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}
