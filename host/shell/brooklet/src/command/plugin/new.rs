//! `brooklet plugin new`: a folder with a plugin in it that builds, is tested and can be installed.

mod template;

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
    /// Every kind; for wasm32-wasip2
    Rust,
    /// Transforms in JavaScript or TypeScript, with npm
    Javascript,
    /// Transforms, with pip; for small volumes
    Python,
    /// Transforms, with make and clang
    C,
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
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Language::Rust => "Rust",
            Language::Javascript => "JavaScript",
            Language::Python => "Python",
            Language::C => "C",
        }
    }
}

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
fn make(parent: &Path, arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let name = &arguments.name;
    check(name)?;
    let folder = parent.join(name);
    if folder.exists() {
        return Err(Failure::new(format!("{} is there already", folder.display())));
    }
    let project = template::project(name, arguments.kind, arguments.lang);
    let project = project.map_err(Failure::usage)?;
    for (file, text) in project.files {
        write(&folder.join(file), &text)?;
    }
    Ok(project.commands)
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
    fn a_transform_in_each_language_is_whole() {
        let parent = tempfile::tempdir().unwrap();
        for lang in [Language::Javascript, Language::Python, Language::C] {
            let name = format!("my-{}", lang.name().to_lowercase());
            let arguments = Arguments { lang, ..arguments(&name, Kind::Transform) };
            let commands = make(parent.path(), &arguments).unwrap();
            assert_eq!(commands.len(), 3);
            assert_eq!(commands[2], format!("brooklet plugin install build/{name}.wasm"));
            let folder = parent.path().join(&name);
            let files = template::project(&name, Kind::Transform, lang).unwrap().files;
            for (file, text) in &files {
                assert_eq!(&fs::read_to_string(folder.join(file)).unwrap(), text);
                for word in ["@NAME@", "@SDK@"] {
                    assert!(!text.contains(word), "{word} in {file}");
                }
            }
            // The SDK that it names is there.
            let sdk = files.iter().flat_map(|(_, text)| text.split(['"', '`', ' ', '\n', ':']));
            let sdk = sdk.filter_map(|word| Some(&word[..word.find("/sdk/")? + 5]));
            assert!(sdk.map(Path::new).all(Path::is_dir), "{files:?}");
            assert!(files.iter().any(|(file, _)| file == "tests/prefix/expected.jsonl"));
        }
    }

    #[test]
    fn nothing_is_written_over_and_names_are_checked() {
        let parent = tempfile::tempdir().unwrap();
        make(parent.path(), &arguments("a", Kind::Sink)).unwrap();
        assert!(make(parent.path(), &arguments("a", Kind::Sink)).is_err());
        let other = Arguments { lang: Language::Python, ..arguments("b", Kind::Serde) };
        assert!(make(parent.path(), &other).is_err());
        for name in ["", "A", "1a", "a b", "../a", "a-", "serde", "brooklet"] {
            assert!(make(parent.path(), &arguments(name, Kind::Sink)).is_err(), "{name:?}");
        }
    }
}
