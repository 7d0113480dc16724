//! The publish function: whether it is there, as new as this `sluice`, with this deployment's text and settings.

use std::collections::HashMap;
use std::time::Duration;

use redis::Value;
use sluice_wire::Defaults;
use sluice_wire::publish::{self, FUNCTION_PUBLISH, LIBRARY_VERSION};

use super::{Facts, Server, Trouble, fact};
use crate::doctor::finding::{Code, Finding};
use crate::redis_link;

const CODE: Code = Code::RedisFunction;
const LIBRARY: &str = "sluice";
const INSTALL: &str = "sluice install-function";

pub async fn check(server: &mut Server, facts: &Facts) -> Finding {
    let mut connection = server.connection.clone();
    let asked = redis_link::function_version(&mut connection);
    match server.answer(asked).await {
        Ok(None) => absent(server).await,
        Ok(Some(found)) if publish::needs_install(Some(found)) => Finding::warning(
            CODE,
            format!("version {found} is installed, older than this sluice's {LIBRARY_VERSION}"),
            INSTALL,
        ),
        Ok(Some(found)) if found > i64::from(LIBRARY_VERSION) => Finding::note(
            CODE,
            format!("version {found} is installed, newer than this sluice's {LIBRARY_VERSION}"),
        )
        .advise("use the sluice of the release that installed it"),
        Ok(Some(_)) => current(server, facts).await,
        Err(Trouble::Refused(text))
            if ["incompatible type", "not convert"]
                .iter()
                .any(|words| text.contains(words)) =>
        {
            Finding::problem(
                CODE,
                "sluice_version answers what Sluice's never does: another library has the name",
                "FUNCTION LIST to see which, FUNCTION DELETE it, then sluice install-function",
            )
        }
        Err(trouble) => trouble.skips(CODE, "FCALL_RO sluice_version"),
    }
}

fn foreign(seen: impl Into<String>) -> Finding {
    Finding::problem(
        CODE,
        seen,
        "sluice install-function --replace, with the deployment's settings",
    )
}

type Library = HashMap<String, Value>;

async fn libraries(server: &mut Server) -> Result<Vec<Library>, Trouble> {
    server.ask(&["FUNCTION", "LIST", "WITHCODE"]).await
}

fn text(library: &Library, name: &str) -> String {
    let value = library.get(name).cloned().unwrap_or(Value::Nil);
    redis::from_redis_value(value).unwrap_or_default()
}

async fn absent(server: &mut Server) -> Finding {
    let in_the_way = libraries(server).await.ok().and_then(|all| {
        let holds = |library: &&Library| {
            text(library, "library_code").contains(&format!("'{FUNCTION_PUBLISH}'"))
        };
        all.iter()
            .find(holds)
            .map(|library| text(library, "library_name"))
    });
    if let Some(name) = in_the_way.filter(|name| name != LIBRARY) {
        return Finding::problem(
            CODE,
            format!(
                "the library `{name}` has a function of the name {FUNCTION_PUBLISH}, which is not Sluice's, so that Sluice's cannot be loaded"
            ),
            format!("FUNCTION DELETE {name}, then {INSTALL}"),
        );
    }
    Finding::warning(
        CODE,
        "it is not installed: publishers that use FCALL fail; those over HTTP or with EVAL do not",
        INSTALL,
    )
}

async fn current(server: &mut Server, facts: &Facts) -> Finding {
    let shown = format!("version {LIBRARY_VERSION}");
    let all = match libraries(server).await {
        Ok(all) => all,
        Err(trouble) => {
            return Finding::ok(
                CODE,
                format!("{shown}; its settings were not told ({})", trouble.text()),
            );
        }
    };
    let Some(library) = all
        .iter()
        .find(|library| text(library, "library_name") == LIBRARY)
    else {
        return foreign(format!(
            "{shown} answers, from a library that is not called {LIBRARY}"
        ));
    };
    let code = text(library, "library_code");
    let settings = settings(&code);
    if settings.map(|settings| publish::library(&settings)) != Some(code) {
        return foreign(format!(
            "{shown}, with another text than this sluice's: it may not keep the contract"
        ));
    }
    let settings = settings.unwrap_or_default();
    let is_cluster = facts
        .as_ref()
        .is_ok_and(|facts| fact(facts, "redis_mode") == "cluster");
    if settings.sharded && !is_cluster {
        return Finding::problem(
            CODE,
            format!(
                "{shown}, set to SPUBLISH on a server that is no cluster: gateways see such events only at the next audit"
            ),
            "sluice install-function --replace, without --sharded",
        );
    }
    if settings == Defaults::default() {
        return Finding::ok(CODE, format!("{shown}, with the built-in settings"));
    }
    Finding::note(CODE, format!("{shown}, with settings of its own: {}", told(&settings)))
        .advise("see that each gateway's history.max_events, history.ttl, history.head_ttl, history.idem_ttl and limits.event_bytes are the same")
}

fn told(settings: &Defaults) -> String {
    format!(
        "maxlen {}, ttl {}, head_ttl {}, idem_ttl {}, event_bytes {}{}",
        settings.maxlen,
        humantime::format_duration(settings.ttl),
        humantime::format_duration(settings.head_ttl),
        humantime::format_duration(settings.idem_ttl),
        settings.event_bytes,
        if settings.sharded { ", sharded" } else { "" }
    )
}

/// The settings that were rendered into a library's text.
fn settings(code: &str) -> Option<Defaults> {
    let value = |name: &str| {
        let line = code
            .lines()
            .find_map(|line| line.strip_prefix(&format!("local {name} = ")));
        line.map(|value| value.trim_matches('\''))
    };
    let time = |name: &str| value(name)?.parse().ok().map(Duration::from_millis);
    Some(Defaults {
        maxlen: value("MAXLEN")?.parse().ok()?,
        ttl: time("TTL")?,
        head_ttl: time("HEAD_TTL")?,
        idem_ttl: time("IDEM_TTL")?,
        event_bytes: value("EVENT_BYTES")?.parse().ok()?,
        sharded: value("PUBLISH")? == "SPUBLISH",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_back_from_a_librarys_text() {
        let own = Defaults {
            maxlen: 5,
            ttl: Duration::from_secs(2),
            head_ttl: Duration::from_secs(3),
            idem_ttl: Duration::from_secs(4),
            event_bytes: 6,
            sharded: true,
        };
        for defaults in [own, Defaults::default()] {
            assert_eq!(settings(&publish::library(&defaults)), Some(defaults));
        }
        assert_eq!(settings("#!lua name=sluice"), None);
    }
}
