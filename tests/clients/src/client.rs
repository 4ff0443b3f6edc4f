//! Where other people's clients come from, and what runs a script for one of them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;

/// Where a scenario's client comes from.
#[derive(Clone, Copy, Debug)]
pub enum Client {
    /// Packages of PyPI, in a virtual environment.
    Python(&'static [&'static str]),
    /// A package of npm.
    Node(&'static str),
    /// A program of a Debian package of the same name.
    Debian(&'static str),
    /// Crates and what a manifest says of each; one of them links OpenSSL. The script is a program of its own, built
    /// outside our workspace, so that nobody compiles librdkafka who only wants to test ours.
    Rust(&'static [(&'static str, &'static str)]),
    /// Java and the classes of a real Kafka.
    Kafka,
    /// A program that has to be there; the script gets the rest by itself.
    Present(&'static str),
}

/// What runs a script, the script included.
#[derive(Debug, Default)]
pub(crate) struct Installed {
    pub(crate) command: Vec<OsString>,
    pub(crate) environment: Vec<(&'static str, OsString)>,
}

/// Why there is nothing to run.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// What this machine lacks.
    Missing(String),
    /// What is wrong with the script.
    Wrong(String),
}

impl From<String> for Obstacle {
    fn from(missing: String) -> Obstacle {
        Obstacle::Missing(missing)
    }
}

impl Client {
    /// Installs the client.
    pub(crate) fn install(&self, script: &Path, shared: &Path) -> Result<Installed, Obstacle> {
        let home = std::env::var_os("HOME").ok_or("HOME is not set".to_owned())?;
        let cache = Path::new(&home).join(".cache/brooklet");
        let with = |program: OsString| vec![program, script.into()];
        let mut installed = Installed::default();
        match self {
            Client::Python(packages) => {
                installed.command = with(python(&cache, packages)?.into());
            }
            Client::Node(package) => {
                let folder = cache.join("node");
                run(Command::new("npm")
                    .args(["install", "--silent", "--prefix"])
                    .arg(&folder)
                    .arg(package))?;
                installed.command = with("node".into());
                installed.environment = vec![
                    ("NODE_PATH", folder.join("node_modules").into()),
                    ("KAFKAJS_NO_PARTITIONER_WARNING", "1".into()),
                ];
            }
            Client::Debian(package) => {
                debian(&[package], Command::new(package).arg("-V"))?;
                installed.command = with("bash".into());
            }
            Client::Rust(crates) => installed.command = vec![rust(&cache, script, crates)?.into()],
            Client::Kafka => {
                let tool = shared.join("tools/kafka/kafka");
                run(Command::new(&tool).arg("fetch"))?;
                installed.command = with("bash".into());
                installed.environment = vec![("KAFKA_TOOL", tool.into())];
            }
            Client::Present(program) => {
                let found = run(Command::new("sh").args(["-c", "command -v \"$0\"", program]));
                found.map_err(|_| format!("{program} is not on this machine"))?;
                installed.command = with("bash".into());
            }
        }
        Ok(installed)
    }
}

/// Installs Debian's packages where `present` does not succeed without them.
fn debian(packages: &[&str], present: &mut Command) -> Result<(), String> {
    if run(present).is_ok() {
        return Ok(());
    }
    run(Command::new("apt-get").args(["update", "-q"]))?;
    run(Command::new("apt-get").args(["install", "-qy"]).args(packages))
}

/// OpenSSL as those need it who compile a client with TLS.
pub(crate) fn openssl() -> Result<(), String> {
    let present = &mut Command::new("pkg-config");
    debian(&["libssl-dev", "pkg-config"], present.args(["--exists", "openssl"]))
}

fn python(cache: &Path, packages: &[&str]) -> Result<PathBuf, String> {
    let folder = cache.join("python");
    let interpreter = folder.join("bin/python");
    if !interpreter.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    run(Command::new(&interpreter).args(["-m", "pip", "install", "-q"]).args(packages))?;
    Ok(interpreter)
}

/// Builds the script as a package of its own; cargo does nothing when nothing has changed.
fn rust(cache: &Path, script: &Path, crates: &[(&str, &str)]) -> Result<PathBuf, Obstacle> {
    let name = script.file_stem().unwrap_or_default().to_string_lossy();
    let folder = cache.join("rust").join(&*name);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let dependencies: String =
        crates.iter().map(|(name, what)| format!("{name} = {what}\n")).collect();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [[bin]]\nname = \"{name}\"\npath = {:?}\n[dependencies]\n{dependencies}[workspace]\n",
        script.display().to_string()
    );
    let path = folder.join("Cargo.toml");
    fs::write(&path, manifest).map_err(|error| format!("{}: {error}", path.display()))?;
    run(Command::new("cc").arg("--version"))?;
    openssl()?;
    run(Command::new("cargo").args(["fetch", "--quiet", "--manifest-path"]).arg(&path))?;
    // The sources are shared by all checkouts, and so is what becomes of them.
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--quiet", "--manifest-path"]).arg(&path);
    run(build.arg("--target-dir").arg(folder.join("target"))).map_err(Obstacle::Wrong)?;
    Ok(folder.join("target/release").join(&*name))
}
