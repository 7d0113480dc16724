//! What this user may do: publish, and serve as a gateway's user. Asked with `ACL DRYRUN` where that is permitted, else
//! tried on a throw-away channel, whose keys are deleted again.

use redis::Value;
use sluice_wire::Channel;
use sluice_wire::publish::{self, FUNCTION_PUBLISH, Publish, sha1_hex};
use sluice_wire::{Defaults, Keys};

use super::{Facts, Server, Trouble, fact};
use crate::doctor::finding::{Code, Finding};

const PUBLISH: Code = Code::RedisPublishRights;
const NODE: Code = Code::RedisNodeRights;

/// The names that the questions are about, and the scripts.
struct Throwaway {
    stream: String,
    head: String,
    topic: String,
    probe_topic: String,
    control: String,
    orders_topic: String,
    publish: String,
    ensure_head: String,
}

impl Throwaway {
    fn new(keys: &Keys) -> Option<Throwaway> {
        let random: u64 = rand::random();
        let channel = Channel::parse(&format!("sluice-doctor.{random:016x}")).ok()?;
        let probe = Channel::parse(&format!("_probe.doctor{random:016x}")).ok()?;
        let names = Publish::new(&channel, b"").keys(keys);
        let [stream, head] = names.try_into().ok()?;
        Some(Throwaway {
            stream,
            head,
            topic: keys.topic(&channel),
            probe_topic: keys.topic(&probe),
            control: keys.control(&format!("doctor:{random:016x}")),
            orders_topic: keys.orders_topic(),
            publish: publish::script(&Defaults::default()),
            ensure_head: publish::ensure_head_script(&Defaults::default()),
        })
    }
}

/// What is lacking of one role: each in the words of `ACL SETUSER`, such as `+xadd`.
type Lacking = Vec<String>;

/// The findings about publishing and about being a gateway's user.
pub async fn check(server: &mut Server, facts: &Facts) -> [Finding; 2] {
    let both = |why: &str| [PUBLISH, NODE].map(|code| Finding::skipped(code, why));
    if facts
        .as_ref()
        .is_ok_and(|facts| fact(facts, "role") == "slave")
    {
        return both("a replica takes no events; see redis_role");
    }
    if facts
        .as_ref()
        .is_ok_and(|facts| fact(facts, "redis_mode") != "standalone")
    {
        return both("only a server of its own is asked; see redis_mode");
    }
    let Some(names) = Throwaway::new(&server.address.keys) else {
        return both("no channel could be named");
    };
    let user = match server.ask(&["ACL", "WHOAMI"]).await {
        Ok(user) => user,
        Err(_) => {
            let settings = server.address.info.redis_settings();
            settings.username().unwrap_or("default").to_owned()
        }
    };
    let asked = match dry_run(server, &user, &names).await {
        Ok(asked) => asked,
        Err(Trouble::Lost(why)) => return both(&why),
        Err(Trouble::Forbidden(_) | Trouble::Refused(_)) => {
            let tried = attempt(server, &names).await;
            // The keys are there only if they could be made, which needs DEL too.
            drop(
                server
                    .ask::<Value>(&["DEL", &names.stream, &names.head])
                    .await,
            );
            match tried {
                Ok(tried) => tried,
                Err(trouble) => {
                    return [PUBLISH, NODE]
                        .map(|code| trouble.skips(code, "an attempt on a throw-away channel"));
                }
            }
        }
    };
    judge(server, &user, asked)
}

fn judge(server: &Server, user: &str, (publish, node): (Lacking, Lacking)) -> [Finding; 2] {
    let prefix = server.address.keys.prefix();
    let neither = !publish.is_empty() && !node.is_empty();
    let finding = |code, lacking: Lacking, may: &str, role: &str| {
        if lacking.is_empty() {
            return Finding::ok(code, format!("this user {may}"));
        }
        let grants: Vec<String> = lacking
            .iter()
            .map(|grant| grant.replace("PREFIX", prefix))
            .collect();
        let shown = format!("this user lacks {} to {role}", grants.join(" "));
        let advice = format!(
            "ACL SETUSER {user} {}, then ACL SAVE or the same in the ACL file",
            grants.join(" ")
        );
        if neither {
            Finding::problem(code, shown, advice)
        } else {
            Finding::note(code, shown).advise(format!("if it should: {advice}"))
        }
    };
    [
        finding(PUBLISH, publish, "may publish", "publish"),
        finding(
            NODE,
            node,
            "may serve a gateway (without its HTTP publishing, which is the line above)",
            "serve a gateway",
        ),
    ]
}

