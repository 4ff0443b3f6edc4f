//! Builds the plugins that come with the broker, and embeds them.
//!
//! **What it decides.** Nothing about them: `plugins/` is a workspace of its own, with its own lock file and
//! profile. It is built by the cargo that builds the broker, always in release and always for wasm, in a folder
//! that all of the broker's profiles share.
//!
//! **Invariants.** What is set for the outer build stays there: neither its flags nor its profile nor its
//! target folder reach the inner one.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

const TARGET: &str = "wasm32-wasip2";
/// Smaller by a factor of six to seven; higher levels take long in an unoptimised build script.
const ZSTD_LEVEL: i32 = 9;

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("the plugins that come with the broker: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = here.ancestors().nth(3).ok_or("host/shell/brooklet lies three folders down")?;
    let out = PathBuf::from(variable("OUT_DIR")?);
    let names = plugins(&root.join("plugins"))?;
    watch(root, &names);
    ensure_target()?;
    // TARGET_DIR/PROFILE/build/CRATE/out: what is built here is the same for every profile.
    let target = out.ancestors().nth(4).ok_or("OUT_DIR lies four folders down")?.join("plugins");
    cargo_build(&root.join("plugins"), &target)?;
    let mut table = String::from("&[\n");
    for name in &names {
        let component = format!("brooklet_{}.wasm", name.replace('-', "_"));
        let path = target.join(TARGET).join("release").join(component);
        let bytes = read(&path)?;
        let packed = zstd::bulk::compress(&bytes, ZSTD_LEVEL).map_err(|error| error.to_string())?;
        let file = out.join(format!("{name}.wasm.zst"));
        fs::write(&file, packed).map_err(|error| format!("write {}: {error}", file.display()))?;
        let length = bytes.len();
        writeln!(table, "    ({name:?}, {length}, include_bytes!({file:?})),")
            .map_err(|error| error.to_string())?;
    }
    table.push_str("]\n");
    let file = out.join("stock.rs");
    fs::write(&file, table).map_err(|error| format!("write {}: {error}", file.display()))
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("cargo has not set {name}"))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))
}

/// The folders of plugins, in the order of their names.
fn plugins(folder: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(folder);
    let entries = entries.map_err(|error| format!("list {}: {error}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        if entry.path().join("Cargo.toml").is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

/// Everything that goes into a component. Folders as a whole would have the files in them that tests
/// leave behind; a new plugin shows in the lock file.
fn watch(root: &Path, names: &[String]) {
    let plugins = root.join("plugins");
    let fixed = ["Cargo.toml", "Cargo.lock", ".cargo"].map(|name| plugins.join(name));
    let sdk = ["Cargo.toml", "wit", "sdk/rust", "sdk/macros"].map(|name| root.join(name));
    for path in fixed.iter().chain(&sdk) {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    for name in names {
        for part in ["Cargo.toml", "src"] {
            println!("cargo:rerun-if-changed={}", plugins.join(name).join(part).display());
        }
    }
}

/// The standard library for wasm has to be there; where rustup rules, it is fetched.
fn ensure_target() -> Result<(), String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let asked = asked.map_err(|error| format!("run rustc: {error}"))?;
    let folder = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    if asked.status.success() && Path::new(&folder).is_dir() {
        return Ok(());
    }
    let added =
        Command::new("rustup").args(["target", "add", TARGET]).stdout(Stdio::null()).status();
    match added {
        Ok(status) if status.success() => Ok(()),
        Ok(_) | Err(_) => Err(format!(
            "Rust's standard library for {TARGET} is missing, and `rustup target add {TARGET}` did not bring it"
        )),
    }
}

fn cargo_build(plugins: &Path, target: &Path) -> Result<(), String> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.current_dir(plugins).args(["build", "--release", "--locked", "--target", TARGET]);
    cargo.arg("--target-dir").arg(target);
    for (name, _) in env::vars_os().filter(|(name, _)| is_the_outer_builds(name)) {
        cargo.env_remove(name);
    }
    // What a build script prints is read by the outer cargo.
    let done =
        cargo.stdout(Stdio::null()).status().map_err(|error| format!("run cargo: {error}"))?;
    if done.success() {
        Ok(())
    } else {
        Err("cargo build failed in plugins/, see above".to_owned())
    }
}

/// Variables that say how the broker is built. Those that say where cargo lives, what it may download and how
/// many jobs there are go for all.
fn is_the_outer_builds(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let shared = ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR"];
    let of_cargo = name.starts_with("CARGO_") && !shared.iter().any(|kept| name.starts_with(kept));
    let compilers = ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTDOCFLAGS"];
    of_cargo || compilers.contains(&name)
}
