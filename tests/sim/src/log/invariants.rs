//! One file per property, each naming what promises it.

pub mod nothing_acknowledged_is_lost;
pub mod reads_return_what_was_written;