/// Ways to call the script; one of them is enough for a publisher.
fn calls(names: &Throwaway) -> [Vec<&str>; 3] {
    let keys = ["2", names.stream.as_str(), names.head.as_str(), "", "x"];
    [
        ["FCALL", FUNCTION_PUBLISH],
        ["EVAL", "return 1"],
        ["EVALSHA", "0"],
    ]
    .map(|call| [&call[..], &keys[..]].concat())
}

fn publishing(names: &Throwaway) -> Vec<Vec<&str>> {
    let (stream, head) = (names.stream.as_str(), names.head.as_str());
    vec![
        vec!["GET", head],
        vec!["SET", head, "x"],
        vec!["DEL", stream],
        vec!["TIME"],
        vec!["XADD", stream, "*", "p", "x"],
        vec!["PEXPIRE", stream, "1"],
        vec!["PUBLISH", &names.topic, "x"],
    ]
}

fn serving(names: &Throwaway) -> Vec<Vec<&str>> {
    let (stream, head) = (names.stream.as_str(), names.head.as_str());
    vec![
        vec!["SUBSCRIBE", &names.topic],
        vec!["UNSUBSCRIBE", &names.topic],
        vec!["PING"],
        vec!["GET", head],
        vec!["XRANGE", stream, "-", "+"],
        vec!["XREVRANGE", stream, "+", "-"],
        vec!["UNWATCH"],
        vec!["TIME"],
        vec!["EVAL_RO", "return 1", "2", head, stream],
        vec!["EVALSHA", "0", "2", stream, head],
        vec!["EVAL", "return 1", "2", stream, head],
        vec!["SET", head, "x"],
        vec!["DEL", stream],
        vec!["PEXPIRE", head, "1"],
        vec!["PTTL", head],
        vec!["PUBLISH", &names.probe_topic, "x"],
        vec!["PUBLISH", &names.orders_topic, ""],
        vec!["GETDEL", &names.control],
        vec!["ZADD", &names.control, "XX", "1", "x"],
        vec!["ZRANGE", &names.control, "0", "0"],
        vec!["ZCARD", &names.control],
        vec!["ZSCAN", &names.control, "0"],
        vec!["ZREM", &names.control, "x"],
        vec!["ZREMRANGEBYSCORE", &names.control, "1", "0"],
    ]
}

async fn dry_run(
    server: &mut Server,
    user: &str,
    names: &Throwaway,
) -> Result<(Lacking, Lacking), Trouble> {
    let mut publish = Vec::new();
    let mut may_call = false;
    for call in calls(names) {
        may_call |= dry_run_one(server, user, &call, &mut Vec::new()).await?;
    }
    if !may_call {
        publish.extend(["+fcall", "+evalsha", "+eval"].map(str::to_owned));
    }
    for command in publishing(names) {
        dry_run_one(server, user, &command, &mut publish).await?;
    }
    let mut node = Vec::new();
    for command in serving(names) {
        dry_run_one(server, user, &command, &mut node).await?;
    }
    Ok((publish, node))
}

async fn dry_run_one(
    server: &mut Server,
    user: &str,
    command: &[&str],
    lacking: &mut Lacking,
) -> Result<bool, Trouble> {
    let words = [&["ACL", "DRYRUN", user], command].concat();
    let said: String = server.ask(&words).await?;
    if said == "OK" {
        return Ok(true);
    }
    lack(lacking, command, &said);
    Ok(false)
}

/// Turns a denial into what to grant.
fn lack(lacking: &mut Lacking, command: &[&str], said: &str) {
    let is_own = command.get(1).is_some_and(|name| name.contains("{_"));
    let grant = if said.contains("' key") || said.contains("one of the keys") {
        if is_own {
            "~PREFIX{_ctl}:*"
        } else {
            "~PREFIX{[^_]*}:*"
        }
        .to_owned()
    } else if said.contains("channel") {
        // Nodes hear every topic; a publisher has none of Sluice's own.
        let is_event = command[0] == "PUBLISH" && !is_own;
        if is_event {
            "&PREFIX{[^_]*}"
        } else {
            "&PREFIX{*}"
        }
        .to_owned()
    } else {
        format!("+{}", command[0].to_lowercase())
    };
    if !lacking.contains(&grant) {
        lacking.push(grant);
    }
}

