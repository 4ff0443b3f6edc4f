//! Both sides of a tunnel's connection: what a client asks, and what a broker answers.

use brooklet_tunnel::dry::pass;

/// The length of the requests in two bytes, the requests, and the answers behind them. What comes of them does not depend on
/// how they are cut into pieces.
pub fn run(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (requests, answers) = rest.split_at(length);
    let whole = pass(requests, answers, usize::MAX);
    for piece_bytes in [1, 7] {
        let pieces = pass(requests, answers, piece_bytes);
        assert_eq!(whole.expected, pieces.expected);
        assert_eq!(whole.ended, pieces.ended);
        // What is passed on of an answer that turns out to be none depends on how it came.
        if whole.ended.is_none() {
            assert_eq!(whole.answers, pieces.answers);
        }
    }
}
