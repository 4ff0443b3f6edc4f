//! Plugins that mean harm, in a real broker: tests/hostile has them, and its README what comes of each.

mod deeds;
mod floods;
mod neighbours;
mod scene;