async fn attempt(server: &mut Server, names: &Throwaway) -> Result<(Lacking, Lacking), Trouble> {
    let mut publish = Vec::new();
    let keys = ["2", names.stream.as_str(), names.head.as_str(), "", "x"];
    let eval = [&["EVAL", names.publish.as_str()], &keys[..]].concat();
    let fcall = [&["FCALL", FUNCTION_PUBLISH], &keys[..]].concat();
    match server.ask::<Value>(&eval).await {
        Ok(_) => {}
        Err(Trouble::Forbidden(said)) if said.contains("'eval'") => {
            try_one(server, &fcall, "FCALL", &mut publish).await?;
        }
        Err(Trouble::Forbidden(said)) => lack_of_script(&mut publish, &said),
        Err(other) => return Err(other),
    }
    let mut node = Vec::new();
    let topic = names.topic.clone();
    let mut connection = server.connection.clone();
    let subscribed = server.answer(connection.subscribe(&topic)).await;
    if let Err(Trouble::Forbidden(said)) = &subscribed {
        lack(&mut node, &["SUBSCRIBE"], said);
    } else {
        let mut connection = server.connection.clone();
        subscribed?;
        if let Err(Trouble::Forbidden(said)) = server.answer(connection.unsubscribe(&topic)).await {
            lack(&mut node, &["UNSUBSCRIBE"], &said);
        }
    }
    let sha = sha1_hex(&names.ensure_head);
    let own = ["2", names.stream.as_str(), names.head.as_str()];
    let scripts = [
        [&["EVALSHA", sha.as_str()], &own[..]].concat(),
        [&["EVAL", names.ensure_head.as_str()], &own[..]].concat(),
    ];
    for command in serving(names) {
        // Nodes would hear it, and make nothing of it.
        if command[1..].first() == Some(&names.orders_topic.as_str()) {
            continue;
        }
        // Subscribing is done; scripts that write are the real ones.
        if !matches!(
            command[0],
            "SUBSCRIBE" | "UNSUBSCRIBE" | "EVAL" | "EVALSHA" | "SET"
        ) {
            try_one(server, &command, command[0], &mut node).await?;
        }
    }
    for command in scripts {
        try_one(server, &command, command[0], &mut node).await?;
    }
    Ok((publish, node))
}

/// Runs a command for whether it may be run; what else Redis says of it does not matter.
async fn try_one(
    server: &mut Server,
    command: &[&str],
    name: &str,
    lacking: &mut Lacking,
) -> Result<(), Trouble> {
    match server.ask::<Value>(command).await {
        Ok(_) | Err(Trouble::Refused(_)) => Ok(()),
        Err(Trouble::Forbidden(said)) if said.contains("; grant ") => {
            lack_of_script(lacking, &said);
            Ok(())
        }
        Err(Trouble::Forbidden(said)) => {
            let arguments = command.get(1..).unwrap_or_default();
            lack(lacking, &[&[name], arguments].concat(), &said);
            Ok(())
        }
        Err(lost @ Trouble::Lost(_)) => Err(lost),
    }
}

/// The script's own denial says what to grant: `…; grant +publish and &sluice:{orders}, or a pattern of it`. Before it,
/// Redis may deny the command, the keys, or a command inside the script.
fn lack_of_script(lacking: &mut Lacking, said: &str) {
    let Some((_, grants)) = said.split_once("; grant ") else {
        let inside = said.split('\'').nth(1).unwrap_or("eval");
        lack(lacking, &[inside], said);
        return;
    };
    let command = grants
        .split([' ', ','])
        .next()
        .unwrap_or_default()
        .to_owned();
    let topic = grants
        .contains(" and &")
        .then(|| "&PREFIX{[^_]*}".to_owned());
    for grant in [Some(command), topic].into_iter().flatten() {
        if !lacking.contains(&grant) {
            lacking.push(grant);
        }
    }
}
