//! `brooklet plugin new`: a folder with a plugin in it that builds, is tested and can be installed.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use crate::Context;
use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Name of the plugin, and of the folder that is made
    name: String,
    /// What it is to do
    #[arg(long, value_enum)]
    kind: Kind,
    /// The language it is written in
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
}

/// What a plugin can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Changes or drops records of a view
    Transform,
    /// Chooses partitions
    Partitioner,
    /// Checks and converts keys or values
    Serde,
    /// Decides what a compaction keeps
    Compaction,
    /// Brings records in
    Source,
    /// Takes records out
    Sink,
}

/// A language with a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// For wasm32-wasip2
    Rust,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Transform => "transform",
            Kind::Partitioner => "partitioner",
            Kind::Serde => "serde",
            Kind::Compaction => "compaction",
            Kind::Source => "source",
            Kind::Sink => "sink",
        }
    }

    fn rust(self) -> &'static str {
        match self {
            Kind::Transform => include_str!("../../../../../../sdk/rust/templates/transform.rs"),
            Kind::Partitioner => {
                include_str!("../../../../../../sdk/rust/templates/partitioner.rs")
            }
            Kind::Serde => include_str!("../../../../../../sdk/rust/templates/serde.rs"),
            Kind::Compaction => include_str!("../../../../../../sdk/rust/templates/compaction.rs"),
            Kind::Source => include_str!("../../../../../../sdk/rust/templates/source.rs"),
            Kind::Sink => include_str!("../../../../../../sdk/rust/templates/sink.rs"),
        }
    }
}

const CARGO: &str = include_str!("../../../../../../sdk/rust/templates/Cargo.toml.in");
const CARGO_CONFIG: &str = include_str!("../../../../../../sdk/rust/templates/config.toml.in");
const TOOLCHAIN: &str = include_str!("../../../../../../sdk/rust/templates/rust-toolchain.toml.in");
const README: &str = include_str!("../../../../../../sdk/rust/templates/README.md.in");
/// What cargo builds is not to be kept.
const IGNORED: &str = "/target\n";

/// Makes the folder and says how to go on.
pub(crate) fn run(context: &mut Context, arguments: &Arguments) -> Result<(), Failure> {
    let commands = make(Path::new("."), arguments)?;
    if context.is_json() {
        return context.output.json(&json!({ "name": arguments.name, "commands": commands }));
    }
    context.output.line(&format!("made {}/; in it:", arguments.name))?;
    commands.iter().try_for_each(|command| context.output.line(&format!("  {command}")))
}

/// Makes a folder below `parent`; the commands that test, build and install what is in it.
fn make(parent: &Path, arguments: &Arguments) -> Result<[String; 3], Failure> {
    let name = &arguments.name;
    check(name)?;
    let folder = parent.join(name);
    if folder.exists() {
        return Err(Failure::new(format!("{} is there already", folder.display())));
    }
    let Language::Rust = arguments.lang;
    let component = format!("{}.wasm", name.replace('-', "_"));
    let fill = |template: &str| {
        let (sdk, testing) = sdk();
        let filled = template.replace("@NAME@", name).replace("@KIND@", arguments.kind.name());
        let filled = filled.replace("@FILE@.wasm", &component);
        filled.replace("@SDK@", &sdk).replace("@TESTING@", &testing)
    };
    let files = [
        ("Cargo.toml", fill(CARGO)),
        (".cargo/config.toml", CARGO_CONFIG.to_owned()),
        ("rust-toolchain.toml", TOOLCHAIN.to_owned()),
        (".gitignore", IGNORED.to_owned()),
        ("README.md", fill(README)),
        ("src/lib.rs", arguments.kind.rust().to_owned()),
    ];
    for (file, text) in files {
        write(&folder.join(file), &text)?;
    }
    Ok([
        "cargo test".to_owned(),
        "cargo build --release --target wasm32-wasip2".to_owned(),
        format!("brooklet plugin install target/wasm32-wasip2/release/{component}"),
    ])
}

/// What is good as a crate's name and as a plugin's.
fn check(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    // Crates that the plugin itself depends on can't share its name.
    let taken = ["brooklet", "brooklet-testing", "serde", "serde-json", "test"].contains(&name);
    if begins && name.chars().all(plain) && name.len() <= 64 && !name.ends_with('-') && !taken {
        return Ok(());
    }
    let rule = "a name of a-z, 0-9 and '-' that begins with a letter, and is no dependency's";
    Err(Failure::usage(format!("{name:?} cannot be a plugin's name: {rule}")))
}

/// Where the SDK comes from: the checkout that this program was built from while it is there, else the registry.
fn sdk() -> (String, String) {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../sdk");
    let place = |crate_folder: &str| -> String {
        match sdk.join(crate_folder).canonicalize() {
            Ok(path) => format!("path = {:?}", path.display().to_string()),
            Err(_) => format!("version = {:?}", env!("CARGO_PKG_VERSION")),
        }
    };
    (place("rust"), place("testing"))
}

fn write(path: &PathBuf, text: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|error| Failure::file("make", folder, &error))?;
    fs::write(path, text).map_err(|error| Failure::file("write", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(name: &str, kind: Kind) -> Arguments {
        Arguments { name: name.to_owned(), kind, lang: Language::Rust }
    }

    #[test]
    fn a_project_of_each_kind_is_whole() {
        let parent = tempfile::tempdir().unwrap();
        // Connectors' kinds too, which are not offered yet.
        let kinds = [
            Kind::Transform,
            Kind::Partitioner,
            Kind::Serde,
            Kind::Compaction,
            Kind::Source,
            Kind::Sink,
        ];
        for kind in &kinds {
            let name = format!("my-{}", kind.name());
            let commands = make(parent.path(), &arguments(&name, *kind)).unwrap();
            assert!(
                commands[2].ends_with(&format!("release/my_{}.wasm", kind.name())),
                "{commands:?}"
            );
            let read =
                |file: &str| fs::read_to_string(parent.path().join(&name).join(file)).unwrap();
            let (cargo, readme, source) =
                (read("Cargo.toml"), read("README.md"), read("src/lib.rs"));
            assert!(!cargo.contains('@') && !readme.contains('@'), "{cargo}{readme}");
            assert!(cargo.contains(&format!("name = \"{name}\"")));
            assert!(source.contains(&format!("roles: {{ {}: ", kind.name())), "{source}");
            assert!(source.contains("#[test]"));
            assert!(read(".cargo/config.toml").contains("simd128"));
            // The SDK that it names is there.
            let path = cargo.lines().find(|line| line.starts_with("brooklet = ")).unwrap();
            let path = path.split('"').nth(3).unwrap();
            assert!(Path::new(path).join("Cargo.toml").is_file(), "{path}");
        }
    }

    #[test]
    fn nothing_is_written_over_and_names_are_checked() {
        let parent = tempfile::tempdir().unwrap();
        make(parent.path(), &arguments("a", Kind::Sink)).unwrap();
        assert!(make(parent.path(), &arguments("a", Kind::Sink)).is_err());
        for name in ["", "A", "1a", "a b", "../a", "a-", "serde", "brooklet"] {
            assert!(make(parent.path(), &arguments(name, Kind::Sink)).is_err(), "{name:?}");
        }
    }
}
