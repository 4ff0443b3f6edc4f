//! The measurement: every run on a link, with a broker and in processes of its own; then the page.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::broker::{BESIDE, Broker};
use crate::failure::{Failure, context};
use crate::figures::Figures;
use crate::link::Link;
use crate::plan::{Run, Weather, runs, weathers};
use crate::report::{Results, page};
use crate::space::{output_of, tcp_controls};
use crate::{Measure, plot, say};

/// What a run takes at most, twice over: it has its own bounds.
const LOAD_MAX: Duration = Duration::from_secs(120);
/// What `--quick` measures.
const QUICK: Weather = Weather { round_trip_ms: 20, loss_percent: 1 };

pub(crate) fn run(what: &Measure) -> Result<(), Failure> {
    let load = load_before()?;
    let program = what.program.canonicalize();
    let program = program.map_err(context(&format!("find {}", what.program.display())))?;
    let all = if what.quick {
        runs(&[QUICK], 1, what.seed)
    } else {
        runs(&weathers(), what.rounds, what.seed)
    };
    let count = all.len();
    // Held to take the next run, or to add what has come of one.
    let left = Mutex::new(all.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    let worker = || loop {
        let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some((number, run)) = next else { return };
        let outcome = one(run, &program, what.megabits);
        let said = match &outcome {
            Ok(figures) => figures.line(),
            Err(failure) => format!("failed: {failure}"),
        };
        let Weather { round_trip_ms, loss_percent } = run.weather;
        let number = number + 1;
        let link = format!("{round_trip_ms} ms {loss_percent} %");
        say(&format!("{number}/{count} {link} {}: {said}", run.carrier));
        done.lock().unwrap_or_else(PoisonError::into_inner).push((run, outcome));
    };
    std::thread::scope(|scope| {
        for _ in 0..what.at_once {
            scope.spawn(worker);
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (results, failed) = medians(done);
    if !what.quick {
        let page = page(&about(what, failed, &load)?, &results);
        fs::write(what.results.join("RESULTS.md"), page).map_err(context("write RESULTS.md"))?;
        let picture = plot::svg(&results);
        fs::write(what.results.join("results.svg"), picture)
            .map_err(context("write results.svg"))?;
    }
    if failed > 0 { Err(Failure(format!("{failed} of {count} runs failed"))) } else { Ok(()) }
}

/// The middle of each link's and carrier's runs, and how many runs have failed.
fn medians(done: Vec<(Run, Result<Figures, Failure>)>) -> (Results, usize) {
    let mut all: BTreeMap<_, Vec<Figures>> = BTreeMap::new();
    let mut failed = 0;
    for (run, outcome) in done {
        match outcome {
            Ok(figures) => all.entry((run.weather, run.carrier)).or_default().push(figures),
            Err(_) => failed += 1,
        }
    }
    (all.into_iter().map(|(key, figures)| (key, Figures::median(&figures))).collect(), failed)
}

fn one(run: Run, program: &Path, megabits: u64) -> Result<Figures, Failure> {
    let link = Link::make(run.weather.terms(megabits), run.seed)?;
    let congestion = run.carrier.congestion();
    link.control_tcp_by(congestion.name())?;
    let broker = Broker::start(&link.broker, program, congestion)?;
    let own = std::env::current_exe().map_err(context("find this program"))?;
    output_of(link.broker.command(&own).args(["fill", BESIDE]), LOAD_MAX)?;
    let mut load = link.client.command(&own);
    load.args(["load", &broker.address(run.carrier), congestion.name()]);
    load.arg(run.weather.round_trip_ms.to_string());
    let said = output_of(&mut load, LOAD_MAX)?;
    let figures = Figures::read(said.trim());
    let figures = figures.ok_or_else(|| Failure(format!("the load says {said:?}")))?;
    let lost = link.counts.lost.load(Ordering::Relaxed);
    if run.weather.loss_percent > 0 && lost == 0 {
        return Err(Failure("the link has lost nothing".to_owned()));
    }
    Ok(figures)
}

/// How busy the machine is before we make it so: the load of the last minute.
fn load_before() -> Result<String, Failure> {
    let text = fs::read_to_string("/proc/loadavg").map_err(context("read the machine's load"))?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}

fn about(what: &Measure, failed: usize, load: &str) -> Result<String, Failure> {
    let (chosen, available) = tcp_controls()?;
    let cores = std::thread::available_parallelism().map_err(context("count the processors"))?;
    let Measure { megabits, rounds, at_once, seed, .. } = what;
    let failures = match failed {
        0 => String::new(),
        failed => format!(" {failed} runs failed and are left out."),
    };
    Ok(format!(
        "Written by `cargo run --release -p brooklet-wan -- --program target/release/brooklet --rounds {rounds} \
         --at-once {at_once} --megabits {megabits} --seed {seed}`: medians of {rounds} rounds, all carriers of a link one after the \
         other, {at_once} links at a time on {cores} processors, whose load was {load} before it began.{failures}\n\n\
         The link is a process that carries packets between the TUN devices of two network namespaces: {megabits} Mbit/s \
         ({:.2} MB/s) in each direction, a queue of one round trip that drops what does not fit, and independent random \
         losses in both directions; under one seed the same for all carriers. One client, one broker, six partitions, records of 1 KiB, \
         `acks=all`, the broker's data in memory. Full speed is counted for 3 to 12 seconds once slow start is over, with batches of 64 KiB \
         and fetches of 256 KiB for each partition; what arrives in bulk more rarely than that shows as 0. An age counts from the moment \
         at which a record was due; what had not come 5 seconds after the last counts as that old.\n\n\
         The kernel's TCP has {available} and takes {chosen} where nobody chooses; it is measured with CUBIC and with BBR (`congctl` of \
         the routes), as QUIC (quinn's) is: `quic.congestion` of the broker, `ClientConfig::congestion` of the client.",
        *megabits as f64 / 8.0
    ))
}
