//! `brooklet cluster`: make a cluster of a broker, let others join it, see how it is, move what it keeps, let brokers go.
//!
//! `init`, `token` and `join` write files into data folders; everything else is asked of the brokers, with requests that any
//! client may make.

mod follow;
mod leaving;
mod moving;
mod picture;
mod plan;
mod spread;
mod status;

use std::path::PathBuf;
use std::str::FromStr;

use brooklet_broker::{RunError, found_cluster, join_cluster};
use brooklet_io::Clock;
use brooklet_io::tls::cluster::{
    self, Addresses, ClusterError, ClusterIdentity, JoinToken, TokenError,
};
use brooklet_types::BrokerId;
use serde_json::json;

use crate::Context;
use crate::failure::Failure;

/// The port for brokers where none is said.
const PORT: u16 = 9192;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Make the data folder of a broker that of the first broker of a cluster
    Init(Init),
    /// Print what another broker needs to join: a secret, for one broker number
    Token(Token),
    /// Make an empty data folder that of another broker of a cluster
    Join(Join),
    /// Show who is in the cluster, what each keeps, and whether all is well
    Status,
    /// Have others lead what a broker leads, before it is worked on
    Drain(moving::Drain),
    /// Have certain brokers keep a topic, or one partition
    Move(moving::Move),
    /// Spread copies and leaders evenly over the brokers that take part, and over their racks
    Balance(moving::Balance),
    /// Give all that a broker keeps to others, then take it out of the cluster
    Decommission(leaving::Decommission),
    /// Take a broker out of the cluster that has ended and will not come back
    Remove(leaving::Remove),
}

#[derive(clap::Args)]
struct Init {
    /// The broker's number
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(i32).range(0..))]
    node: i32,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args)]
struct Token {
    /// The number of the broker that is to join
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    node: i32,
    /// Data folder of the broker that the cluster began with
    #[arg(long, default_value = "brooklet-data", value_name = "DIR")]
    data: PathBuf,
}

#[derive(clap::Args)]
struct Join {
    /// What `brooklet cluster token` printed, or @FILE with it
    token: String,
    #[command(flatten)]
    place: Place,
}

/// Where a broker is.
#[derive(clap::Args)]
struct Place {
    /// Data folder
    #[arg(long, default_value = "brooklet-data", value_name = "DIR")]
    data: PathBuf,
    /// Where this broker listens for other brokers, over UDP and TCP
    #[arg(long, default_value_t = Listen(("0.0.0.0".to_owned(), PORT)), value_name = "HOST:PORT")]
    listen: Listen,
    /// Where other brokers reach it; --listen unless said
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<Listen>,
}

#[derive(Clone)]
struct Listen((String, u16));

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        let known = cluster::address(text);
        let known =
            known.or_else(|error| cluster::address(&format!("{text}:{PORT}")).or(Err(error)));
        known.map(Listen).map_err(|error| error.to_string())
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (host, port) = &self.0;
        if host.contains(':') {
            write!(formatter, "[{host}]:{port}")
        } else {
            write!(formatter, "{host}:{port}")
        }
    }
}

impl Place {
    fn addresses(&self) -> Result<Addresses, Failure> {
        let Listen(listen) = self.listen.clone();
        let advertised = self.advertise.clone().map_or_else(|| listen.clone(), |Listen(it)| it);
        let is_nowhere = matches!(advertised.0.as_str(), "0.0.0.0" | "::");
        if is_nowhere {
            return Err(Failure::usage("other brokers cannot reach all addresses of a machine")
                .hint("name the one that they can with --advertise HOST:PORT"));
        }
        Ok(Addresses { listen, advertised })
    }
}

/// Does what is asked for.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    match arguments.what {
        What::Init(Init { node, place }) => {
            let addresses = place.addresses()?;
            let made = found_cluster(&place.data, BrokerId(node), &addresses).map_err(failed)?;
            say(context, &made, "began")
        }
        What::Token(Token { node, data }) => token(context, BrokerId(node), &data),
        What::Join(Join { token, place }) => {
            let token = read_token(&token)?;
            let joined = join_cluster(&place.data, &token, &place.addresses()?).map_err(failed)?;
            say(context, &joined, "joined")
        }
        What::Status => status::run(context).await,
        What::Drain(asked) => moving::drain(context, asked).await,
        What::Move(asked) => moving::by_hand(context, asked).await,
        What::Balance(asked) => moving::balance(context, asked).await,
        What::Decommission(asked) => leaving::decommission(context, asked).await,
        What::Remove(asked) => leaving::remove(context, asked).await,
    }
}

fn say(context: &mut Context, identity: &ClusterIdentity, what: &str) -> Result<(), Failure> {
    let ClusterIdentity { cluster_id, node, addresses, .. } = identity;
    let (host, port) = &addresses.advertised;
    if context.is_json() {
        let made = json!({
            "cluster": cluster_id, "node": node.0, "host": host, "port": port, "result": what,
        });
        return context.output.json(&made);
    }
    let place = Listen((host.clone(), *port));
    context.output.line(&format!("{what} cluster {cluster_id} as broker {node}, at {place}"))
}

fn token(context: &mut Context, node: BrokerId, data: &std::path::Path) -> Result<(), Failure> {
    let known = ClusterIdentity::read(data).map_err(not_read)?;
    let known = known.ok_or_else(|| {
        Failure::new(format!("{} belongs to no cluster", data.display()))
            .hint("`brooklet cluster init` begins one")
    })?;
    if node == known.node {
        return Err(Failure::usage(format!(
            "broker {node} is the one that the cluster began with"
        )));
    }
    let mut seeds = vec![known.addresses.advertised.clone()];
    seeds.extend(known.seeds.iter().cloned());
    let token = JoinToken::make(&data.join(cluster::FOLDER), node, &seeds, &Clock::start());
    let token = token.map_err(not_read)?.to_text();
    if context.is_json() {
        return context.output.json(&json!({ "node": node.0, "token": token }));
    }
    context.output.line(&token)
}

fn read_token(text: &str) -> Result<JoinToken, Failure> {
    let text = match text.strip_prefix('@') {
        None => text.to_owned(),
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Failure::file("read", std::path::Path::new(file), &error))?,
    };
    text.parse().map_err(|error: TokenError| {
        Failure::new(error.to_string()).hint("`brooklet cluster token` prints one")
    })
}

fn failed(error: RunError) -> Failure {
    Failure::new(error.to_string())
}

fn not_read(error: ClusterError) -> Failure {
    Failure::new(error.to_string())
}
