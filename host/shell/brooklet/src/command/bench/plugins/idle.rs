//! What a thousand plugins weigh that have nothing to do: topics first, then a plugin for each, then time for the plugins to
//! let go of what they had when they were bound.

use std::time::Duration;

use brooklet_client::Admin;
use brooklet_client::admin::{Change, Resource};

use super::catch_up::create;
use super::scratch::Broker;
use super::{Aim, Figure};
use crate::failure::Failure;

/// In turn, so that it isn't one component a thousand times.
const PLUGINS: [(&str, &str); 4] = [
    ("json-schema", r#"{"schema":{"type":"object"}}"#),
    ("cbor", "{}"),
    ("murmur2", "{}"),
    ("rendezvous", "{}"),
];

/// Measures memory.
pub(super) async fn measure(count: u32, wait: Duration) -> Result<Vec<Figure>, Failure> {
    let broker = Broker::start()?;
    let admin = Admin::new(broker.client());
    for number in 0..count {
        create(&admin, &format!("idle-{number}"), &[]).await?;
    }
    let before = broker.resident_megabytes()?;
    for (number, (plugin, config)) in (0..count).zip(PLUGINS.iter().cycle()) {
        let value = format!(r#"[{{"plugin":"{plugin}","config":{config},"on_failure":"reject"}}]"#);
        let change = Change::Set("brooklet.plugins".to_owned(), value);
        admin.alter_settings(&Resource::Topic(format!("idle-{number}")), &[change], false).await?;
    }
    let bound = broker.resident_megabytes()?;
    tokio::time::sleep(wait).await;
    let idle = broker.resident_megabytes()?;
    // The aim is for a thousand.
    let aim = 30.0 * f64::from(count) / 1000.0;
    Ok(vec![Figure {
        name: "idle plugins",
        value: idle - before,
        unit: "MB",
        aim: Aim::AtMost(aim.max(30.0)),
        detail: format!(
            "{count} topics {before:.0} MB, their plugins just bound {bound:.0}, idle {idle:.0}"
        ),
    }])
}
