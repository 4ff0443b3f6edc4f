//! Structured logs: [`info!`](crate::info) and its siblings. They end in the broker's log and in
//! `brooklet plugin logs`.

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever wrote the plugin.
    Trace,
    /// One line per batch, never per record.
    Debug,
    /// A change of state that an operator would want in a timeline.
    Info,
    /// Should not happen, but heals.
    Warn,
    /// Needs a person.
    Error,
}

/// Whether a line of this level would be kept.
pub fn enabled(level: Level) -> bool {
    #[cfg(target_family = "wasm")]
    return crate::bindings::brooklet::plugin::log::enabled(wire(level));
    #[cfg(not(target_family = "wasm"))]
    return crate::stand_in::keeps(level);
}

/// Writes a line with fields. The macros are shorter.
pub fn write(level: Level, message: &str, fields: Vec<(String, String)>) {
    #[cfg(target_family = "wasm")]
    crate::bindings::brooklet::plugin::log::log(wire(level), message, &fields);
    #[cfg(not(target_family = "wasm"))]
    crate::stand_in::log(level, message, fields);
}

#[cfg(target_family = "wasm")]
fn wire(level: Level) -> crate::bindings::brooklet::plugin::log::Level {
    use crate::bindings::brooklet::plugin::log::Level as Wire;
    match level {
        Level::Trace => Wire::Trace,
        Level::Debug => Wire::Debug,
        Level::Info => Wire::Info,
        Level::Warn => Wire::Warn,
        Level::Error => Wire::Error,
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $($name:ident = $value:expr,)* $format:literal $(, $argument:expr)* $(,)?) => {
        if $crate::log::enabled($crate::log::Level::$level) {
            $crate::log::write(
                $crate::log::Level::$level,
                &::std::format!($format $(, $argument)*),
                ::std::vec![$((
                    ::std::string::String::from(::std::stringify!($name)),
                    ::std::string::ToString::to_string(&$value),
                )),*],
            );
        }
    };
}

/// Logs at `trace`: `trace!(field = value, "a message with {}", arguments)`.
#[macro_export]
macro_rules! trace {
    ($($argument:tt)+) => { $crate::__log!(Trace, $($argument)+) };
}

/// Logs at `debug`: `debug!(field = value, "a message with {}", arguments)`.
#[macro_export]
macro_rules! debug {
    ($($argument:tt)+) => { $crate::__log!(Debug, $($argument)+) };
}

/// Logs at `info`: `info!(field = value, "a message with {}", arguments)`.
#[macro_export]
macro_rules! info {
    ($($argument:tt)+) => { $crate::__log!(Info, $($argument)+) };
}

/// Logs at `warn`: `warn!(field = value, "a message with {}", arguments)`.
#[macro_export]
macro_rules! warn {
    ($($argument:tt)+) => { $crate::__log!(Warn, $($argument)+) };
}

/// Logs at `error`: `error!(field = value, "a message with {}", arguments)`.
#[macro_export]
macro_rules! error {
    ($($argument:tt)+) => { $crate::__log!(Error, $($argument)+) };
}
