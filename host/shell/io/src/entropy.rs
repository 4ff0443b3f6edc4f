//! Chance, from the operating system.
//!
//! **Decides** nothing. **Never** falls back to something weaker: ids made of it must be unique.

/// Random bytes; sixteen are enough for an id.
///
/// Panics where the system has no entropy source: nothing that is to be unique could be made.
pub fn bytes<const COUNT: usize>() -> [u8; COUNT] {
    let mut bytes = [0; COUNT];
    getrandom::fill(&mut bytes).expect("the operating system has an entropy source");
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_draws_are_alike() {
        assert_ne!(super::bytes::<16>(), super::bytes::<16>());
    }
}
