//! Who is let in, and how they have to say who they are.
//!
//! **Decides** which listeners are refused for what they would let in: whoever can reach one that asks nobody who
//! they are can do everything, and over TCP in the clear others can read along and go on in a client's stead. On an address that other
//! machines can reach, either has to be asked for by name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use brooklet_auth::acl::AuthorizerSettings;
use brooklet_auth::oauth::{KeySet, TokenRules};
use brooklet_auth::principal::mapping::PrincipalMapping;
use brooklet_auth::{Mechanism, Principal};
use brooklet_io::tls::{ClientAuth, TlsFiles};
use brooklet_types::ScramHash;

use super::Problem;
use super::fields::Fields;
use super::listener::{Address, ListenerConfig, Transport};

/// What needs no more than its name: tokens need somebody whose signature is believed.
const BY_NAME: [Mechanism; 3] =
    [Mechanism::Plain, Mechanism::Scram(ScramHash::Sha256), Mechanism::Scram(ScramHash::Sha512)];

/// How clients of a listener say who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaslConfig {
    /// By one of these, told to clients in this order.
    pub mechanisms: Vec<Mechanism>,
    /// How long that holds; none for as long as the connection. Kafka's `connections.max.reauth.ms`.
    pub session_max: Option<Duration>,
    /// Whose tokens are taken, where OAUTHBEARER is among the mechanisms.
    pub oauth: Option<OauthConfig>,
}

/// Whose tokens are taken, and what they have to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OauthConfig {
    /// Who may have signed them.
    pub keys: KeySource,
    /// What they must say.
    pub rules: TokenRules,
}

/// Where an issuer's keys are, as a JSON Web Key Set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// In a file, which is followed.
    File(PathBuf),
    /// In the configuration, where it was found usable.
    Inline(String),
}

/// Who there is at first, and what may be served to everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessConfig {
    /// Users who are created where the cluster has none, each with a file that holds the password.
    pub first_users: BTreeMap<String, PathBuf>,
    /// Whether a listener that other machines can reach may ask nobody who they are.
    pub public_unauthenticated: bool,
    /// Whether SASL may be spoken in the clear on a listener that other machines can reach.
    pub public_unencrypted: bool,
    /// Who may do what; none where everybody may do everything.
    pub authorizer: Option<AuthorizerSettings>,
}

/// What `authorizer` may be. A word and not a switch: who asks a plugin will have to name it.
const AUTHORIZERS: [&str; 2] = ["none", "acls"];

impl SaslConfig {
    /// These mechanisms, in this order, for sessions without an end.
    ///
    /// # Errors
    /// With everything that is wrong about them.
    pub fn of(names: &[String]) -> Result<SaslConfig, Vec<String>> {
        SaslConfig::among(&BY_NAME, names)
    }

    fn among(known: &[Mechanism], names: &[String]) -> Result<SaslConfig, Vec<String>> {
        let (mut mechanisms, mut wrong) = (Vec::new(), Vec::new());
        for name in names {
            match known.iter().copied().find(|known| known.name() == name) {
                Some(mechanism) if mechanisms.contains(&mechanism) => {
                    wrong.push(format!("{name} stands here twice"));
                }
                Some(mechanism) => mechanisms.push(mechanism),
                None => {
                    let known: Vec<&str> = known.iter().map(|it| it.name()).collect();
                    let problem = super::fields::unknown(name, &known);
                    wrong.push(format!("{name:?} {problem}"));
                }
            }
        }
        if names.is_empty() {
            wrong.push("is empty; SCRAM-SHA-512 is for clients of today".to_owned());
        }
        let sasl = SaslConfig { mechanisms, session_max: None, oauth: None };
        if wrong.is_empty() { Ok(sasl) } else { Err(wrong) }
    }
}

impl AccessConfig {
    pub(super) fn check(mut fields: Fields, problems: &mut Vec<Problem>) -> AccessConfig {
        let first_users: BTreeMap<String, PathBuf> =
            fields.take("first_users", BTreeMap::new(), problems);
        for (user, file) in &first_users {
            if user.is_empty() {
                problems.push(fields.problem("first_users", "has a user without a name"));
            }
            if file.as_os_str().is_empty() {
                let message = format!("{user:?} has no file; name one that holds the password");
                problems.push(fields.problem("first_users", message));
            }
        }
        let public_unauthenticated = fields.take("public_unauthenticated", false, problems);
        let public_unencrypted = fields.take("public_unencrypted", false, problems);
        let authorizer = authorizer(&mut fields, problems);
        fields.finish(problems);
        AccessConfig { first_users, public_unauthenticated, public_unencrypted, authorizer }
    }

