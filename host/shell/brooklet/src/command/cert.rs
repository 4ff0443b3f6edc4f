//! `brooklet cert`: an authority of one's own, and certificates by it, for development.
//!
//! **Decides** where they are written: `NAME.pem` and `NAME.key` in a folder, the key for its owner's eyes. **Never**
//! writes over a file that is there.

use std::path::{Path, PathBuf};

use brooklet_io::Clock;
use brooklet_io::tls::issue::{Authority, Eyes, Issued, Purpose, Subject, self_signed, write_new};
use serde_json::json;

use crate::Context;
use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// An authority: ca.pem, for whoever is to believe it, and ca.key, which issues certificates
    Ca(Made),
    /// A certificate to serve with: server.pem and server.key
    Server(Server),
    /// A certificate for a client to show: NAME.pem and NAME.key
    Client(Client),
}

#[derive(clap::Args)]
struct Made {
    /// Folder to write to
    #[arg(long, default_value = ".", value_name = "DIR")]
    folder: PathBuf,
    /// Days from now for which it is good
    #[arg(long, default_value = "365", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

#[derive(clap::Args)]
struct Server {
    /// Names and addresses it is reached by
    #[arg(default_values = ["localhost", "127.0.0.1", "::1"], value_name = "HOST")]
    hosts: Vec<String>,
    #[command(flatten)]
    made: Made,
    #[command(flatten)]
    by: By,
}

#[derive(clap::Args)]
struct Client {
    /// The client's name: the principal is User:CN=NAME
    name: String,
    #[command(flatten)]
    made: Made,
    #[command(flatten)]
    by: By,
}

/// Whose key issues it.
#[derive(clap::Args)]
struct By {
    /// The authority's certificate; ca.pem in the folder unless said
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    ca: Option<PathBuf>,
    /// The authority's key; ca.key in the folder unless said
    #[arg(long, value_name = "FILE", requires = "ca")]
    ca_key: Option<PathBuf>,
}

/// Makes what is asked for.
pub(crate) fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    let clock = Clock::start();
    match arguments.what {
        What::Ca(made) => {
            let name = "Brooklet development authority";
            let subject = subject(name, Vec::new(), &made, Purpose::Authority);
            let issued = self_signed(&subject, &clock).map_err(failed)?;
            write(context, &made.folder, "ca", &issued)
        }
        What::Server(Server { hosts, made, by }) => {
            let name = hosts.first().expect("there are defaults").clone();
            let subject = subject(&name, hosts, &made, Purpose::Server);
            let issued = by.issue(&made.folder, &subject, &clock)?;
            write(context, &made.folder, "server", &issued)
        }
        What::Client(Client { name, made, by }) => {
            let is_odd = |letter: char| matches!(letter, '/' | '\0') || letter.is_control();
            if name.is_empty() || name.starts_with('.') || name.contains(is_odd) {
                return Err(Failure::usage(format!("{name:?} cannot be a file's name")));
            }
            let subject = subject(&name, Vec::new(), &made, Purpose::Client);
            let issued = by.issue(&made.folder, &subject, &clock)?;
            write(context, &made.folder, &name, &issued)
        }
    }
}

impl By {
    fn issue(&self, folder: &Path, subject: &Subject, clock: &Clock) -> Result<Issued, Failure> {
        let certificate = self.ca.clone().unwrap_or_else(|| folder.join("ca.pem"));
        let key = self.ca_key.clone().unwrap_or_else(|| folder.join("ca.key"));
        let authority = Authority::read(&certificate, &key).map_err(|error| {
            failed(error)
                .hint("`brooklet cert ca` makes an authority; --ca and --ca-key name another")
        })?;
        authority.issue(subject, clock).map_err(failed)
    }
}

fn subject(name: &str, hosts: Vec<String>, made: &Made, purpose: Purpose) -> Subject {
    Subject { name: name.to_owned(), organization: None, hosts, days: made.days, purpose }
}

fn write(context: &mut Context, folder: &Path, name: &str, issued: &Issued) -> Result<(), Failure> {
    let (pem, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    if let Some(there) = [&pem, &key].into_iter().find(|path| path.exists()) {
        return Err(Failure::new(format!("{} is there already", there.display()))
            .hint("it may be in use: take it away, or choose another --folder"));
    }
    std::fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
    write_new(&key, issued.key.as_bytes(), Eyes::Owner).map_err(failed)?;
    write_new(&pem, issued.certificate.as_bytes(), Eyes::All).map_err(failed)?;
    let (pem, key) = (pem.display().to_string(), key.display().to_string());
    let fingerprint = issued.fingerprint.to_string();
    if context.is_json() {
        let made = json!({ "certificate": pem, "key": key, "fingerprint": fingerprint });
        return context.output.json(&made);
    }
    context.output.line(&format!("{pem} {key} sha256={fingerprint}"))
}

fn failed(error: brooklet_io::tls::TlsError) -> Failure {
    Failure::new(error.to_string())
}
