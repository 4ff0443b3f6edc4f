//! Passwords: from a file, from standard input, or asked for. Never from an argument, which everybody on the machine
//! can read.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::Path;

use brooklet_client::{Password, Secret};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// A password or a token: no longer than what a broker takes from somebody it does not know yet.
const BYTES_MAX: u64 = 7 << 10;

/// The one line of a file, or of standard input for `-`.
pub(crate) fn read(path: &Path) -> Result<Secret, Failure> {
    let failed = |error: io::Error| Failure::file("read", path, &error);
    let mut text = String::new();
    // One more than fits, and the end of the line, tell that it is too much.
    let most = BYTES_MAX + 3;
    if path == Path::new("-") {
        io::stdin().lock().take(most).read_to_string(&mut text).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(most).read_to_string(&mut text).map_err(failed)?;
    }
    one_line(&text).ok_or_else(|| {
        let path = path.display();
        Failure::usage(format!("{path} is not one line of text with up to {BYTES_MAX} bytes"))
    })
}

/// What to log in with: what is in a file now, and later what is in it then. Standard input and pipes are read once.
pub(crate) fn source(path: &Path) -> Result<Password, Failure> {
    let secret = read(path)?;
    let is_file = std::fs::metadata(path).is_ok_and(|found| found.is_file());
    Ok(if is_file { Password::File(path.to_owned()) } else { Password::Known(secret) })
}

/// Asks whoever sits there, twice, and shows nothing of what is typed.
pub(crate) fn ask(user: &str) -> Result<Secret, Failure> {
    let hint = "write it to a file, or to standard input with --password-file -";
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("no password for {user}")).hint(hint));
    }
    let failed = |error: io::Error| Failure::new(format!("ask for a password: {error}")).hint(hint);
    let first = ask_once(&format!("Password of {user}: ")).map_err(failed)?;
    let again = ask_once("Once more: ").map_err(failed)?;
    if first != again {
        return Err(Failure::usage("that were two different passwords"));
    }
    one_line(&first).ok_or_else(|| {
        Failure::usage(format!("a password is one line of text with up to {BYTES_MAX} bytes"))
    })
}

fn ask_once(prompt: &str) -> io::Result<String> {
    let stdin = io::stdin();
    let mut stderr = io::stderr().lock();
    stderr.write_all(prompt.as_bytes())?;
    let shown = tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Now, &shown)?;
    stderr.write_all(b"\n")?;
    read?;
    Ok(line)
}

fn one_line(text: &str) -> Option<Secret> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let is_odd = line.is_empty() || line.contains(['\n', '\0']) || line.len() as u64 > BYTES_MAX;
    (!is_odd).then(|| Secret::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line() {
        let long = "x".repeat(7 << 10);
        for (text, expected) in [
            ("pencil\n", Some("pencil")),
            ("pen cil\r\n", Some("pen cil")),
            (long.as_str(), Some(long.as_str())),
            ("", None),
            ("\n", None),
            ("a\nb\n", None),
            (&format!("{long}x"), None),
        ] {
            assert_eq!(one_line(text), expected.map(Secret::new), "{text:?}");
        }
    }
}
