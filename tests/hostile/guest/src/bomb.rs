//! Using up what there is: time, memory, stack, handles, names, lines.

use std::hint::black_box;
use std::time::Duration;

use crate::bindings::brooklet::plugin::log::{self, Level};
use crate::bindings::brooklet::plugin::metrics::{Counter, Gauge, Histogram};

/// Never comes back.
pub(crate) fn run_for_ever() {
    let mut count = 0_u64;
    loop {
        count = black_box(count).wrapping_add(1);
    }
}

/// Waits in the host, where no epoch reaches it.
pub(crate) fn wait(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis)); // polls nothing: it is the harm
}

/// Takes memory and gives none back.
pub(crate) fn eat() {
    let mut all = Vec::new();
    loop {
        all.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Falls until the stack ends.
pub(crate) fn fall() {
    #[inline(never)]
    fn deeper(depth: u64) -> u64 {
        if black_box(depth) == u64::MAX {
            return 0;
        }
        black_box(deeper(depth + 1)) ^ black_box(depth)
    }
    black_box(deeper(0));
}

/// Ends as a broken program does.
pub(crate) fn trap() {
    std::process::abort();
}

/// True for one of three contents, always for the same.
pub(crate) fn chance(seen: &[u8]) -> bool {
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    (seen.iter().fold(0xcbf2_9ce4_8422_2325, hash) >> 32).is_multiple_of(3)
}

/// More lines than anybody can read, long ones, with more fields than there is room for.
pub(crate) fn shout() {
    let long = "x".repeat(1 << 20);
    for number in 0..300 {
        let fields = [("number".to_owned(), number.to_string()), ("long".to_owned(), long.clone())];
        log::log(Level::Error, &long, &fields);
    }
    let many: Vec<_> = (0..1000).map(|field| (field.to_string(), field.to_string())).collect();
    log::log(Level::Error, "many fields", &many);
    for number in 0..3000 {
        println!("line {number}");
        eprintln!("line {number}");
    }
    print!("{long}");
}

/// One line, as a plugin should that has been asked to go.
pub(crate) fn say_goodbye() {
    log::log(Level::Warn, "goodbye", &[]);
}

/// A name and a label of its own for everything.
pub(crate) fn count_everything() {
    for number in 0..2000 {
        let labels = [(format!("label-{number}"), "x".repeat(1000))];
        Counter::new(&format!("counter-{number}"), &labels).add(u64::MAX);
        Gauge::new(&format!("gauge-{number}\n\"}}"), &labels).set(f64::NAN);
        Histogram::new(&"long".repeat(1000), &labels).observe_many(&[f64::INFINITY, -1.0]);
    }
}

/// Handles of metrics that are never dropped.
pub(crate) fn hold_handles() {
    let held: Vec<_> = (0..100_000).map(|_| Counter::new("held", &[])).collect();
    black_box(held);
}

/// Handles of WASI that are never dropped.
pub(crate) fn hold_pollables() {
    let subscribe = |nanos| wasip2::clocks::monotonic_clock::subscribe_duration(nanos);
    let held: Vec<_> = (0..200_000).map(subscribe).collect();
    black_box(held);
}

/// A gigabyte of random bytes, which the host would have to make.
pub(crate) fn ask_for_entropy() {
    black_box(wasip2::random::random::get_random_bytes(1 << 30));
}