    /// As Kafka has it, and what it is there.
    pub(super) fn broker_settings(&self) -> Vec<(&'static str, String)> {
        let Some(authorizer) = &self.authorizer else { return Vec::new() };
        let users: Vec<&str> = authorizer.super_users.iter().map(Principal::as_str).collect();
        vec![
            ("allow.everyone.if.no.acl.found", authorizer.allow_without_rules.to_string()),
            ("authorizer.class.name", STANDARD_AUTHORIZER.to_owned()),
            ("super.users", users.join(";")),
        ]
    }
}

/// Kafka's, whose answers these are: tools look for the name.
const STANDARD_AUTHORIZER: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";

/// `authorizer`, and what only it has a use for. Nobody may do anything where there are no rules yet, so
/// somebody has to be above them, or nobody could ever make one.
fn authorizer(fields: &mut Fields, problems: &mut Vec<Problem>) -> Option<AuthorizerSettings> {
    let kind = fields.take("authorizer", AUTHORIZERS[0].to_owned(), problems);
    let names: Vec<String> = fields.take("super_users", Vec::new(), problems);
    let allow_without_rules = fields.take("allow_everyone_if_no_acl", false, problems);
    let mut super_users = BTreeSet::new();
    for name in &names {
        match Principal::parse(name) {
            Some(principal) if principal.name().is_empty() => {
                problems.push(fields.problem("super_users", format!("{name:?} has no name")));
            }
            Some(principal) => drop(super_users.insert(principal)),
            None => {
                let message = format!("{name:?} is no principal; write \"User:{name}\"");
                problems.push(fields.problem("super_users", message));
            }
        }
    }
    match kind.as_str() {
        "acls" => {
            if names.is_empty() && !allow_without_rules {
                let message =
                    "is empty, and without a rule nobody may do anything: nobody could make one";
                problems.push(fields.problem("super_users", message));
            }
            Some(AuthorizerSettings { super_users, allow_without_rules })
        }
        "none" => {
            if !names.is_empty() {
                let message = "is of no use without authorizer: \"acls\"";
                problems.push(fields.problem("super_users", message));
            }
            if allow_without_rules {
                let message = "is of no use without authorizer: \"acls\"";
                problems.push(fields.problem("allow_everyone_if_no_acl", message));
            }
            None
        }
        _ => {
            let message = super::fields::unknown(&kind, &AUTHORIZERS);
            problems.push(fields.problem("authorizer", format!("{kind:?} {message}")));
            None
        }
    }
}

/// The section `sasl` of a listener; none where nothing is written.
pub(super) fn sasl(mut fields: Fields, problems: &mut Vec<Problem>) -> Option<SaslConfig> {
    if fields.is_empty() {
        return None;
    }
    let names: Vec<String> = fields.take("mechanisms", Vec::new(), problems);
    let sasl = SaslConfig::among(&Mechanism::ALL, &names).map_err(|wrong| {
        problems.extend(wrong.into_iter().map(|message| fields.problem("mechanisms", message)));
    });
    let session_ms = fields.within("session_ms_max", 0, 0..=i32::MAX as u64, problems);
    let section = fields.section("oauth", problems);
    let is_given = !section.is_empty();
    let oauth = if is_given { oauth(section, problems) } else { None };
    let takes_tokens = names.iter().any(|name| name == Mechanism::OauthBearer.name());
    if takes_tokens && !is_given {
        let message = "is missing: whose tokens are taken has to be said";
        problems.push(fields.problem("oauth", message));
    }
    if is_given && !takes_tokens {
        problems.push(fields.problem("oauth", "is of no use without the mechanism OAUTHBEARER"));
    }
    fields.finish(problems);
    let session_max = Some(Duration::from_millis(session_ms)).filter(|most| !most.is_zero());
    Some(SaslConfig { session_max, oauth, ..sasl.ok()? })
}

