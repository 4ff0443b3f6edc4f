//! Topics without plugins beside topics with the worst: they hardly notice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use brooklet_cluster::Raw;
use serde_json::json;

use super::scene::{Scene, binding, create, send};
use crate::stage::soon;

/// What the issue allows: a neighbour's p99 may move by this much.
const SHARE_MAX: f64 = 1.2;
/// Below this a difference is the machine's, not the plugins': other programs run here too.
const NOISE: Duration = Duration::from_micros(if cfg!(debug_assertions) { 3_000 } else { 300 });
/// Records of one window.
const WINDOW: usize = 300;
/// So many windows with and without are compared, in turn, and the last ones again and again until they are alike or it
/// counts as a difference: where others compile, windows of both kinds are bad for a while.
const PAIRS: usize = 5;
const PAIRS_MAX: usize = 40;

/// Producers that do nothing but call a plugin, each on a connection of its own. They end with this.
struct Storm {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Storm {
    fn over(address: SocketAddr, topics: &[String]) -> Storm {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |topic: &String| {
            let (topic, stop) = (topic.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut raw = Raw::connect(address).expect("a connection");
                let mut calls = 0;
                while !stop.load(Ordering::Relaxed) {
                    calls += u64::from(send(&mut raw, &topic, 0, &["x"]).result.is_err());
                }
                calls
            })
        };
        Storm { threads: topics.iter().map(start).collect(), stop }
    }

    /// How often the plugins failed.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("no producer panics")).sum()
    }
}

/// The 99th percentile of producing one record after the other.
fn p99(raw: &mut Raw, topic: &str) -> Duration {
    let mut times: Vec<Duration> = (0..WINDOW)
        .map(|_| {
            let began = Instant::now();
            send(raw, topic, 0, &["a neighbour's record"]).result.expect("stored");
            began.elapsed()
        })
        .collect();
    times.sort();
    times[WINDOW * 99 / 100]
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

/// Compares windows with a storm and windows without, in turn, until they are alike.
fn is_undisturbed(scene: &mut Scene, storm_over: &[String]) {
    // Readable and acknowledged at once: what is measured is the broker, and not the disk.
    scene.create("neighbour", 1, &[("brooklet.flush", "os")]).unwrap();
    let address = scene.broker().address();
    let mut raw = Raw::connect(address).unwrap();
    p99(&mut raw, "neighbour");
    let (mut quiet, mut stormy) = (Vec::new(), Vec::new());
    let mut calls = 0;
    while quiet.len() < PAIRS_MAX {
        quiet.push(p99(&mut raw, "neighbour"));
        let storm = Storm::over(address, storm_over);
        stormy.push(p99(&mut raw, "neighbour"));
        calls += storm.end();
        let Some(from) = quiet.len().checked_sub(PAIRS) else { continue };
        let (without, with) = (median(&quiet[from..]), median(&stormy[from..]));
        if with <= without.mul_f64(SHARE_MAX) || with <= without + NOISE {
            assert!(calls > 0, "there was a storm");
            eprintln!("{storm_over:?}: p99 {without:?} without, {with:?} with {calls} calls");
            return;
        }
    }
    panic!("{storm_over:?}: p99 {quiet:?} without, {stormy:?} with");
}

/// Topics with plugins that do something, two for each deed.
fn stormy_topics(scene: &mut Scene, deeds: &[&str], limits: &serde_json::Value) -> Vec<String> {
    let mut topics = Vec::new();
    for deed in deeds {
        for number in 0..2 {
            let topic = format!("{deed}-{number}");
            let mut binding = binding("serde", deed, "reject");
            binding["mode"] = "encode".into();
            binding["limits"] = limits.clone();
            scene.bind(&topic, &binding).unwrap();
            topics.push(topic);
        }
    }
    topics
}

#[test]
fn plugins_that_loop_leave_the_neighbours_p99_where_it_was() {
    let mut scene = Scene::new(&[]);
    let topics = stormy_topics(&mut scene, &["loop"], &json!({ "time_ms": 1000 }));
    is_undisturbed(&mut scene, &topics);
    assert!(scene.stage.broker.stop().success());
}

#[test]
fn plugins_that_eat_memory_leave_the_neighbours_p99_where_it_was() {
    let mut scene = Scene::new(&[]);
    let topics = stormy_topics(&mut scene, &["memory", "output"], &json!({ "time_ms": 1000 }));
    is_undisturbed(&mut scene, &topics);
    assert!(scene.stage.broker.stop().success());
}

#[test]
fn a_plugin_that_takes_long_to_start_holds_up_nobody_elses_topics() {
    let mut scene = Scene::new(&[]);
    let address = scene.broker().address();
    let began = Instant::now();
    let slow = std::thread::spawn(move || {
        let mut raw = Raw::connect(address).expect("a connection");
        let mut binding = binding("serde", "init-loop", "reject");
        binding["limits"]["time_ms"] = 300.into();
        let plugins = json!([binding]).to_string();
        create(&mut raw, "slow", 1, &[("brooklet.plugins", &plugins)]).expect_err("no start");
        began.elapsed()
    });
    let mut times = Vec::new();
    for number in 0..5 {
        scene.create(&format!("quick-{number}"), 1, &[]).unwrap();
        times.push(began.elapsed());
    }
    let slow = slow.join().unwrap();
    assert!(slow >= Duration::from_secs(3), "it takes ten calls' time: {slow:?}");
    assert!(times[4] < slow, "five topics after {times:?}, the slow one after {slow:?}");
    assert!(scene.stage.broker.stop().success());
}

#[test]
fn a_plugin_that_holds_its_instances_is_taken_off_its_topic_all_the_same() {
    let mut scene = Scene::new(&[]);
    let mut holding = binding("serde", "sleep", "reject");
    holding["limits"]["time_ms"] = 1000.into();
    scene.bind("held", &holding).unwrap();
    let address = scene.broker().address();
    let storm = Storm::over(address, &vec!["held".to_owned(); 40]);
    let busy = "brooklet_plugin_instances{plugin=\"hostile\",role=\"serde\"} 2";
    soon("nobody calls the plugin", || scene.metrics().contains(busy).then_some(()));
    let began = Instant::now();
    scene.stage.run(&["topic", "alter", "held", "-c", "brooklet.plugins="]);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "forty requests wait, and it took {took:?}");
    assert!(scene.send("held", 0, &["free"]).result.is_ok());
    storm.end();
    assert!(scene.stage.broker.stop().success());
}
