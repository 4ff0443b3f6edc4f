//! `brooklet quota`: set, list, delete.

use brooklet_client::Admin;
use brooklet_client::admin::QuotaFilter;
use brooklet_types::{QuotaEntity, QuotaKey, QuotaName};
use clap::Subcommand;
use serde_json::json;

use crate::Context;
use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Limit what somebody may take
    Set {
        #[command(flatten)]
        whose: Whose,
        /// Limits: producer_byte_rate, consumer_byte_rate, request_percentage, controller_mutation_rate; of an address connection_creation_rate
        #[arg(required = true, value_name = "QUOTA=LIMIT", value_parser = key_limit)]
        limits: Vec<(QuotaKey, f64)>,
    },
    /// List quotas, everybody's or one's
    List {
        #[command(flatten)]
        whose: Whose,
    },
    /// Take limits away, or all that somebody has
    Delete {
        #[command(flatten)]
        whose: Whose,
        #[arg(value_name = "QUOTA", value_parser = key)]
        quotas: Vec<QuotaKey>,
    },
}

/// Whom a quota is for.
#[derive(clap::Args)]
struct Whose {
    /// A user; * is every user who has no quota of their own
    #[arg(long)]
    user: Option<String>,
    /// What a client calls itself; * as for users
    #[arg(long = "client", value_name = "CLIENT-ID")]
    client_id: Option<String>,
    /// An address; * as for users
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["user", "client_id"])]
    ip: Option<String>,
}

impl Whose {
    fn entity(self) -> Option<QuotaEntity> {
        let name = |text: String| match text.as_str() {
            EVERYBODY => QuotaName::Default,
            _ => QuotaName::Exactly(text),
        };
        let (user, client) = (self.user.map(name), self.client_id.map(name));
        match (user, client, self.ip.map(name)) {
            (_, _, Some(ip)) => Some(QuotaEntity::Ip(ip)),
            (Some(user), Some(client), None) => Some(QuotaEntity::UserClientId(user, client)),
            (Some(user), None, None) => Some(QuotaEntity::User(user)),
            (None, Some(client), None) => Some(QuotaEntity::ClientId(client)),
            (None, None, None) => None,
        }
    }
}

/// How the default is written.
const EVERYBODY: &str = "*";

/// Carries out one of the verbs.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    let admin = Admin::new(context.client());
    let nobody = || Failure::usage("give --user, --client, both, or --ip");
    match arguments.verb {
        Verb::Set { whose, limits } => {
            let entity = whose.entity().ok_or_else(nobody)?;
            for (key, limit) in limits {
                admin.set_quota(&entity, key, Some(limit)).await?;
                context.say(&format!("{} {}={limit}", shown(&entity), key.name()), "set")?;
            }
            Ok(())
        }
        Verb::List { whose } => list(context, &admin, whose.entity()).await,
        Verb::Delete { whose, quotas } => {
            let entity = whose.entity().ok_or_else(nobody)?;
            let filter = QuotaFilter { entity: Some(entity.clone()) };
            let known = admin.quotas(&filter).await?;
            let known = known.iter().flat_map(|quota| &quota.limits).map(|(key, _)| *key);
            let all: Vec<QuotaKey> = known.collect();
            for key in if quotas.is_empty() { all } else { quotas } {
                admin.set_quota(&entity, key, None).await?;
                context.say(&format!("{} {}", shown(&entity), key.name()), "deleted")?;
            }
            Ok(())
        }
    }
}

async fn list(
    context: &mut Context,
    admin: &Admin,
    entity: Option<QuotaEntity>,
) -> Result<(), Failure> {
    for quota in admin.quotas(&QuotaFilter { entity }).await? {
        for (key, limit) in quota.limits {
            let (whose, key) = (shown(&quota.entity), key.name());
            if context.is_json() {
                context.output.json(&json!({ "for": whose, "quota": key, "limit": limit }))?;
            } else {
                context.output.line(&format!("{whose} {key}={limit}"))?;
            }
        }
    }
    Ok(())
}

/// `user=ada,client=*`.
fn shown(entity: &QuotaEntity) -> String {
    let name = |name: &QuotaName| match name {
        QuotaName::Default => EVERYBODY.to_owned(),
        QuotaName::Exactly(name) => name.clone(),
    };
    match entity {
        QuotaEntity::User(user) => format!("user={}", name(user)),
        QuotaEntity::ClientId(client) => format!("client={}", name(client)),
        QuotaEntity::UserClientId(user, client) => {
            format!("user={},client={}", name(user), name(client))
        }
        QuotaEntity::Ip(ip) => format!("ip={}", name(ip)),
    }
}

fn key(text: &str) -> Result<QuotaKey, String> {
    QuotaKey::from_name(text).ok_or_else(|| {
        let names = QuotaKey::ALL.map(QuotaKey::name);
        format!("there are {}", names.join(", "))
    })
}

fn key_limit(text: &str) -> Result<(QuotaKey, f64), String> {
    let (name, limit) = super::name_value(text)?;
    let limit = limit.parse().map_err(|_| format!("{limit:?} is not a number"))?;
    Ok((key(&name)?, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_quota_is_is_read_and_shown_alike() {
        let whose = |user: Option<&str>, client: Option<&str>, ip: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            let whose = Whose { user: own(user), client_id: own(client), ip: own(ip) };
            whose.entity().map(|entity| shown(&entity))
        };
        assert_eq!(whose(Some("ada"), Some("*"), None).as_deref(), Some("user=ada,client=*"));
        assert_eq!(whose(None, Some("app"), None).as_deref(), Some("client=app"));
        assert_eq!(whose(None, None, Some("*")).as_deref(), Some("ip=*"));
        assert_eq!(whose(None, None, None), None);
        assert_eq!(key_limit("producer_byte_rate=5e6"), Ok((QuotaKey::ProducerByteRate, 5e6)));
        assert!(key_limit("bytes=5").is_err() && key_limit("producer_byte_rate=a").is_err());
    }
}
