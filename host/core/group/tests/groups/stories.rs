//! Stories: what a coordinator says, line by line.

mod admission;
mod offsets;
mod rebalance;
mod statics;
