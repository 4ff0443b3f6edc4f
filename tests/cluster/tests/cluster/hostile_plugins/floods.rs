//! Too much of what is allowed: lines, names, bytes.

use super::scene::{Scene, binding};
use crate::hostile::resident_mib;
use brooklet_types::ErrorCode;

#[test]
fn a_flood_of_lines_costs_neither_memory_nor_the_news_of_failures() {
    let mut scene = Scene::new(&[]);
    scene.bind("loud", &binding("serde", "logs", "reject")).unwrap();
    scene.bind("broken", &binding("serde", "trap", "reject")).unwrap();
    let before = resident_mib(scene.broker().id());
    for _ in 0..3 {
        assert!(scene.send("loud", 0, &["x"]).result.is_ok());
    }
    // The same plugin, whose words were many: what the host has to say is heard.
    assert_eq!(scene.send("broken", 0, &["x"]).result, Err(ErrorCode::InvalidRecord));
    let after = resident_mib(scene.broker().id());
    assert!(after < before + 64, "{before} MiB before, {after} MiB after");
    let log = scene.broker().log();
    assert!(log.contains("\"topic\": \"broken\""), "the failure is told");
    assert!(log.contains("lines were left out"), "and so is what was left out");
    let lines = log.lines().filter(|line| line.contains("hostile")).count();
    assert!((100..3000).contains(&lines), "{lines} lines in the broker's log");
    let longest = log.lines().map(str::len).max().unwrap_or(0);
    assert!(longest < 40_000, "a line of {longest} bytes");
    let kept = scene.stage.run(&["plugin", "logs", "hostile"]).lines().count();
    assert!(kept <= 1000, "{kept} lines are kept");
    assert!(scene.stage.broker.stop().success());
}

#[test]
fn a_flood_of_names_leaves_metrics_that_can_be_read() {
    let mut scene = Scene::new(&[]);
    scene.bind("counting", &binding("serde", "metrics", "reject")).unwrap();
    assert!(scene.send("counting", 0, &["x"]).result.is_ok());
    let metrics = scene.metrics();
    let body = metrics.split_once("\r\n\r\n").expect("a response").1;
    let custom = body.lines().filter(|line| line.starts_with("brooklet_plugin_custom"));
    let custom = custom.count();
    // Three kinds of 200 series and the overflow, of which histograms have a line for each bucket.
    assert!((200..=3 * 201 * 16).contains(&custom), "{custom} lines");
    for line in body.lines().filter(|line| line.starts_with("brooklet_plugin_custom")) {
        let number = line.rsplit(' ').next().expect("a number behind a space");
        assert!(number.parse::<f64>().is_ok(), "{line}");
        assert!(line.len() < 2000, "{line}");
    }
    assert!(scene.stage.broker.stop().success());
}

#[test]
fn a_view_that_makes_records_a_thousand_times_as_large_is_shown_in_parts() {
    let mut scene = Scene::new(&[]);
    scene.create("source", 1, &[]).unwrap();
    for _ in 0..120 {
        scene.send("source", 0, &["x"]).result.unwrap();
    }
    scene.view("large", "source", &binding("transform", "grow", "reject")).unwrap();
    let before = resident_mib(scene.broker().id());
    let seen = scene.read("large").unwrap();
    let after = resident_mib(scene.broker().id());
    assert_eq!(seen.len(), 120, "every record, if in several answers");
    assert!(
        seen.iter().zip(0..).all(|(it, offset)| it.offset == offset && it.value.len() == 1 << 20)
    );
    assert!(after < before + 300, "{before} MiB before, {after} MiB after");
    assert!(scene.stage.broker.stop().success());
}
