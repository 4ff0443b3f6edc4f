//! One target under libFuzzer: the one that `BROOKLET_FUZZ` names.
#![no_main]

use std::sync::LazyLock;

use brooklet_fuzz::{Target, target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("BROOKLET_FUZZ").expect("BROOKLET_FUZZ names a target");
    target(&name).unwrap_or_else(|| panic!("{name} is no target"))
});

fuzz_target!(|input: &[u8]| {
    (TARGET.run)(input);
});
