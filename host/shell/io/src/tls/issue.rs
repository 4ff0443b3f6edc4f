//! Making certificates: one for QUIC where nobody has given us any, and others for development.
//!
//! **Decides** what such a certificate says: ECDSA on P-256, which every TLS library of the last ten years reads,
//! and no more rights than its purpose needs. Keys are for their owner's eyes, and a file that is there is
//! never written over.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::{ClientAuth, Fingerprint, TlsError, TlsFiles};
use crate::Clock;

/// Clocks differ: a certificate is good from a day before it was made.
const BACKDATED: Duration = Duration::from_secs(86_400);
/// Ten years: whoever pins a certificate trusts it and not its dates, and nobody renews it.
const SELF_MADE_DAYS: u32 = 3650;
/// What is called by what a client looks for is in the names behind it; this is for people.
const SELF_MADE_NAME: &str = "brooklet";

/// A certificate and its key, in PEM.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key. Whoever has it is believed to be its owner.
    pub key: String,
    /// The certificate's fingerprint.
    pub fingerprint: Fingerprint,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its common name.
    pub name: String,
    /// Whose it is; none where that says nothing.
    pub organization: Option<String>,
    /// The names and addresses that a client may reach it by.
    pub hosts: Vec<String>,
    /// How long it is good from now on.
    pub days: u32,
    /// What it is good for.
    pub purpose: Purpose,
}

/// What a certificate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To issue others.
    Authority,
    /// To be served with.
    Server,
    /// To be shown by a client.
    Client,
    /// Both of these: a broker is served with it, and shows it to other brokers.
    Node,
}

/// An authority that issues certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

fn failed(error: &rcgen::Error) -> TlsError {
    TlsError::Issue { reason: error.to_string() }
}

impl Authority {
    /// Reads an authority's certificate and key.
    pub fn read(certificate: &Path, key: &Path) -> Result<Authority, TlsError> {
        let text = |path: &Path| {
            let failed = |source| TlsError::Read { path: path.to_owned(), source };
            fs::read_to_string(path).map_err(failed)
        };
        let unsupported = |path: &Path, error: &rcgen::Error| TlsError::Unsupported {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let key_pair = KeyPair::from_pem(&text(key)?).map_err(|error| unsupported(key, &error))?;
        let issuer = Issuer::from_ca_cert_pem(&text(certificate)?, key_pair);
        Ok(Authority { issuer: issuer.map_err(|error| unsupported(certificate, &error))? })
    }

    /// A certificate by this authority.
    pub fn issue(&self, subject: &Subject, clock: &Clock) -> Result<Issued, TlsError> {
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let made = parameters(subject, clock)?.signed_by(&key, &self.issuer);
        let made = made.map_err(|error| failed(&error))?;
        Ok(Issued {
            certificate: made.pem(),
            key: key.serialize_pem(),
            fingerprint: Fingerprint::of(made.der()),
        })
    }
}

/// A certificate that vouches for itself.
pub fn self_signed(subject: &Subject, clock: &Clock) -> Result<Issued, TlsError> {
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let made = parameters(subject, clock)?.self_signed(&key).map_err(|error| failed(&error))?;
    Ok(Issued {
        certificate: made.pem(),
        key: key.serialize_pem(),
        fingerprint: Fingerprint::of(made.der()),
    })
}

fn parameters(subject: &Subject, clock: &Clock) -> Result<CertificateParams, TlsError> {
    let hosts = subject.hosts.clone();
    let mut parameters = CertificateParams::new(hosts).map_err(|error| failed(&error))?;
    let mut name = DistinguishedName::new();
    if let Some(organization) = &subject.organization {
        name.push(DnType::OrganizationName, organization.as_str());
    }
    name.push(DnType::CommonName, subject.name.as_str());
    parameters.distinguished_name = name;
    let millis = u64::try_from(clock.timestamp().0).unwrap_or(0);
    let now = date_time_ymd(1970, 1, 1) + Duration::from_millis(millis);
    parameters.not_before = now - BACKDATED;
    parameters.not_after = now + Duration::from_secs(u64::from(subject.days) * 86_400);
    let uses = match subject.purpose {
        Purpose::Authority => {
            // It issues certificates for ends, and makes no more authorities.
            parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            return Ok(parameters);
        }
        Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Purpose::Node => {
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
        }
    };
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = uses;
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}

/// The certificate in `folder` that was made for want of another; it is made if it is not there.
pub fn self_made(folder: &Path, clock: &Clock) -> Result<TlsFiles, TlsError> {
    let files = TlsFiles {
        certificate: folder.join("self-made.pem"),
        key: folder.join("self-made.key"),
        client_auth: ClientAuth::None,
    };
    let is_there = |path: &PathBuf| {
        let failed = |source| TlsError::Read { path: path.clone(), source };
        path.try_exists().map_err(failed)
    };
    // The certificate is written last: with it, all is there.
    if is_there(&files.certificate)? {
        return Ok(files);
    }
    let write = |source| TlsError::Write { path: folder.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(write)?;
    // A key without its certificate was left by a start that was cut off.
    match fs::remove_file(&files.key) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(TlsError::Write { path: files.key, source: error });
        }
        Ok(()) | Err(_) => {}
    }
    let subject = Subject {
        name: SELF_MADE_NAME.to_owned(),
        organization: None,
        hosts: vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()],
        days: SELF_MADE_DAYS,
        purpose: Purpose::Server,
    };
    let made = self_signed(&subject, clock)?;
    write_new(&files.key, made.key.as_bytes(), Eyes::Owner)?;
    let fresh = folder.join("self-made.pem.tmp");
    let _ = fs::remove_file(&fresh);
    write_new(&fresh, made.certificate.as_bytes(), Eyes::All)?;
    fs::rename(&fresh, &files.certificate).map_err(write)?;
    Ok(files)
}

/// Whose eyes a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eyes {
    /// The owner's.
    Owner,
    /// Everybody's, as far as the process's mask lets them.
    All,
}

/// Writes a file that is not there yet, durably.
pub fn write_new(path: &Path, content: &[u8], eyes: Eyes) -> Result<(), TlsError> {
    let failed = |source| TlsError::Write { path: path.to_owned(), source };
    let mode = match eyes {
        Eyes::Owner => 0o600,
        Eyes::All => 0o644,
    };
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// The fingerprint of the first certificate of a file.
pub fn fingerprint(path: &Path) -> Result<Fingerprint, TlsError> {
    let reason = |error: rustls_pki_types::pem::Error| TlsError::Pem {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let certificate = CertificateDer::from_pem_file(path).map_err(reason)?;
    Ok(Fingerprint::of(&certificate))
}
