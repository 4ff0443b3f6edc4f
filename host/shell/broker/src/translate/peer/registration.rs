//! BrokerRegistration: a broker that has come up says who it is, and is told its epoch.
//!
//! Kafka's request says of the last stop which registration it ended in good order, and the controller compares. Ours
//! asks only whether it was one, which the broker knows better: any `previous_broker_epoch` says yes, and -1 says no.

use std::collections::BTreeMap;

use brooklet_meta::broker::{BrokerEpoch, DirectoryId, Endpoint, FeatureRange, Incarnation};
use brooklet_meta::decide::broker::RegisterBroker;
use brooklet_types::ErrorCode;
use brooklet_wire::message::{
    BrokerRegistrationRequest, BrokerRegistrationResponse, StrBytes, Uuid,
    broker_registration_request::{Feature, Listener},
    make,
};

use super::{Malformed, NoAnswer, broker, broker_epoch, check, id, number, raw_broker_epoch};

/// Kafka's "the last stop was no good one".
const UNCLEAN: i64 = -1;
/// Some registration before this one.
const CLEAN: i64 = 0;

/// The longest name of a host, a listener, a feature or a rack: that of the domain name system. Every broker keeps
/// every other's.
pub const TEXT_BYTES_MAX: usize = 255;

/// A registration as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which cluster the broker means. Whoever has the connection compares.
    pub cluster_id: String,
    /// What it wants.
    pub wanted: RegisterBroker,
}

/// The request for a registration in the cluster of that id.
pub fn ask(wanted: &RegisterBroker, cluster_id: &str) -> BrokerRegistrationRequest {
    // No `..`: a new field does not compile until it is sent.
    let RegisterBroker { broker, incarnation, directory, endpoints, rack, features, clean } =
        wanted;
    make(|request: &mut BrokerRegistrationRequest| {
        request.broker_id = broker.0;
        request.cluster_id = cluster_id.into();
        request.incarnation_id = Uuid::from_bytes(incarnation.0);
        request.log_dirs = vec![Uuid::from_bytes(directory.0)];
        request.rack = rack.as_deref().map(StrBytes::from);
        request.previous_broker_epoch = if *clean { CLEAN } else { UNCLEAN };
        request.listeners = endpoints.iter().map(listener).collect();
        request.features = features.iter().map(|(name, range)| feature(name, *range)).collect();
    })
}

/// Reads the request.
///
/// # Errors
/// If it is not one broker on one folder, each feature named once.
pub fn asked(request: &BrokerRegistrationRequest) -> Result<Asked, Malformed> {
    if request.is_migrating_zk_broker {
        return Err(number("is_migrating_zk_broker", 1));
    }
    let directory = match request.log_dirs.as_slice() {
        [] => return Err(Malformed::Missing { field: "log_dirs" }),
        [one] => DirectoryId(id("log_dirs", *one)?),
        more => return Err(Malformed::Repeated { field: "log_dirs", count: more.len() }),
    };
    let clean = match request.previous_broker_epoch {
        UNCLEAN => false,
        0.. => true,
        epoch => return Err(number("previous_broker_epoch", epoch)),
    };
    let endpoints: Result<Vec<Endpoint>, Malformed> =
        request.listeners.iter().map(endpoint).collect();
    let wanted = RegisterBroker {
        broker: broker("broker_id", request.broker_id)?,
        incarnation: Incarnation(id("incarnation_id", request.incarnation_id)?),
        directory,
        endpoints: endpoints?,
        rack: request.rack.as_ref().map(|rack| text("rack", rack)).transpose()?,
        features: features(&request.features)?,
        clean,
    };
    Ok(Asked { cluster_id: text("cluster_id", &request.cluster_id)?, wanted })
}

/// The response.
pub fn answer(outcome: Result<BrokerEpoch, ErrorCode>) -> BrokerRegistrationResponse {
    make(|response: &mut BrokerRegistrationResponse| match outcome {
        Ok(epoch) => response.broker_epoch = raw_broker_epoch(epoch),
        Err(code) => response.error_code = code.to_wire(),
    })
}

/// Reads the response.
///
/// # Errors
/// If the broker was not registered.
pub fn answered(response: &BrokerRegistrationResponse) -> Result<BrokerEpoch, NoAnswer> {
    check(response.error_code)?;
    Ok(broker_epoch("broker_epoch", response.broker_epoch)?)
}

fn listener(endpoint: &Endpoint) -> Listener {
    let Endpoint { name, host, port, protocol } = endpoint;
    make(|listener: &mut Listener| {
        listener.name = name.as_str().into();
        listener.host = host.as_str().into();
        listener.port = *port;
        listener.security_protocol = *protocol;
    })
}

fn endpoint(listener: &Listener) -> Result<Endpoint, Malformed> {
    let protocol = listener.security_protocol;
    // Kafka's PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL.
    if !(0..=3).contains(&protocol) {
        return Err(number("security_protocol", protocol));
    }
    Ok(Endpoint {
        name: text("listener", &listener.name)?,
        host: text("host", &listener.host)?,
        port: listener.port,
        protocol,
    })
}

