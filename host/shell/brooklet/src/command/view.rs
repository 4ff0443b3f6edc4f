//! `brooklet view`: topics that show another topic's records through plugins.

use brooklet_client::Admin;
use brooklet_client::admin::NewTopic;
use clap::Subcommand;

use super::plugin::{How, plugins_setting};
use crate::Context;
use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Create a view: a topic that can only be read, with the partitions and offsets of another
    Create {
        name: String,
        /// The topic it shows
        #[arg(long)]
        of: String,
        /// The plugins that records pass, in this order; separated by commas
        #[arg(long, value_delimiter = ',', required = true)]
        with: Vec<String>,
        #[command(flatten)]
        how: How,
    },
    /// Delete a view; what it shows stays
    Delete { name: String },
}

/// Carries out one of the verbs.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    let admin = Admin::new(context.client());
    match arguments.verb {
        Verb::Create { name, of, with, how } => {
            let plugins = plugins_setting(&with, &how)?;
            let settings = vec![
                ("brooklet.view.of".to_owned(), of.clone()),
                ("brooklet.plugins".to_owned(), plugins),
            ];
            let topic = NewTopic { name, partitions: None, replication: None, settings };
            admin.create_topic(&topic, false).await?;
            context.say(&topic.name, &format!("shows {of}"))
        }
        Verb::Delete { name } => {
            let settings = admin
                .describe_settings(&brooklet_client::admin::Resource::Topic(name.clone()))
                .await?;
            let of = settings.iter().find(|one| one.name == "brooklet.view.of");
            if of.and_then(|one| one.value.as_deref()).unwrap_or_default().is_empty() {
                return Err(Failure::new(format!("{name} is a topic of its own, not a view"))
                    .hint("brooklet topic delete deletes topics with all their records"));
            }
            admin.delete_topic(&name).await?;
            context.say(&name, "deleted")
        }
    }
}
