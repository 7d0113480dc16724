//! Who asks for what, how, and what each may: the matcher here is written apart from the gateway's.

use serde_json::json;

/// Granted to most, so that a channel that is not granted can stand beside one that is.
pub const LOBBY: &str = "lobby";
/// A caller: subject, patterns to subscribe, patterns to publish.
pub struct Caller {
    pub sub: &'static str,
    pub subscribe: &'static [&'static str],
    pub publish: &'static [&'static str],
}

pub const CALLERS: &[Caller] = &[
    caller(
        "ann",
        &[LOBBY, "orders.*", "user.{sub}", "user.{sub}.**"],
        &["inbox.{sub}"],
    ),
    caller("bob", &[LOBBY, "orders.**"], &["orders.*", "*"]),
    caller("all", &["**"], &["**"]),
    caller("one", &["*"], &["*.*"]),
    caller(
        "middle",
        &[LOBBY, "*.eu", "orders.*.north"],
        &["orders.eu.*"],
    ),
    caller("publisher", &[], &["orders.eu", "private"]),
    caller("nobody", &[], &[]),
    // Reserved channels are not to be had.
    caller(
        "inside",
        &[LOBBY, "_ctl", "_ctl.**", "_probe.*"],
        &["_ctl", "_ctl.*"],
    ),
    // Subjects that would widen a pattern, were they put into it as text.
    caller("*", &[LOBBY, "user.{sub}"], &["inbox.{sub}"]),
    caller("**", &[LOBBY, "user.{sub}", "{sub}"], &["{sub}"]),
    caller("ann.inbox", &[LOBBY, "user.{sub}"], &["user.{sub}"]),
    caller("ann.**", &[LOBBY, "user.{sub}"], &["user.{sub}"]),
    caller("{sub}", &[LOBBY, "user.{sub}"], &["inbox.{sub}"]),
    caller("", &[LOBBY, "user.{sub}"], &[]),
];

const fn caller(
    sub: &'static str,
    subscribe: &'static [&'static str],
    publish: &'static [&'static str],
) -> Caller {
    Caller {
        sub,
        subscribe,
        publish,
    }
}

pub const CHANNELS: &[&str] = &[
    LOBBY,
    "orders",
    "orders.eu",
    "orders.eu2",
    "Orders.eu",
    "orders.eu.north",
    "orders.eu.north.1",
    "user",
    "user.ann",
    "user.ann.inbox",
    "user.bob",
    "user.bob.inbox",
    "inbox.ann",
    "inbox.bob",
    "private",
    "_ctl",
    "_ctl.x",
];

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Action {
    Subscribe,
    Publish,
}

/// A way to ask for a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    Stream,
    StreamByBody,
    Lines,
    Poll,
    History,
    Head,
    /// Streams and polls of the lobby and the channel.
    BesideLobby,
    PollBesideLobby,
    Publish,
    BatchLine,
}

pub const WAYS: &[Way] = &[
    Way::Stream,
    Way::StreamByBody,
    Way::Lines,
    Way::Poll,
    Way::History,
    Way::Head,
    Way::BesideLobby,
    Way::PollBesideLobby,
    Way::Publish,
    Way::BatchLine,
];

impl Way {
    pub fn action(self) -> Action {
        match self {
            Way::Publish | Way::BatchLine => Action::Publish,
            Way::Stream
            | Way::StreamByBody
            | Way::Lines
            | Way::Poll
            | Way::History
            | Way::Head
            | Way::BesideLobby
            | Way::PollBesideLobby => Action::Subscribe,
        }
    }

    /// The channels that the request names.
    pub fn names(self, channel: &str) -> Vec<&str> {
        match self {
            Way::BesideLobby | Way::PollBesideLobby => vec![LOBBY, channel],
            Way::Stream
            | Way::StreamByBody
            | Way::Lines
            | Way::Poll
            | Way::History
            | Way::Head
            | Way::Publish
            | Way::BatchLine => vec![channel],
        }
    }

    /// The request: method, target, further header and body.
    pub fn request(
        self,
        channel: &str,
    ) -> (&'static str, String, (&'static str, &'static str), String) {
        let events = format!("/v1/channels/{channel}/events");
        let plain = ("Accept", "*/*");
        let stream = ("Accept", "text/event-stream");
        let get = |target: String, accept| ("GET", target, accept, String::new());
        match self {
            Way::Stream => get(format!("/v1/events?channel={channel}&last=1000"), stream),
            Way::StreamByBody => (
                "POST",
                "/v1/events".into(),
                ("Content-Type", "application/json"),
                json!({"channels": [channel]}).to_string(),
            ),
            Way::Lines => get(
                format!("/v1/events?channel={channel}&last=1000"),
                ("Accept", "application/x-ndjson"),
            ),
            Way::Poll => get(
                format!("/v1/poll?channel={channel}&last=1000&timeout=0s"),
                plain,
            ),
            Way::History => get(events, plain),
            Way::Head => ("HEAD", events, plain, String::new()),
            Way::BesideLobby => get(
                format!("/v1/events?channel={LOBBY}&channel={channel}&last=1000"),
                stream,
            ),
            Way::PollBesideLobby => get(
                format!("/v1/poll?channel={channel}&channel={LOBBY}&last=1000&timeout=0s"),
                plain,
            ),
            Way::Publish => ("POST", events, plain, format!("published on {channel}")),
            Way::BatchLine => (
                "POST",
                "/v1/publish".into(),
                ("Content-Type", "application/x-ndjson"),
                json!({"channel": channel, "data": format!("published on {channel}")}).to_string(),
            ),
        }
    }

    /// Whether an answer that is allowed has the channel's kept events.
    pub fn brings_events(self) -> bool {
        [Way::Poll, Way::PollBesideLobby, Way::History].contains(&self)
    }

    /// The status of a request that is allowed.
    pub fn success(self) -> u16 {
        if self == Way::Publish { 201 } else { 200 }
    }
}

/// Whether a pattern, segment by segment, stands for a name. Written apart from the gateway's matcher.
fn stands(pattern: &[&str], name: &[&str], sub: &str) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (["**"], [_, ..]) => true,
        ([segment, pattern @ ..], [first, name @ ..]) => {
            let is_same = match *segment {
                "*" => true,
                "{sub}" => *first == sub,
                literal => literal == *first,
            };
            is_same && stands(pattern, name, sub)
        }
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

pub fn is_granted(caller: &Caller, action: Action, channel: &str) -> bool {
    let patterns = match action {
        Action::Subscribe => caller.subscribe,
        Action::Publish => caller.publish,
    };
    let name: Vec<&str> = channel.split('.').collect();
    let stands = |pattern: &&str| {
        let pattern: Vec<&str> = pattern.split('.').collect();
        stands(&pattern, &name, caller.sub)
    };
    !channel.starts_with('_') && patterns.iter().any(stands)
}
