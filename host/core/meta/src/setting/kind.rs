//! Types of settings, and Kafka's way of reading and refusing values.

use std::fmt::Display;

/// Type and limits of a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean,
    /// Any text.
    Text,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// 16 bits.
    Short,
    /// 32 bits within limits.
    Int { min: i32, max: i32 },
    /// -1 for the codec's own level, or 1 to 9.
    GzipLevel,
    /// 64 bits, not below.
    Long { min: i64 },
    /// A number within limits.
    Double { min: f64, max: f64 },
    /// Comma-separated items, each of these if there are any; may be empty.
    List(&'static [&'static str]),
    /// `*`, or `partition:broker` pairs.
    Replicas,
}

/// Why a value was refused. The texts are Kafka's, because clients show them and tests match them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The value is of another type, or outside the limits.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Invalid { name: String, value: String, reason: String },
    /// An item of a list is empty.
    #[error("Configuration '{name}' values must not be empty.")]
    EmptyItem { name: String },
}

impl Kind {
    /// The type's number in DescribeConfigs (`ConfigDef.Type` there).
    pub fn to_wire(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::Text | Kind::OneOf(_) => 2,
            Kind::Int { .. } | Kind::GzipLevel => 3,
            Kind::Short => 4,
            Kind::Long { .. } => 5,
            Kind::Double { .. } => 6,
            Kind::List(_) | Kind::Replicas => 7,
        }
    }

    /// Whether values can be appended to and subtracted from.
    pub fn is_list(self) -> bool {
        matches!(self, Kind::List(_) | Kind::Replicas)
    }

    /// A value that was taken, as DescribeConfigs tells it: Kafka reads it and writes it
    /// again there, and only there.
    pub fn told(self, value: &str) -> String {
        let trimmed = value.trim();
        match self {
            Kind::Text | Kind::OneOf(_) => value.to_owned(),
            Kind::Boolean => trimmed.to_ascii_lowercase(),
            Kind::Short | Kind::Int { .. } | Kind::GzipLevel | Kind::Long { .. } => {
                let number = trimmed.parse::<i64>();
                number.map_or_else(|_| value.to_owned(), |number| number.to_string())
            }
            Kind::Double { .. } => {
                trimmed.parse().map_or_else(|_| value.to_owned(), as_java_writes_it)
            }
            Kind::List(_) | Kind::Replicas => items(value).join(","),
        }
    }

    /// Reads `value` and says what is wrong with it.
    pub fn check(self, name: &str, value: &str) -> Result<(), SettingError> {
        let invalid = |value: String, reason: String| {
            Err(SettingError::Invalid { name: name.to_owned(), value, reason })
        };
        let trimmed = value.trim();
        match self {
            Kind::Text => Ok(()),
            Kind::Boolean => match trimmed.to_ascii_lowercase().as_str() {
                "true" | "false" => Ok(()),
                _ => invalid(value.into(), "Expected value to be either true or false".into()),
            },
            Kind::OneOf(allowed) if allowed.contains(&value) => Ok(()),
            Kind::OneOf(allowed) => invalid(value.into(), one_of(allowed)),
            Kind::Short => match trimmed.parse::<i16>() {
                Ok(_) => Ok(()),
                Err(_) => invalid(value.into(), "Not a number of type SHORT".into()),
            },
            Kind::Int { min, max } => match trimmed.parse::<i32>() {
                Ok(number) => within(number, min, max).or_else(|why| invalid(trimmed.into(), why)),
                Err(_) => invalid(value.into(), "Not a number of type INT".into()),
            },
            Kind::GzipLevel => match trimmed.parse::<i32>() {
                Ok(-1 | 1..=9) => Ok(()),
                Ok(_) => {
                    invalid(trimmed.into(), "Value must be between 1 and 9 or equal to -1".into())
                }
                Err(_) => invalid(value.into(), "Not a number of type INT".into()),
            },
            Kind::Long { min } => match trimmed.parse::<i64>() {
                Ok(number) => {
                    within(number, min, i64::MAX).or_else(|why| invalid(trimmed.into(), why))
                }
                Err(_) => invalid(value.into(), "Not a number of type LONG".into()),
            },
            Kind::Double { min, max } => match trimmed.parse::<f64>() {
                Ok(number) => {
                    within(number, min, max).or_else(|why| invalid(format!("{number:?}"), why))
                }
                Err(_) => invalid(value.into(), "Not a number of type DOUBLE".into()),
            },
            Kind::List(allowed) => check_list(name, allowed, value),
            Kind::Replicas if are_replicas(value) => Ok(()),
            Kind::Replicas => invalid(
                format!("[{}]", items(value).join(", ")),
                format!(
                    "{name} must be the literal '*' or a list of replicas in the following \
                     format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
                ),
            ),
        }
    }
}

/// A number between 0 and 1 as Java's `Double.toString` has it: small ones with an exponent.
fn as_java_writes_it(number: f64) -> String {
    const PLAIN_MIN: f64 = 1e-3;
    if number == 0.0 || number.abs() >= PLAIN_MIN {
        return format!("{number:?}");
    }
    let text = format!("{number:E}");
    if text.contains('.') { text } else { text.replacen('E', ".0E", 1) }
}

