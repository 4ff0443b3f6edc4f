//! What a coordinator does, told as stories and checked over random histories.

#[cfg(test)]
mod histories;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod stories;
