//! Transcripts: what was said and answered, as a text that is read by people and by the replay.

use std::fmt::Write;

use crate::SECURED;
use crate::play::Played;
use crate::value::Value;

/// What stands in front of an answer's first line.
const ANSWER: &str = "< ";
const REQUEST: &str = "> ";

/// The transcript of `played`.
pub fn print(name: &str, played: &[Played]) -> String {
    let script = match name.strip_prefix(SECURED) {
        Some(name) => format!("{SECURED}scripts/{name}"),
        None => format!("scripts/{name}"),
    };
    let mut text = format!(
        "# {name}, as Apache Kafka 4.3.1 answers. Recorded by `cargo run -p brooklet-golden --bin record`\n\
         # from {script}.txt; not to be edited.\n"
    );
    let mut case = "";
    for step in played {
        if step.case != case {
            case = &step.case;
            write!(text, "\n== {case}\n").expect("a string takes any text");
        }
        text.push('\n');
        for comment in &step.comments {
            writeln!(text, "# {comment}").expect("a string takes any text");
        }
        writeln!(text, "{REQUEST}{}", request(step)).expect("a string takes any text");
        if let Some(answer) = &step.answer {
            writeln!(text, "{ANSWER}{}", answer.pretty(ANSWER.len(), 0))
                .expect("a string takes any text");
        }
    }
    text
}

/// The line or lines that say what was sent.
pub fn request(step: &Played) -> String {
    match &step.content {
        Some(content) => format!("{} {}", step.request, content.pretty(step.request.len() + 3, 0)),
        None => step.request.clone(),
    }
}

/// The steps of a transcript.
///
/// # Errors
/// If an answer is not a value: somebody has edited the file.
pub fn read(text: &str) -> Result<Vec<Recorded>, String> {
    let mut steps: Vec<Recorded> = Vec::new();
    let mut case = String::new();
    // The line being collected, and whether it is an answer.
    let mut open: Option<(bool, String)> = None;
    for line in text.lines().chain([""]) {
        let starts = line.is_empty()
            || ["==", "#", REQUEST, ANSWER].iter().any(|start| line.starts_with(start));
        if !starts {
            let (_, lines) = open.as_mut().ok_or_else(|| format!("a line too many: {line}"))?;
            lines.push('\n');
            lines.push_str(line);
            continue;
        }
        match open.take() {
            Some((false, request)) => {
                steps.push(Recorded { case: case.clone(), request, answer: None });
            }
            Some((true, answer)) => {
                let step = steps.last_mut().ok_or("an answer in front of all requests")?;
                step.answer = Some(Value::parse(&answer)?);
            }
            None => {}
        }
        if let Some(title) = line.strip_prefix("== ") {
            title.clone_into(&mut case);
        } else if let Some(request) = line.strip_prefix(REQUEST) {
            open = Some((false, request.to_owned()));
        } else if let Some(answer) = line.strip_prefix(ANSWER) {
            open = Some((true, answer.to_owned()));
        }
    }
    Ok(steps)
}

/// A step as a transcript holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub case: String,
    pub request: String,
    pub answer: Option<Value>,
}