/// The items of a list, without the space around them. An empty text has none.
pub fn items(value: &str) -> Vec<&str> {
    if value.trim().is_empty() {
        return Vec::new();
    }
    value.trim().split(',').map(str::trim).collect()
}

fn check_list(name: &str, allowed: &[&str], value: &str) -> Result<(), SettingError> {
    for item in items(value) {
        if item.is_empty() {
            return Err(SettingError::EmptyItem { name: name.to_owned() });
        }
        if !allowed.is_empty() && !allowed.contains(&item) {
            let (name, value) = (name.to_owned(), item.to_owned());
            return Err(SettingError::Invalid { name, value, reason: one_of(allowed) });
        }
    }
    Ok(())
}

fn one_of(allowed: &[&str]) -> String {
    format!("String must be one of: {}", allowed.join(", "))
}

/// Also refuses NaN, which is neither below nor above.
fn within<N: PartialOrd + Display>(number: N, min: N, max: N) -> Result<(), String> {
    if number > max {
        return Err(format!("Value must be no more than {max}"));
    }
    if number >= min { Ok(()) } else { Err(format!("Value must be at least {min}")) }
}

fn are_replicas(value: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_pair = |item: &&str| {
        item.split_once(':').is_some_and(|(one, other)| is_number(one) && is_number(other))
    };
    value.trim() == "*" || items(value).iter().all(is_pair)
}

#[cfg(test)]
mod tests {
    use crate::setting::topic;

    /// Every line was asked of Kafka 4.3.1.
    #[test]
    fn values_are_refused_in_kafkas_words() {
        let refused = [
            ("retention.ms", "x", "Not a number of type LONG"),
            ("retention.ms", "-5", "Value must be at least -1"),
            ("retention.ms", "", "Not a number of type LONG"),
            ("segment.bytes", "1", "Value must be at least 1048576"),
            ("segment.bytes", "99999999999", "Not a number of type INT"),
            ("cleanup.policy", "foo", "String must be one of: compact, delete"),
            (
                "compression.type",
                "bad",
                "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
            ),
            ("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
            ("compression.lz4.level", "18", "Value must be no more than 17"),
            ("compression.zstd.level", "-131073", "Value must be at least -131072"),
            ("preallocate", "maybe", "Expected value to be either true or false"),
            ("min.cleanable.dirty.ratio", "abc", "Not a number of type DOUBLE"),
            ("min.insync.replicas", "0", "Value must be at least 1"),
            (
                "message.timestamp.type",
                "logappendtime",
                "String must be one of: CreateTime, LogAppendTime",
            ),
            ("segment.index.bytes", "3", "Value must be at least 4"),
            ("brooklet.flush", "maybe", "String must be one of: sync, os"),
        ];
        for (name, value, reason) in refused {
            let error = topic::find(name).unwrap().check(value).unwrap_err().to_string();
            assert_eq!(error, format!("Invalid value {value} for configuration {name}: {reason}"));
        }
        let ratio = topic::find("min.cleanable.dirty.ratio").unwrap();
        let error = ratio.check("2").unwrap_err().to_string();
        let expected = "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: \
                        Value must be no more than 1";
        assert_eq!(error, expected);
        assert!(ratio.check("NaN").is_err());
        let error = topic::find("cleanup.policy").unwrap().check("compact,,delete").unwrap_err();
        assert_eq!(error.to_string(), "Configuration 'cleanup.policy' values must not be empty.");
    }

    /// Every line was asked of Kafka 4.3.1.
    #[test]
    fn values_are_told_as_kafka_has_read_them() {
        let told = [
            ("retention.ms", " 5 ", "5"),
            ("segment.bytes", "+1048576", "1048576"),
            ("cleanup.policy", "compact, delete", "compact,delete"),
            ("cleanup.policy", "", ""),
            ("preallocate", "TRUE", "true"),
            ("min.cleanable.dirty.ratio", ".5", "0.5"),
            ("min.cleanable.dirty.ratio", "1", "1.0"),
            ("min.cleanable.dirty.ratio", "0.00015", "1.5E-4"),
            ("min.cleanable.dirty.ratio", "0.0001", "1.0E-4"),
            ("compression.type", "lz4", "lz4"),
        ];
        for (name, value, expected) in told {
            let setting = topic::find(name).unwrap();
            assert_eq!(setting.check(value), Ok(()), "{name}={value}");
            assert_eq!(setting.kind.told(value), expected, "{name}={value}");
        }
    }

    #[test]
    fn values_are_read_as_generously_as_kafka_reads_them() {
        let taken = [
            ("retention.ms", " 12 "),
            ("cleanup.policy", ""),
            ("cleanup.policy", "compact, delete"),
            ("preallocate", "TRUE"),
            ("retention.bytes", "-2"),
            ("leader.replication.throttled.replicas", "*"),
            ("leader.replication.throttled.replicas", "0:1,1:1"),
        ];
        for (name, value) in taken {
            assert_eq!(topic::find(name).unwrap().check(value), Ok(()), "{name}={value}");
        }
    }
}
