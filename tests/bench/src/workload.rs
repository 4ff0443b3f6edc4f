//! The workloads of performance.md §5 that this release answers for: W1 to W5 and W8.

use std::process::Command;

use crate::measure::{Figures, cpu_seconds, field, resident_mb};
use crate::system::{Kind, System};
use crate::tools::Tools;

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// Whether it is part of the round that is thrown away.
    pub(crate) warms: bool,
    plan: Plan,
}

#[derive(Debug)]
enum Plan {
    /// Records in, acknowledged by `acks=all`.
    Produce { records: u64, bytes: u64, partitions: u32, settings: &'static [&'static str] },
    /// The same, then read from the start; only the reading is measured.
    CatchUp { records: u64, bytes: u64, partitions: u32 },
    /// Records at a fixed rate from one end to the other.
    EndToEnd { rate: u64, seconds: u64, bytes: u64 },
    /// Start on an empty folder, then rest.
    Start,
}

const LARGE: &[&str] = &["batch.size=1000000", "linger.ms=5"];
const SINGLE: &[&str] = &["batch.num.messages=1", "linger.ms=0"];
const SINGLE_FIVE: &[&str] =
    &["batch.num.messages=1", "linger.ms=0", "max.in.flight.requests.per.connection=5"];

const PARTITIONS_MANY: u32 = 1000;
/// Of single records over so many partitions Kafka gets a tenth, with which it was busy for 50 to 80
/// seconds here: with all of them no load would come to its end in time. What is measured is a rate.
const KAFKA_SHARE: u64 = 10;

pub(crate) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "produce 1 KiB p1",
        unit: "MB/s",
        warms: true,
        plan: Plan::Produce { records: 1_000_000, bytes: 1024, partitions: 1, settings: LARGE },
    },
    Workload {
        name: "produce 1 KiB p6",
        unit: "MB/s",
        warms: false,
        plan: Plan::Produce { records: 1_000_000, bytes: 1024, partitions: 6, settings: LARGE },
    },
    Workload {
        name: "produce 100 B p1",
        unit: "MB/s",
        warms: false,
        plan: Plan::Produce { records: 5_000_000, bytes: 100, partitions: 1, settings: LARGE },
    },
    Workload {
        name: "produce 100 B p6",
        unit: "MB/s",
        warms: false,
        plan: Plan::Produce { records: 5_000_000, bytes: 100, partitions: 6, settings: LARGE },
    },
    Workload {
        name: "catch-up 1 KiB p1",
        unit: "MB/s",
        warms: false,
        plan: Plan::CatchUp { records: 1_000_000, bytes: 1024, partitions: 1 },
    },
    Workload {
        name: "catch-up 1 KiB p6",
        unit: "MB/s",
        warms: false,
        plan: Plan::CatchUp { records: 1_000_000, bytes: 1024, partitions: 6 },
    },
    Workload {
        name: "end to end 1,000/s 1 KiB",
        unit: "records/s",
        warms: false,
        plan: Plan::EndToEnd { rate: 1000, seconds: 10, bytes: 1024 },
    },
    Workload {
        name: "one-record batches 1 KiB",
        unit: "batches/s",
        warms: true,
        plan: Plan::Produce { records: 150_000, bytes: 1024, partitions: 1, settings: SINGLE },
    },
    Workload {
        name: "one-record batches 1 KiB, 5 in flight",
        unit: "batches/s",
        warms: false,
        plan: Plan::Produce { records: 40_000, bytes: 1024, partitions: 1, settings: SINGLE_FIVE },
    },
    Workload {
        name: "one-record batches over 1,000 partitions",
        unit: "batches/s",
        warms: false,
        plan: Plan::Produce {
            records: 60_000,
            bytes: 1024,
            partitions: PARTITIONS_MANY,
            settings: SINGLE,
        },
    },
    Workload {
        name: "1 KiB over 1,000 partitions",
        unit: "MB/s",
        warms: false,
        plan: Plan::Produce {
            records: 1_000_000,
            bytes: 1024,
            partitions: PARTITIONS_MANY,
            settings: LARGE,
        },
    },
    Workload { name: "start and idle", unit: "ms to ready", warms: false, plan: Plan::Start },
];

