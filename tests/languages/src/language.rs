//! The languages: their tools, by name and version, and how a transform is built with them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::command::{Command, Problem};
use crate::{here, root};

/// What the Python SDK depends on.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

/// What commands of a language find in their environment.
pub(crate) type Tools = Vec<(&'static str, OsString)>;

/// A language with an SDK. The first of [`LANGUAGES`] is what the others are compared with.
pub(crate) trait Language {
    fn name(&self) -> &'static str;

    /// Installs what it needs.
    fn install(&self) -> Result<Tools, Problem>;

    /// The SDK's own tests; none where `cargo test` has them.
    fn own_tests(&self, _tools: &Tools) -> Option<Result<String, Problem>> {
        None
    }

    /// Builds one of the transforms.
    fn build(&self, tools: &Tools, transform: &str, component: &Path) -> Result<(), Problem>;
}

pub(crate) const LANGUAGES: [&dyn Language; 4] = [&Rust, &JavaScript, &Python, &C];

/// A program with the tools in its environment.
pub(crate) fn with(tools: &Tools, program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, value) in tools {
        command.env(name, value);
    }
    command
}

fn cache() -> Result<PathBuf, Problem> {
    let home = std::env::var_os("HOME");
    let home = home.ok_or_else(|| Problem::Missing("HOME is not set".to_owned()))?;
    Ok(Path::new(&home).join(".cache/brooklet/languages"))
}

struct Rust;

impl Language for Rust {
    fn name(&self) -> &'static str {
        "rust"
    }

    fn install(&self) -> Result<Tools, Problem> {
        Command::new("rustup").args(["target", "add", "wasm32-wasip2"]).within(root()).missing()?;
        // As `plugin new` has it in a project's own files.
        Ok(vec![
            ("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", "-C target-feature=+simd128".into()),
            ("CARGO_PROFILE_RELEASE_LTO", "fat".into()),
            ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1".into()),
            ("CARGO_PROFILE_RELEASE_PANIC", "abort".into()),
            ("CARGO_PROFILE_RELEASE_STRIP", "debuginfo".into()),
        ])
    }

    fn build(&self, tools: &Tools, transform: &str, component: &Path) -> Result<(), Problem> {
        let target = cache()?.join("rust");
        let mut cargo = with(tools, "cargo");
        cargo.args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--target",
            "wasm32-wasip2",
            "-p",
        ]);
        cargo.arg(format!("brooklet-languages-{transform}")).arg("--target-dir").arg(&target);
        cargo.within(root()).wrong()?;
        let built = format!("wasm32-wasip2/release/brooklet_languages_{transform}.wasm");
        let copied = std::fs::copy(target.join(built), component);
        copied.map(drop).map_err(|error| Problem::Wrong(format!("{transform}: {error}")))
    }
}

struct JavaScript;

impl Language for JavaScript {
    fn name(&self) -> &'static str {
        "javascript"
    }

    fn install(&self) -> Result<Tools, Problem> {
        Command::new("node").arg("--version").missing()?;
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--silent"]);
        npm.within(&root().join("sdk/javascript")).missing()?;
        Ok(Tools::new())
    }

    fn own_tests(&self, tools: &Tools) -> Option<Result<String, Problem>> {
        let sdk = root().join("sdk/javascript");
        let tested = with(tools, "npm").args(["test", "--silent"]).within(&sdk).wrong();
        Some(tested.map(|_| String::new()))
    }

    fn build(&self, tools: &Tools, transform: &str, component: &Path) -> Result<(), Problem> {
        let mut node = with(tools, "node");
        node.arg(root().join("sdk/javascript/bin/build.js"));
        node.arg(here().join("javascript").join(format!("{transform}.js")));
        node.arg("-o").arg(component).wrong().map(drop)
    }
}

struct Python;

impl Python {
    fn interpreter() -> Result<String, Problem> {
        Ok(cache()?.join("python/bin/python").display().to_string())
    }
}

impl Language for Python {
    fn name(&self) -> &'static str {
        "python"
    }

    fn install(&self) -> Result<Tools, Problem> {
        let interpreter = Python::interpreter()?;
        if !Path::new(&interpreter).exists() {
            Command::new("python3").args(["-m", "venv"]).arg(cache()?.join("python")).missing()?;
        }
        Command::new(&interpreter)
            .args(["-m", "pip", "install", "-q", COMPONENTIZE_PY])
            .missing()?;
        Ok(vec![("PYTHONPATH", root().join("sdk/python/src").into())])
    }

    fn own_tests(&self, tools: &Tools) -> Option<Result<String, Problem>> {
        let interpreter = match Python::interpreter() {
            Ok(interpreter) => interpreter,
            Err(problem) => return Some(Err(problem)),
        };
        let mut python = with(tools, &interpreter);
        python
            .args(["-m", "unittest", "discover", "-s", "tests"])
            .within(&root().join("sdk/python"));
        Some(python.wrong().map(|_| String::new()))
    }

    fn build(&self, tools: &Tools, transform: &str, component: &Path) -> Result<(), Problem> {
        let mut python = with(tools, &Python::interpreter()?);
        python.args(["-m", "brooklet_plugin.build"]);
        python.arg(here().join("python").join(format!("{transform}.py")));
        python.arg("-o").arg(component).wrong().map(drop)
    }
}

struct C;

impl Language for C {
    fn name(&self) -> &'static str {
        "c"
    }

    fn install(&self) -> Result<Tools, Problem> {
        if Command::new("clang-19").arg("--version").output().is_err()
            || !Path::new("/usr/lib/wasm32-wasi").exists()
        {
            Command::new("apt-get").args(["update", "-q"]).missing()?;
            let packages = ["clang-19", "lld-19", "wasi-libc", "libclang-rt-19-dev-wasm32"];
            let mut install = Command::new("apt-get");
            install.args(["install", "-qy", "--no-install-recommends"]).args(packages).missing()?;
        }
        // The linker for components is the one of the toolchain that builds the broker.
        Ok(vec![("CLANG", "clang-19".into())])
    }

    fn build(&self, tools: &Tools, transform: &str, component: &Path) -> Result<(), Problem> {
        let build = component.with_extension("build");
        let mut make = with(tools, "make");
        make.arg("--silent").arg("-C").arg(here().join("c"));
        make.arg(format!("PLUGINS={transform}")).arg(format!("BUILD={}", build.display()));
        make.wrong()?;
        let copied = std::fs::copy(build.join(format!("{transform}.wasm")), component);
        copied.map(drop).map_err(|error| Problem::Wrong(format!("{transform}: {error}")))
    }
}
