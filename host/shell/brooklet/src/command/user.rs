//! `brooklet user`: create, list, delete.

use std::num::NonZeroU32;
use std::path::PathBuf;

use brooklet_client::admin::NewPassword;
use brooklet_client::{Admin, SaslMechanism};
use clap::Subcommand;
use serde_json::json;

use super::password;
use crate::Context;
use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Create a user, or give one another password
    Create {
        name: String,
        /// File with the password, - for standard input; asked for if not given
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// How the user may log in; PLAIN goes with either. Both unless said
        #[arg(long, value_name = "SCRAM-SHA-…")]
        mechanism: Vec<SaslMechanism>,
        /// How often the password is hashed
        #[arg(long, default_value = "4096", value_parser = clap::value_parser!(u32).range(4096..=16_384))]
        iterations: u32,
    },
    /// List users
    List,
    /// Delete users
    Delete {
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// Carries out one of the verbs.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    let admin = Admin::new(context.client());
    match arguments.verb {
        Verb::Create { name, password_file, mechanism, iterations } => {
            if mechanism.contains(&SaslMechanism::OauthBearer) {
                return Err(Failure::usage(
                    "OAUTHBEARER knows users by their tokens, and not here",
                ));
            }
            if mechanism.contains(&SaslMechanism::Plain) {
                let hint = "whoever logs in by SCRAM may do so by PLAIN, where a listener has it";
                return Err(Failure::usage("PLAIN keeps nothing of its own").hint(hint));
            }
            let password = match password_file {
                Some(path) => password::read(&path)?,
                None => password::ask(&name)?,
            };
            let mut new = NewPassword::new(name, password);
            new.iterations =
                NonZeroU32::new(iterations).expect("the parser takes no less than 4096");
            if !mechanism.is_empty() {
                new.mechanisms = mechanism;
            }
            admin.set_password(&new).await?;
            context.say(&new.user, "created")
        }
        Verb::List => list(context, &admin).await,
        Verb::Delete { names } => {
            for name in names {
                admin.delete_user(&name).await?;
                context.say(&name, "deleted")?;
            }
            Ok(())
        }
    }
}

async fn list(context: &mut Context, admin: &Admin) -> Result<(), Failure> {
    for user in admin.users().await? {
        let names: Vec<&str> = user.mechanisms.iter().map(|(it, _)| it.name()).collect();
        if context.is_json() {
            let iterations: Vec<u32> = user.mechanisms.iter().map(|(_, count)| *count).collect();
            let value = json!({ "name": user.name, "mechanisms": names, "iterations": iterations });
            context.output.json(&value)?;
        } else {
            context.output.line(&format!("{} {}", user.name, names.join(" ")))?;
        }
    }
    Ok(())
}