fn feature(name: &str, range: FeatureRange) -> Feature {
    let level = |level| i16::try_from(level).expect("levels are counted from zero by releases");
    make(|feature: &mut Feature| {
        feature.name = name.into();
        feature.min_supported_version = level(range.min);
        feature.max_supported_version = level(range.max);
    })
}

fn features(named: &[Feature]) -> Result<BTreeMap<String, FeatureRange>, Malformed> {
    let mut features = BTreeMap::new();
    for feature in named {
        let level = |field, raw: i16| u16::try_from(raw).map_err(|_| number(field, raw));
        let min = level("min_supported_version", feature.min_supported_version)?;
        let max = level("max_supported_version", feature.max_supported_version)?;
        if min > max {
            return Err(number("max_supported_version", feature.max_supported_version));
        }
        let before = features.insert(text("feature", &feature.name)?, FeatureRange { min, max });
        if before.is_some() {
            return Err(Malformed::Repeated { field: "feature", count: 2 });
        }
    }
    Ok(features)
}

fn text(field: &'static str, raw: &StrBytes) -> Result<String, Malformed> {
    match raw.len() {
        0 => Err(Malformed::Missing { field }),
        1..=TEXT_BYTES_MAX => Ok(raw.to_string()),
        bytes => Err(Malformed::Length { field, bytes }),
    }
}

#[cfg(test)]
mod tests {
    use brooklet_types::BrokerId;

    use super::*;

    fn wanted(clean: bool) -> RegisterBroker {
        RegisterBroker {
            broker: BrokerId(3),
            incarnation: Incarnation([5; 16]),
            directory: DirectoryId([7; 16]),
            endpoints: vec![Endpoint {
                name: "CLIENTS".to_owned(),
                host: "edge.example".to_owned(),
                port: 65_535,
                protocol: 1,
            }],
            rack: clean.then(|| "r1".to_owned()),
            features: BTreeMap::from([("f".to_owned(), FeatureRange { min: 0, max: 2 })]),
            clean,
        }
    }

    #[test]
    fn what_is_wanted_is_what_is_asked() {
        for clean in [true, false] {
            let wanted = wanted(clean);
            let cluster_id = "cluster".to_owned();
            assert_eq!(asked(&ask(&wanted, &cluster_id)), Ok(Asked { cluster_id, wanted }));
        }
    }

    #[test]
    fn what_is_answered_is_what_came_of_it() {
        assert_eq!(answered(&answer(Ok(BrokerEpoch(41)))), Ok(BrokerEpoch(41)));
        let refused = ErrorCode::DuplicateBrokerRegistration;
        assert_eq!(answered(&answer(Err(refused))), Err(NoAnswer::Refused(refused)));
        let silent = BrokerRegistrationResponse::default();
        assert_eq!(answered(&silent), Err(number("broker_epoch", -1).into()));
    }

    type Spoil = fn(&mut BrokerRegistrationRequest);

    #[test]
    fn what_means_nothing_is_refused_by_name() {
        let missing = |field| Malformed::Missing { field };
        let twice = |field| Malformed::Repeated { field, count: 2 };
        let table: &[(Spoil, Malformed)] = &[
            (|it| it.broker_id = -1, number("broker_id", -1)),
            (|it| it.broker_id = i32::MIN, number("broker_id", i32::MIN)),
            (|it| it.cluster_id = "".into(), missing("cluster_id")),
            (|it| it.incarnation_id = Uuid::ZERO, missing("incarnation_id")),
            (|it| it.log_dirs.clear(), missing("log_dirs")),
            (|it| it.log_dirs = vec![Uuid::ZERO], missing("log_dirs")),
            (|it| it.log_dirs.push(Uuid::from_bytes([1; 16])), twice("log_dirs")),
            (|it| it.is_migrating_zk_broker = true, number("is_migrating_zk_broker", 1)),
            (|it| it.previous_broker_epoch = -2, number("previous_broker_epoch", -2)),
            (|it| it.listeners[0].security_protocol = 4, number("security_protocol", 4)),
            (|it| it.listeners[0].security_protocol = -1, number("security_protocol", -1)),
            (|it| it.listeners[0].name = "".into(), missing("listener")),
            (
                |it| it.listeners[0].host = StrBytes::from("h".repeat(256)),
                Malformed::Length { field: "host", bytes: 256 },
            ),
            (|it| it.rack = Some("".into()), missing("rack")),
            (|it| it.features[0].min_supported_version = -1, number("min_supported_version", -1)),
            (|it| it.features[0].min_supported_version = 3, number("max_supported_version", 2)),
            (|it| it.features.push(it.features[0].clone()), twice("feature")),
        ];
        for (spoil, malformed) in table {
            let mut request = ask(&wanted(true), "cluster");
            spoil(&mut request);
            assert_eq!(asked(&request), Err(malformed.clone()));
        }
    }
}
