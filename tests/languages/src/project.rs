//! A project as `brooklet plugin new` makes it: built, tested and installed by just the commands that it names.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::command::{Command, Problem};
use crate::language::{Language, Tools, with};

/// How long a broker may take to say where it is.
const START_MAX: Duration = Duration::from_secs(60);

/// Makes a project in a folder of its own, and goes through with it.
pub(crate) fn check(
    language: &dyn Language,
    tools: &Tools,
    program: &Path,
    folder: &Path,
) -> Result<String, Problem> {
    let program = program.canonicalize().map_err(|error| wrong(program, &error))?;
    std::fs::create_dir_all(folder).map_err(|error| wrong(folder, &error))?;
    let name = format!("my-{}", language.name());
    let mut new = Command::new(&program);
    new.args(["plugin", "new", &name, "--kind", "transform", "--lang", language.name()]);
    let said = new.within(folder).wrong()?;
    let commands: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    if commands.len() != 3 {
        return Err(Problem::Wrong(format!("three commands were due: {said}")));
    }
    let broker = Broker::start(&program, folder)?;
    // Absolute: commands run in folders of their own.
    let token = std::path::absolute(folder.join("data/admin-token"));
    let token = token.map_err(|error| wrong(folder, &error))?;
    let project = folder.join(&name);
    for command in commands {
        let mut shell = with(tools, "sh");
        shell.args(["-e", "-c", command]).env("BROOKLET_ADMIN", &broker.admin);
        shell.env("BROOKLET_ADMIN_TOKEN", &token);
        shell.env("PATH", path_with(&program));
        // The README names what is built in the project's own folder.
        shell.without("CARGO_TARGET_DIR");
        shell.within(&project).wrong()?;
    }
    let mut inspect = Command::new(&program);
    inspect.args(["plugin", "inspect", &name]).env("BROOKLET_ADMIN", &broker.admin);
    inspect.env("BROOKLET_ADMIN_TOKEN", &token);
    let said = inspect.wrong()?;
    if !said.starts_with(&format!("plugin {name} 0.1.0  transform")) {
        return Err(Problem::Wrong(format!("installed as something else: {said}")));
    }
    Ok(String::new())
}

/// The search path with the program under test before everything else.
fn path_with(program: &Path) -> OsString {
    let mut path = program.parent().unwrap_or(Path::new(".")).as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

/// A broker with its administration on a port of its own. It ends with this value.
struct Broker {
    process: Child,
    admin: String,
}

impl Broker {
    fn start(program: &Path, folder: &Path) -> Result<Broker, Problem> {
        let config = folder.join("broker.ron");
        let text = r#"(admin: "127.0.0.1:0")"#;
        std::fs::write(&config, text).map_err(|error| wrong(&config, &error))?;
        let log = folder.join("broker.log");
        let file = File::create(&log).map_err(|error| wrong(&log, &error))?;
        let process = std::process::Command::new(program)
            .args(["serve", "--listen", "tcp://127.0.0.1:0", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(folder.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|error| wrong(program, &error))?;
        let mut broker = Broker { process, admin: String::new() };
        broker.admin = broker.address(&log)?;
        Ok(broker)
    }

    fn address(&mut self, log: &PathBuf) -> Result<String, Problem> {
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            let said = std::fs::read_to_string(log).map_err(|error| wrong(log, &error))?;
            let told = said.split_once("probes at http://").map(|(_, rest)| rest);
            if let Some(address) = told.and_then(|rest| rest.split_whitespace().next()) {
                return Ok(address.to_owned());
            }
            if !matches!(self.process.try_wait(), Ok(None)) {
                return Err(Problem::Wrong(format!("the broker ended: {said}")));
            }
            std::thread::sleep(Duration::from_millis(10)); // polls a log
        }
        Err(Problem::Wrong("the broker does not say where it is administrated".to_owned()))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn wrong(path: &Path, error: &std::io::Error) -> Problem {
    Problem::Wrong(format!("{}: {error}", path.display()))
}