/// The section `oauth` of a listener's SASL. The names are those of Kafka's `sasl.oauthbearer` settings.
fn oauth(mut fields: Fields, problems: &mut Vec<Problem>) -> Option<OauthConfig> {
    let defaults = TokenRules::default();
    let file = fields.take("jwks_file", String::new(), problems);
    let inline = fields.take("jwks", String::new(), problems);
    let issuer = fields.take("issuer", String::new(), problems);
    let audiences: Vec<String> = fields.take("audiences", Vec::new(), problems);
    let scopes: Vec<String> = fields.take("scopes", Vec::new(), problems);
    let user_claim = fields.take("user_claim", defaults.user_claim.clone(), problems);
    let skew = fields.within("clock_skew_seconds", defaults.leeway.as_secs(), 0..=3600, problems);
    if user_claim.is_empty() {
        problems.push(fields.problem("user_claim", "is empty; Kafka takes sub"));
    }
    let keys = match (file.is_empty(), inline.is_empty()) {
        (false, true) => Some(KeySource::File(PathBuf::from(file))),
        (true, false) => match KeySet::parse(inline.as_bytes()) {
            Ok(_usable) => Some(KeySource::Inline(inline)),
            Err(error) => {
                problems.push(fields.problem("jwks", error.to_string()));
                None
            }
        },
        (true, true) => {
            let message = "is missing; name a file with the issuer's keys (a JSON Web Key Set)";
            problems.push(fields.problem("jwks_file", message));
            None
        }
        (false, false) => {
            problems.push(fields.problem("jwks", "is of no use beside jwks_file"));
            None
        }
    };
    fields.finish(problems);
    let rules = TokenRules {
        issuer: Some(issuer).filter(|issuer| !issuer.is_empty()),
        audiences: audiences.into_iter().collect(),
        scopes: scopes.into_iter().collect(),
        user_claim,
        leeway: Duration::from_secs(skew),
        ..defaults
    };
    Some(OauthConfig { keys: keys?, rules })
}

/// The rules of a listener that make a user's name of a certificate's subject.
pub(super) fn principals(fields: &mut Fields, problems: &mut Vec<Problem>) -> Option<String> {
    let rules: String = fields.take("principals", String::new(), problems);
    if rules.is_empty() {
        return None;
    }
    if let Err(error) = PrincipalMapping::parse(&rules) {
        problems.push(fields.problem("principals", error.to_string()));
    }
    Some(rules)
}

/// Listeners that let in more than somebody has asked for, or have rules for what nobody shows.
pub(super) fn exposed(
    listeners: &[ListenerConfig],
    all: Option<&TlsFiles>,
    access: &AccessConfig,
) -> Vec<Problem> {
    let complaint = |listener: &ListenerConfig| {
        let files = listener.tls.as_ref().or(all);
        let asked = files.map_or(&ClientAuth::None, |files| &files.client_auth);
        let (is_certified, is_asked) = match asked {
            _ if listener.address.transport == Transport::Tcp => (false, false),
            ClientAuth::None => (false, false),
            ClientAuth::Requested(_) => (false, true),
            ClientAuth::Required(_) => (true, true),
        };
        if listener.principals.is_some() && (!is_asked || listener.sasl.is_some()) {
            return Some(
                "has principals, which are for certificates of clients: it asks for none, or knows \
                 them by SASL",
            );
        }
        if is_local(&listener.address) {
            return None;
        }
        let is_clear = listener.address.transport == Transport::Tcp;
        if listener.sasl.is_none() && !is_certified && !access.public_unauthenticated {
            return Some(
                "lets everybody in who can reach it; give it sasl or client_auth: \"required\", or set \
                 access.public_unauthenticated",
            );
        }
        if listener.sasl.is_some() && is_clear && !access.public_unencrypted {
            return Some(
                "speaks SASL in the clear; write tls:// or quic://, or set access.public_unencrypted",
            );
        }
        None
    };
    let complaints = listeners.iter().enumerate().filter_map(|(place, listener)| {
        let message = format!("{} {}", listener.address, complaint(listener)?);
        Some(Problem::at(format!("listeners[{place}]"), message))
    });
    complaints.collect()
}

/// Whether only this machine can reach an address. A name may stand for any, but for one.
fn is_local(address: &Address) -> bool {
    let host = address.host.as_str();
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}
