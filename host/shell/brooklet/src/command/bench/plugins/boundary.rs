//! What a call costs, without a network: the hook's door is used as a broker uses it, with the batch that most
//! measurements of the boundary have, a hundred records of a kibibyte.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use brooklet_client::partitioner::partition_of_key;
use brooklet_hook::{
    Checked, Entered, FetchHook, Hooks as _, Place, ProduceHook, Shown, TopicPlugins,
};
use brooklet_plugin::Plugins;
use brooklet_types::{Offset, PartitionIndex, Timestamp, TopicName};
use brooklet_wire::batch::{BatchBuilder, records};
use brooklet_wire::compress::Codec;
use bytes::Bytes;

use super::super::process::Folder;
use super::scratch::plugins;
use super::{Aim, Figure, median};
use crate::failure::Failure;

const RECORDS: u32 = 100;
/// How long one thing is done before another has its turn.
const TURN: Duration = Duration::from_millis(60);
/// What is hidden, natively and in the plugin.
const MASK: &str = r#"{"fields":{"device":{"keep_last":3},"passenger.name":"null"}}"#;

/// Measures the boundary.
pub(super) async fn measure(rounds: u32) -> Result<Vec<Figure>, Failure> {
    let folder = Folder::new()?;
    let room = plugins(folder.path())?;
    let view = |name: &str, plugin: &str, config: &str| topic(name, plugin, config, true, "");
    let verify = r#","mode":"verify""#;
    let topics = vec![
        view("empty", "filter", r#"{"keep":"true"}"#)?,
        view("keyed", "filter", r#"{"keep":"key != 'k7'"}"#)?,
        view("masked", "mask", MASK)?,
        topic("placed", "murmur2", "{}", false, verify)?,
    ];
    room.follow(topics).await;
    let batch = batch()?;
    let mut native = Native::new()?;
    let hooks = Hooked::new(&room)?;
    let [mut empty, mut keyed, mut masked, mut placed] = [const { Vec::new() }; 4];
    let [mut native_mask, mut native_murmur] = [const { Vec::new() }; 2];
    // The first of each is compiled.
    hooks.show(&hooks.empty, &batch).await?;
    hooks.show(&hooks.masked, &batch).await?;
    hooks.place(&batch).await?;
    for _ in 0..rounds {
        empty.push(hooks.show(&hooks.empty, &batch).await?);
        keyed.push(hooks.show(&hooks.keyed, &batch).await?);
        masked.push(hooks.show(&hooks.masked, &batch).await?);
        placed.push(hooks.place(&batch).await?);
        native_mask.push(turn(|| native.mask(&batch))?);
        native_murmur.push(turn(|| murmur2(&batch))?);
    }
    let [empty, keyed, masked, placed] = [empty, keyed, masked, placed].map(median);
    let [native_mask, native_murmur] = [native_mask, native_murmur].map(median);
    let per_record = |nanos: f64| nanos / f64::from(RECORDS);
    let figure = |name, value, unit, aim, detail| Figure { name, value, unit, aim, detail };
    Ok(vec![
        figure("empty call", empty, "ns", Aim::None, "a batch that passes unseen".to_owned()),
        figure(
            "key filter",
            per_record(keyed),
            "ns/record",
            Aim::None,
            "one of ten is dropped, the batch rebuilt".to_owned(),
        ),
        figure(
            "JSON mask / native",
            masked / native_mask,
            "×",
            Aim::AtMost(2.2),
            format!(
                "{:.0} and {:.0} ns/record, gathered and rebuilt in both",
                per_record(masked),
                per_record(native_mask)
            ),
        ),
        figure(
            "partitioner / murmur2",
            (placed - empty) / native_murmur,
            "×",
            Aim::AtMost(3.0),
            format!(
                "{placed:.0} ns a batch, of which the call {empty:.0}; native {native_murmur:.0}"
            ),
        ),
    ])
}

/// The hooks that are measured.
struct Hooked {
    empty: Arc<dyn FetchHook>,
    keyed: Arc<dyn FetchHook>,
    masked: Arc<dyn FetchHook>,
    placed: Arc<dyn ProduceHook>,
    topic: TopicName,
}

impl Hooked {
    fn new(room: &Plugins) -> Result<Hooked, Failure> {
        let missing = || Failure::new("a plugin was not bound");
        let view = |name: &str| room.on_fetch(&topic_name(name)?).ok_or_else(missing);
        Ok(Hooked {
            empty: view("empty")?,
            keyed: view("keyed")?,
            masked: view("masked")?,
            placed: room.on_produce(&topic_name("placed")?).ok_or_else(missing)?,
            topic: topic_name("bench")?,
        })
    }

    fn at(&self) -> Place<'_> {
        Place { topic: &self.topic, partition: PartitionIndex(0), partitions: 1, is_placed: false }
    }

    /// Nanoseconds that a view takes for a batch.
    async fn show(&self, hook: &Arc<dyn FetchHook>, batch: &Bytes) -> Result<f64, Failure> {
        let batches = [batch.clone()];
        let (began, mut count) = (Instant::now(), 0_u32);
        while began.elapsed() < TURN {
            match hook.show(self.at(), &batches, usize::MAX).await {
                Shown::Refuse(reason) => return Err(Failure::new(reason)),
                shown @ (Shown::Pass | Shown::Replace(..)) => drop(black_box(shown)),
            }
            count += 1;
        }
        Ok(nanos(began, count))
    }

    /// Nanoseconds that the question takes whether a batch is where it belongs.
    async fn place(&self, batch: &Bytes) -> Result<f64, Failure> {
        let entered: Box<dyn Entered> = Arc::clone(&self.placed).enter().await;
        let (began, mut count) = (Instant::now(), 0_u32);
        while began.elapsed() < TURN {
            match entered.check(self.at(), batch).await {
                Checked::Pass => count += 1,
                Checked::Replace(_) => return Err(Failure::new("a partitioner changed a batch")),
                Checked::Reject(rejection) => return Err(Failure::new(rejection.message)),
            }
        }
        Ok(nanos(began, count))
    }
}

/// The mask without WebAssembly: the same code of the same crate, compiled for this machine.
struct Native(plugin_mask::Mask);

impl Native {
    fn new() -> Result<Native, Failure> {
        use plugin_sdk::Transform as _;
        let config = serde_json::from_str(MASK).map_err(|error| Failure::new(error.to_string()))?;
        let mask = plugin_mask::Mask::new(config, &plugin_sdk::Context::default());
        mask.map(Native).map_err(|error| Failure::new(error.to_string()))
    }

    /// Gathers the column, masks it, and builds the batch anew, as the host does around a plugin.
    fn mask(&mut self, batch: &Bytes) -> Result<(), Failure> {
        use plugin_sdk::bindings::transform::exports::brooklet::plugin::transform::Outcome;
        use plugin_sdk::bindings::types::{Batch, Columns};
        let broken = |error: brooklet_wire::batch::BatchError| Failure::new(error.to_string());
        let opened = records(batch).map_err(broken)?;
        let mut values =
            plugin_sdk::ColumnBuilder::with_capacity(RECORDS as usize, opened.uncompressed_bytes());
        for record in opened.iter() {
            values.push(record.map_err(broken)?.value);
        }
        let input = Batch {
            topic: "bench".to_owned(),
            partition: 0,
            base_offset: 0,
            base_timestamp: 0,
            count: RECORDS,
            offset_deltas: None,
            timestamp_deltas: None,
            keys: None,
            values: Some(values.finish()),
            headers: None,
        };
        let made = plugin_sdk::role::transform::run(&mut self.0, Columns::VALUES, &input);
        let made = made.map_err(|error| Failure::new(format!("{error:?}")))?;
        let Outcome::Emit(out) = made.outcome else {
            return Err(Failure::new("the mask found nothing to hide"));
        };
        let out = out.values.ok_or_else(|| Failure::new("the mask changed no value"))?;
        let column = plugin_sdk::Column::new(&out);
        let mut builder = BatchBuilder::editing(opened.header()).map_err(broken)?;
        for (record, value) in opened.iter().zip(column.iter()) {
            let record = record.map_err(broken)?;
            let (offset, timestamp) = (record.offset, record.timestamp);
            let (count, headers) = (record.header_count() as usize, record.headers.clone());
            let pushed = builder.push_at(offset, timestamp, record.key, value, count, headers);
            pushed.map_err(broken)?;
        }
        drop(black_box(builder.build().map_err(broken)?));
        Ok(())
    }
}

/// Kafka's partitioner as a broker would have it built in.
fn murmur2(batch: &Bytes) -> Result<(), Failure> {
    let broken = |error: brooklet_wire::batch::BatchError| Failure::new(error.to_string());
    let opened = records(batch).map_err(broken)?;
    let mut chosen = Vec::with_capacity(RECORDS as usize);
    for record in opened.iter() {
        let key = record.map_err(broken)?.key.unwrap_or_default();
        chosen.push(partition_of_key(key, black_box(1)));
    }
    drop(black_box(chosen));
    Ok(())
}

/// Nanoseconds of one time, of as many as go into a turn.
fn turn(mut once: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < TURN {
        once()?;
        count += 1;
    }
    Ok(nanos(began, count))
}

fn nanos(began: Instant, count: u32) -> f64 {
    began.elapsed().as_secs_f64() * 1e9 / f64::from(count.max(1))
}

pub(super) fn topic_name(name: &str) -> Result<TopicName, Failure> {
    TopicName::new(name).map_err(|error| Failure::new(error.to_string()))
}

/// A topic with one plugin; `more` is what else its binding says, in JSON.
pub(super) fn topic(
    name: &str,
    plugin: &str,
    config: &str,
    is_view: bool,
    more: &str,
) -> Result<TopicPlugins, Failure> {
    let plugins =
        format!(r#"[{{"plugin":"{plugin}","config":{config},"on_failure":"reject"{more}}}]"#);
    Ok(TopicPlugins { name: topic_name(name)?, is_view, plugins })
}

/// A hundred records as sensors and airlines send them, a kibibyte each.
pub(super) fn batch() -> Result<Bytes, Failure> {
    let broken = |error: brooklet_wire::batch::BatchError| Failure::new(error.to_string());
    let mut builder = BatchBuilder::new(Codec::None).base_offset(Offset::default());
    for number in 0..RECORDS {
        let key = format!("k{}", number % 10);
        let value = value(number);
        let time = Timestamp(1_700_000_000_000 + i64::from(number));
        builder.push(time, Some(key.as_bytes()), Some(value.as_bytes()), &[]).map_err(broken)?;
    }
    builder.build().map_err(broken)
}

/// The value of a record: an object of a kibibyte with some depth.
pub(super) fn value(number: u32) -> String {
    let mut text = format!(
        r#"{{"device":"d-{number:08}","passenger":{{"name":"Ada Example {number}","seat":"17C"}},"delay":{},"readings":["#,
        number % 90
    );
    let mut reading = number.wrapping_mul(2_654_435_761);
    while text.len() < 1024 - 24 {
        reading = reading.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text += &format!("{}.{:02},", reading >> 20, reading % 100);
    }
    text + r#"0],"ok":true}"#
}
