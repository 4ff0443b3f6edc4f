//! The files of a new project, language by language, and the commands that go on from there.
//!
//! In a template `@NAME@` is the plugin's name, `@KIND@` its kind, `@FILE@` its component, and `@SDK@` and `@TESTING@`
//! say where the SDK comes from.

use std::path::Path;

use super::{Kind, Language};

macro_rules! sdk {
    ($path:literal) => {
        include_str!(concat!("../../../../../../../sdk/", $path))
    };
}

/// What a project is made of.
pub(super) struct Project {
    /// Paths below the project's folder, with what is in each.
    pub(super) files: Vec<(String, String)>,
    /// What tests, builds and installs it.
    pub(super) commands: Vec<String>,
}

/// The project, or why there is none of that kind in that language.
pub(super) fn project(name: &str, kind: Kind, language: Language) -> Result<Project, String> {
    if language != Language::Rust && kind != Kind::Transform {
        return Err(format!(
            "there is no template for a {} in {}: the SDKs of languages other than Rust have transforms",
            kind.name(),
            language.name()
        ));
    }
    Ok(match language {
        Language::Rust => rust(name, kind),
        Language::Javascript => javascript(name),
        Language::Python => python(name),
        Language::C => c(name),
    })
}

fn rust(name: &str, kind: Kind) -> Project {
    let source = match kind {
        Kind::Transform => sdk!("rust/templates/transform.rs"),
        Kind::Partitioner => sdk!("rust/templates/partitioner.rs"),
        Kind::Serde => sdk!("rust/templates/serde.rs"),
        Kind::Compaction => sdk!("rust/templates/compaction.rs"),
        Kind::Source => sdk!("rust/templates/source.rs"),
        Kind::Sink => sdk!("rust/templates/sink.rs"),
    };
    let component = name.replace('-', "_");
    let dependency = |place: Option<String>| match place {
        Some(path) => format!("path = {path:?}"),
        None => format!("version = {:?}", env!("CARGO_PKG_VERSION")),
    };
    let words = [
        ("@NAME@", name.to_owned()),
        ("@KIND@", kind.name().to_owned()),
        ("@FILE@", component.clone()),
        ("@SDK@", dependency(checkout("rust"))),
        ("@TESTING@", dependency(checkout("testing"))),
    ];
    let files = [
        ("Cargo.toml", sdk!("rust/templates/Cargo.toml.in")),
        (".cargo/config.toml", sdk!("rust/templates/config.toml.in")),
        ("rust-toolchain.toml", sdk!("rust/templates/rust-toolchain.toml.in")),
        (".gitignore", "/target\n"),
        ("README.md", sdk!("rust/templates/README.md.in")),
        ("src/lib.rs", source),
    ];
    Project {
        files: filled(&files, &words),
        commands: vec![
            "cargo test".to_owned(),
            "cargo build --release --target wasm32-wasip2".to_owned(),
            format!("brooklet plugin install target/wasm32-wasip2/release/{component}.wasm"),
        ],
    }
}

fn javascript(name: &str) -> Project {
    let sdk = match checkout("javascript") {
        Some(path) => format!("file:{path}"),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    };
    let files = [
        ("package.json", sdk!("javascript/templates/package.json.in")),
        (".gitignore", "/build\nnode_modules\n"),
        ("README.md", sdk!("javascript/templates/README.md.in")),
        ("plugin.js", sdk!("javascript/templates/plugin.js")),
    ];
    let words = [("@NAME@", name.to_owned()), ("@SDK@", sdk)];
    Project {
        files: [filled(&files, &words), golden()].concat(),
        commands: vec!["npm install".to_owned(), "npm test".to_owned(), install(name)],
    }
}

fn python(name: &str) -> Project {
    let sdk = match checkout("python") {
        Some(path) => format!("-e {path}"),
        None => format!("brooklet-plugin=={}", env!("CARGO_PKG_VERSION")),
    };
    let files = [
        ("pyproject.toml", sdk!("python/templates/pyproject.toml.in")),
        ("requirements.txt", sdk!("python/templates/requirements.txt.in")),
        (".gitignore", "/build\n.venv\n__pycache__\n"),
        ("README.md", sdk!("python/templates/README.md.in")),
        ("plugin.py", sdk!("python/templates/plugin.py")),
    ];
    let words = [("@NAME@", name.to_owned()), ("@SDK@", sdk)];
    let build = ".venv/bin/brooklet-plugin-build plugin.py";
    Project {
        files: [filled(&files, &words), golden()].concat(),
        commands: vec![
            "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt".to_owned(),
            format!("{build} && brooklet plugin test build/{name}.wasm tests/prefix"),
            install(name),
        ],
    }
}

fn c(name: &str) -> Project {
    // Without a checkout the SDK's folder is expected beside the project's.
    let sdk = checkout("c").unwrap_or_else(|| "../brooklet-sdk-c".to_owned());
    let (source, manifest) = (format!("{name}.c"), format!("{name}.json"));
    let files = [
        ("Makefile", sdk!("c/templates/Makefile.in")),
        (".gitignore", "/build\n"),
        ("README.md", sdk!("c/templates/README.md.in")),
        (source.as_str(), sdk!("c/templates/transform.c.in")),
        (manifest.as_str(), sdk!("c/templates/manifest.json.in")),
    ];
    let words = [("@NAME@", name.to_owned()), ("@SDK@", sdk)];
    Project {
        files: [filled(&files, &words), golden()].concat(),
        commands: vec!["make".to_owned(), "make test".to_owned(), install(name)],
    }
}

fn install(name: &str) -> String {
    format!("brooklet plugin install build/{name}.wasm")
}

/// Golden files for `brooklet plugin test`, which all transforms of the templates meet.
fn golden() -> Vec<(String, String)> {
    let files = [
        ("tests/prefix/config.json", sdk!("testing/templates/prefix/config.json")),
        ("tests/prefix/input.jsonl", sdk!("testing/templates/prefix/input.jsonl")),
        ("tests/prefix/expected.jsonl", sdk!("testing/templates/prefix/expected.jsonl")),
    ];
    filled(&files, &[])
}

fn filled(files: &[(&str, &str)], words: &[(&str, String)]) -> Vec<(String, String)> {
    let fill = |template: &str| {
        words.iter().fold(template.to_owned(), |text, (word, value)| text.replace(word, value))
    };
    files.iter().map(|(path, template)| ((*path).to_owned(), fill(template))).collect()
}

/// The SDK in the checkout that this program was built from, while it is there. Else it comes from a registry.
fn checkout(folder: &str) -> Option<String> {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../sdk").join(folder);
    sdk.canonicalize().ok().map(|path| path.display().to_string())
}