impl Workload {
    /// Why a system is left out, if it is.
    pub(crate) fn leaves_out(&self, kind: Kind) -> Option<&'static str> {
        match (&self.plan, kind) {
            (Plan::Produce { partitions: PARTITIONS_MANY, .. }, Kind::LimitSync) => {
                Some("it reserves 1 GiB on the disk for each partition")
            }
            _ => None,
        }
    }

    /// How many times fewer records a system gets.
    fn divisor(&self, kind: Kind) -> u64 {
        match (&self.plan, kind) {
            (
                Plan::Produce { partitions: PARTITIONS_MANY, settings: SINGLE, .. },
                Kind::KafkaOs | Kind::KafkaSync,
            ) => KAFKA_SHARE,
            _ => 1,
        }
    }

    pub(crate) fn run(&self, tools: &Tools, system: &mut System) -> Result<Figures, String> {
        match &self.plan {
            Plan::Produce { records, bytes, partitions, settings } => {
                create(tools, system, *partitions)?;
                let records = *records / self.divisor(system.kind);
                let load = Load { records, bytes: *bytes, partitions: *partitions };
                let figures = produce(tools, system, &load, settings)?;
                let in_batches = self.unit == "batches/s";
                let value =
                    if in_batches { figures.value * 1e6 / *bytes as f64 } else { figures.value };
                Ok(Figures { value, ..figures })
            }
            Plan::CatchUp { records, bytes, partitions } => {
                create(tools, system, *partitions)?;
                let load = Load { records: *records, bytes: *bytes, partitions: *partitions };
                produce(tools, system, &load, LARGE)?;
                consume(tools, system, &load)
            }
            Plan::EndToEnd { rate, seconds, bytes } => {
                create(tools, system, 1)?;
                end_to_end(tools, system, [*rate, *seconds, *bytes])
            }
            Plan::Start => Ok(Figures {
                value: system.start_ms,
                // Memory at rest stands in the column of the processor time that rest does not take.
                cpu_seconds_per_gb: resident_mb(system.pid),
                p50_ms: f64::NAN,
                p99_ms: f64::NAN,
            }),
        }
    }
}

struct Load {
    records: u64,
    bytes: u64,
    partitions: u32,
}

fn create(tools: &Tools, system: &System, partitions: u32) -> Result<(), String> {
    let partitions = partitions.to_string();
    let mut arguments = vec!["create", &system.address, "load", &partitions];
    arguments.extend(system.topic_settings());
    kload(tools, &arguments).map(|_| ())
}

fn produce(
    tools: &Tools,
    system: &System,
    load: &Load,
    settings: &[&str],
) -> Result<Figures, String> {
    let [records, bytes, partitions] =
        [load.records, load.bytes, load.partitions.into()].map(|number: u64| number.to_string());
    let mut arguments =
        vec!["produce", &system.address, "load", &partitions, &records, &bytes, "all", "none"];
    arguments.extend(settings);
    let (line, cpu) = measured(tools, system, &arguments)?;
    if field(&line, "ok") != Some(load.records as f64) {
        return Err(format!("not everything was acknowledged: {line}"));
    }
    figures(&line, cpu, load, "ack")
}

fn consume(tools: &Tools, system: &System, load: &Load) -> Result<Figures, String> {
    let [records, partitions] =
        [load.records, load.partitions.into()].map(|number: u64| number.to_string());
    let arguments = ["consume", &system.address, "load", &partitions, &records];
    let (line, cpu) = measured(tools, system, &arguments)?;
    if field(&line, "n") != Some(load.records as f64) {
        return Err(format!("not everything arrived: {line}"));
    }
    figures(&line, cpu, load, "none")
}

fn end_to_end(tools: &Tools, system: &System, plan: [u64; 3]) -> Result<Figures, String> {
    let [rate, seconds, bytes] = plan.map(|number| number.to_string());
    let arguments = [
        "e2e",
        &system.address,
        "load",
        "1",
        &rate,
        &seconds,
        &bytes,
        "all",
        "none",
        "linger.ms=0",
    ];
    let (line, cpu) = measured(tools, system, &arguments)?;
    let load = Load { records: plan[0] * plan[1], bytes: plan[2], partitions: 1 };
    Ok(Figures { value: plan[0] as f64, ..figures(&line, cpu, &load, "e2e")? })
}

fn measured(tools: &Tools, system: &System, arguments: &[&str]) -> Result<(String, f64), String> {
    let before = cpu_seconds(system.pid);
    let line = kload(tools, arguments)?;
    Ok((line, cpu_seconds(system.pid) - before))
}

fn figures(line: &str, cpu: f64, load: &Load, latency: &str) -> Result<Figures, String> {
    let gigabytes = (load.records * load.bytes) as f64 / 1e9;
    let ms = |name: &str| field(line, &format!("{latency}_{name}_us")).unwrap_or(f64::NAN) / 1e3;
    Ok(Figures {
        value: field(line, "MB_s").unwrap_or(f64::NAN),
        cpu_seconds_per_gb: cpu / gigabytes,
        p50_ms: ms("p50"),
        p99_ms: ms("p99"),
    })
}

fn kload(tools: &Tools, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("timeout");
    command.arg("180").arg(&tools.kload).args(arguments);
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{arguments:?}: {} {text}", output.status))
    }
}
