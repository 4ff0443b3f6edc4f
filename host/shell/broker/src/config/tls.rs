//! Certificates, and how QUIC is spoken. Files are named here and read when the broker starts.

use std::path::PathBuf;
use std::time::Duration;

use brooklet_io::quic::{Congestion, QuicSettings};
use brooklet_io::tls::{ClientAuth, TlsFiles};

use super::fields::Fields;
use super::listener::{ListenerConfig, Transport};
use super::{Problem, fields};

/// How a client is asked for its certificate, as it is written.
const CLIENT_AUTH: [&str; 3] = ["none", "requested", "required"];
/// CUBIC is everybody's; BBR pays on links that lose packets without being full.
const CONGESTION: [&str; 2] = ["cubic", "bbr"];
/// Two producers and two consumers of ours with all their lanes, but for a handful.
const STREAMS_MAX: u32 = 256;
/// Each costs kilobytes once it is used.
const STREAMS_MAX_MAX: u32 = 4096;
/// Our client sends a keep-alive four times as often.
const IDLE_MS_MAX: u64 = 60_000;

/// The section `tls`, of the broker or of one listener; none where nothing is written.
pub(super) fn files(mut fields: Fields, problems: &mut Vec<Problem>) -> Option<TlsFiles> {
    if fields.is_empty() {
        return None;
    }
    let mut file = |name| PathBuf::from(fields.take(name, String::new(), problems));
    let (certificate, key, authorities) = (file("certificate"), file("key"), file("client_ca"));
    let asked = fields.take("client_auth", CLIENT_AUTH[0].to_owned(), problems);
    for (name, path) in [("certificate", &certificate), ("key", &key)] {
        if path.as_os_str().is_empty() {
            problems.push(fields.problem(name, "is missing; name a file in PEM"));
        }
    }
    let has_authorities = !authorities.as_os_str().is_empty();
    let client_auth = client_auth(&asked, authorities);
    match &client_auth {
        None => {
            let known = CLIENT_AUTH.join(", ");
            problems.push(fields.problem("client_auth", format!("{asked:?} is none of {known}")));
        }
        Some(ClientAuth::None) if has_authorities => {
            let message = "is of no use with client_auth: \"none\"";
            problems.push(fields.problem("client_ca", message));
        }
        Some(asking) if *asking != ClientAuth::None && !has_authorities => {
            let message = format!("is missing, and client_auth is {asked:?}");
            problems.push(fields.problem("client_ca", message));
        }
        Some(_) => {}
    }
    fields.finish(problems);
    Some(TlsFiles { certificate, key, client_auth: client_auth? })
}

/// Whom clients must have their certificates from: `none`, `requested` or `required`.
pub fn client_auth(text: &str, authorities: PathBuf) -> Option<ClientAuth> {
    match text {
        "none" => Some(ClientAuth::None),
        "requested" => Some(ClientAuth::Requested(authorities)),
        "required" => Some(ClientAuth::Required(authorities)),
        _ => None,
    }
}

/// Listeners that need a certificate and have none.
pub(super) fn missing(listeners: &[ListenerConfig], all: Option<&TlsFiles>) -> Vec<Problem> {
    let lacks = |listener: &ListenerConfig| {
        let needs = listener.address.transport == Transport::Tls;
        needs && listener.tls.is_none() && all.is_none()
    };
    let places = listeners.iter().enumerate().filter(|(_, listener)| lacks(listener));
    let message = "has no certificate; set tls.certificate and tls.key";
    places.map(|(place, _)| Problem::at(format!("listeners[{place}]"), message)).collect()
}

/// The section `quic`.
pub(super) fn quic(mut fields: Fields, problems: &mut Vec<Problem>) -> QuicSettings {
    let congestion = fields.take("congestion", CONGESTION[0].to_owned(), problems);
    let congestion = match congestion.as_str() {
        "cubic" => Congestion::Cubic,
        "bbr" => Congestion::Bbr,
        other => {
            problems.push(fields.problem("congestion", fields::unknown(other, &CONGESTION)));
            Congestion::Cubic
        }
    };
    let streams_max = fields.within("streams_max", STREAMS_MAX, 1..=STREAMS_MAX_MAX, problems);
    let idle = fields.within("idle_ms_max", IDLE_MS_MAX, 1_000..=3_600_000, problems);
    fields.finish(problems);
    QuicSettings { congestion, streams_max, idle_max: Duration::from_millis(idle) }
}
