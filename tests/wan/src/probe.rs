//! Whether the link does what it is told: round trips without a broker.
//!
//! A connection to a port at which nobody listens is refused by the other side's kernel, one round trip later: no `ping` is
//! needed, and no right to send one.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use std::{fmt, io};

use crate::failure::{Failure, context};
use crate::figures::at;
use crate::link::{BROKER, Link};
use crate::plan::Weather;
use crate::say;
use crate::space::output_of;

/// Nobody listens at it.
const PORT: u16 = 1;
/// A lost packet is sent again after a second, then two, then four.
const KNOCK_MAX: Duration = Duration::from_secs(20);

/// The link to make.
#[derive(clap::Args)]
pub(crate) struct Probe {
    /// Milliseconds there and back
    #[arg(long, default_value = "80")]
    round_trip_ms: u64,
    /// Of a hundred packets, so many are lost
    #[arg(long, default_value = "0", value_parser = clap::value_parser!(u32).range(0..=100))]
    loss_percent: u32,
    /// Megabits a second in each direction
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    megabits: u64,
    /// How many round trips
    #[arg(long, default_value = "100")]
    count: u32,
    /// Says which packets are lost
    #[arg(long, default_value = "1")]
    seed: u64,
}

pub(crate) fn run(probe: &Probe) -> Result<(), Failure> {
    let Probe { round_trip_ms, loss_percent, megabits, count, seed } = *probe;
    let link = Link::make(Weather { round_trip_ms, loss_percent }.terms(megabits), seed)?;
    let own = std::env::current_exe().map_err(context("find this program"))?;
    let mut command = link.client.command(&own);
    let said = output_of(command.args(["knock", BROKER, &count.to_string()]), KNOCK_MAX * count)?;
    let counts = &link.counts;
    say(&format!("{} {counts:?}", said.trim()));
    Ok(())
}

/// Asks to be refused `count` times, and says how long it took.
pub(crate) fn knock(address: IpAddr, count: u32) -> Result<(), Failure> {
    let mut times = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        match TcpStream::connect_timeout(&SocketAddr::new(address, PORT), KNOCK_MAX) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(context("knock")(error)),
            Ok(_) => return Err(Failure(format!("somebody listens at port {PORT}"))),
        }
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let part = |name: &'static str, share| Part { name, ms: at(times.clone(), share) };
    let parts = [part("min", 0.0), part("p50", 0.5), part("p99", 0.99)];
    say(&parts.map(|part| part.to_string()).join(" "));
    Ok(())
}

struct Part {
    name: &'static str,
    ms: f64,
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={:.3}ms", self.name, self.ms)
    }
}
