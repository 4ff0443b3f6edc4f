//! Records the transcripts again from a real Apache Kafka, or compares a broker with them.
//!
//! ```text
//! record [SCRIPT…] [--port P]     starts Kafka for each script and rewrites kafka/SCRIPT.txt
//! record secured/SCRIPT           the same with users, rules and quotas: secured/kafka.properties
//! record --against HOST:PORT SCRIPT   plays it to a broker that runs and prints the differences
//! ```
//!
//! `BROOKLET_KAFKA_TOOL` is the command that fetches, starts and stops Kafka.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use brooklet_golden::play::{Played, Target, play};
use brooklet_golden::schema::Schemas;
use brooklet_golden::{
    SECURED, difference, path, script, script_names, script_path, secured_names, transcript,
    transcript_path,
};

/// Far from the ports that people use.
const PORT_DEFAULT: u16 = 29_492;

fn main() -> Result<(), Box<dyn Error>> {
    let mut port = PORT_DEFAULT;
    let mut against = None;
    let mut names = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--port" => port = value()?.parse()?,
            "--against" => against = value()?.to_socket_addrs()?.next(),
            name => names.push(name.to_owned()),
        }
    }
    if names.is_empty() {
        names = script_names();
        names.extend(secured_names());
    }
    let schemas = Schemas::read();
    let mut out = std::io::stdout();
    for name in names {
        if let Some(address) = against {
            let text = transcript::print(&name, &run(&schemas, &name, address, Target::Brooklet)?);
            compare(&name, &text, &mut out)?;
        } else {
            let kafka = Kafka::start(port, name.starts_with(SECURED))?;
            let played = run(&schemas, &name, kafka.address, Target::Kafka)?;
            fs::write(transcript_path(&name), transcript::print(&name, &played))?;
            let answers = played.iter().filter(|step| step.answer.is_some()).count();
            writeln!(out, "{name}: {answers} answers")?;
        }
    }
    Ok(())
}

fn run(
    schemas: &Schemas,
    name: &str,
    address: SocketAddr,
    target: Target,
) -> Result<Vec<Played>, Box<dyn Error>> {
    let text = fs::read_to_string(script_path(name))?;
    Ok(play(schemas, &script::parse(schemas, &text), address, target))
}

/// Prints in which fields `text` differs from the transcript.
fn compare(name: &str, text: &str, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let recorded = fs::read_to_string(transcript_path(name))?;
    for (kafka, ours) in transcript::read(&recorded)?.iter().zip(transcript::read(text)?) {
        let (Some(answer), Some(own)) = (&kafka.answer, &ours.answer) else { continue };
        let found = difference::compare(answer, own);
        if !found.is_empty() {
            let heading = kafka.request.split(" {").next().unwrap_or(&kafka.request);
            writeln!(out, "{name} | {} | {heading}", kafka.case)?;
            for difference in found {
                writeln!(out, "  {difference}")?;
            }
        }
    }
    Ok(())
}

/// A Kafka with an empty data folder, stopped and removed when dropped.
struct Kafka {
    tool: PathBuf,
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Kafka {
    fn start(port: u16, secured: bool) -> Result<Kafka, Box<dyn Error>> {
        let beside = path("../../../shared/tools/kafka/kafka");
        let tool = std::env::var_os("BROOKLET_KAFKA_TOOL").map_or(beside, PathBuf::from);
        let folder = tempfile::tempdir()?;
        let properties = match secured {
            true => fs::read_to_string(path(SECURED).join("kafka.properties"))?,
            false => String::new(),
        };
        let properties =
            properties.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let status = Command::new(&tool)
            .arg("start")
            .arg(folder.path())
            .arg(port.to_string())
            .args(properties)
            .env("KAFKA_HEAP", "-Xmx512M")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        if !status.success() {
            return Err(format!("{} start: {status}", tool.display()).into());
        }
        Ok(Kafka { tool, folder, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = Command::new(&self.tool).arg("stop").arg(self.folder.path()).status();
        // The port is free when nobody answers any more.
        while std::net::TcpStream::connect(self.address).is_ok() {
            std::thread::yield_now();
        }
    }
}
