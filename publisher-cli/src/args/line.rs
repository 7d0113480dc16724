//! The command line as written: what clap accepts and what its help says. It resolves nothing.

mod channels;
mod history;
mod install_function;
mod link;
mod publish;
mod start;
mod tail;
mod texts;
mod token;

use clap::{Parser, Subcommand};

use super::demo::DemoLine;
use super::doctor::DoctorLine;
pub use channels::ChannelsLine;
pub use history::HistoryLine;
pub use install_function::{InstallFunctionLine, SettingsLine};
pub use link::{AdminLine, LinkLine, RedisLine, timeout};
pub use publish::PublishLine;
pub use start::StartLine;
pub use tail::TailLine;
pub use texts::{CompletionsLine, ManLine};
pub use token::{
    CheckLine, GivenLine, InspectLine, JwksLine, KeygenLine, MintLine, SecretLine, SigningLine,
    TokenAct, TokenLine, VerifyingLine,
};

/// Publish to Sluice's channels, follow them and look at them.
#[derive(Parser)]
#[command(name = "sluice", version, after_help = AFTER_HELP)]
pub struct Line {
    #[command(subcommand)]
    pub command: CommandLine,
}

const AFTER_HELP: &str = "\
With --json, what goes wrong or is to be noted is told on standard error as objects too, one a line:
{\"error\":{\"code\",\"status\",\"detail\",\"hint\"}}, {\"reset\":...}, {\"close\":...}, {\"more\":...} and {\"note\":...}.

Exit codes: 0 done, 1 failed, 2 usage, 3 some of a batch failed, 4 unreachable, 130 interrupted.";

#[derive(Subcommand)]
pub enum CommandLine {
    /// Publish one event, or one a line of standard input, and print the position of each
    Publish(PublishLine),
    /// Print the events of one or more channels as they come
    Tail(TailLine),
    /// Print the kept events of a channel, oldest first, and end
    History(HistoryLine),
    /// List the channels that are listened to now, with their subscribers on all nodes
    Channels(ChannelsLine),
    /// Make tokens for gateways, look into them, and make keys
    Token(TokenLine),
    /// Load the publish function into Redis, where it is absent or older
    InstallFunction(InstallFunctionLine),
    /// Find what makes a deployment fail, and say what to do
    Doctor(DoctorLine),
    /// Play the backend of the demo page: publish its events, count likes, answer questions
    Demo(DemoLine),
    /// Print the completions of a shell
    Completions(CompletionsLine),
    /// Print a manual page, or write them all
    Man(ManLine),
}
