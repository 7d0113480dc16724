//! What stands in front of the gateway, by the headers it leaves, and the setting of it that mends a fault.

use reqwest::header::HeaderMap;

use crate::doctor::finding::{Code, Finding};

/// What a proxy does to a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Holds back the headers or the first bytes.
    Buffering,
    /// Ends a stream on which nothing is sent.
    IdleCut,
    /// Passes each event on late.
    Delay,
    Compression,
    /// Changes the stream's headers.
    Headers,
}

/// Proxies whose settings are known.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Nginx,
    Envoy,
    Caddy,
    Other,
}

/// The proxies seen. HAProxy names itself nowhere.
#[derive(Debug, Default)]
pub struct Front {
    kind: Option<Kind>,
    marks: Vec<String>,
}

impl Front {
    pub fn of(headers: &HeaderMap) -> Front {
        let marks: Vec<String> = [
            "server",
            "via",
            "x-envoy-upstream-service-time",
            "cf-ray",
            "x-amz-cf-id",
            "x-cache",
        ]
        .iter()
        .flat_map(|name| {
            headers
                .get_all(*name)
                .iter()
                .map(move |value| (name, value))
        })
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
        let all = marks.join("\n").to_lowercase();
        let kind = if all.contains("nginx") || all.contains("openresty") {
            Some(Kind::Nginx)
        } else if all.contains("envoy") {
            Some(Kind::Envoy)
        } else if all.contains("caddy") {
            Some(Kind::Caddy)
        } else {
            (!marks.is_empty()).then_some(Kind::Other)
        };
        Front { kind, marks }
    }

    pub fn finding(&self) -> Finding {
        if self.marks.is_empty() {
            return Finding::ok(
                Code::GatewayProxy,
                "no proxy names itself (HAProxy never does)",
            );
        }
        Finding::note(
            Code::GatewayProxy,
            format!("a proxy stands in front: {}", self.marks.join(", ")),
        )
    }

    /// The setting that mends `fault`, of the proxy that was seen, or of each that it may be.
    pub fn advice(&self, fault: Fault) -> String {
        let nginx = match fault {
            Fault::Buffering | Fault::Delay => {
                "nginx: proxy_buffering off; and no proxy_ignore_headers X-Accel-Buffering"
            }
            Fault::IdleCut => {
                "nginx: proxy_read_timeout 1h; proxy_http_version 1.1; proxy_set_header Connection \"\""
            }
            Fault::Compression => "nginx: gzip off for the gateway's location",
            Fault::Headers => {
                "nginx: no proxy_hide_header and no add_header Cache-Control for the gateway's location"
            }
        };
        let haproxy = match fault {
            Fault::Buffering | Fault::Delay => {
                "HAProxy: option http-no-delay, and no option http-buffer-request"
            }
            Fault::IdleCut => {
                "HAProxy: timeout server 1h and timeout client 1h (timeout tunnel does not count)"
            }
            Fault::Compression => "HAProxy: no compression type text/event-stream",
            Fault::Headers => "HAProxy: no http-response del-header or set-header for the gateway",
        };
        let envoy = match fault {
            Fault::Buffering | Fault::Delay => "Envoy: no buffer filter on the route",
            Fault::IdleCut => {
                "Envoy: route timeout 0s, and stream_idle_timeout above stream.heartbeat"
            }
            Fault::Compression => "Envoy: no compressor filter for text/event-stream",
            Fault::Headers => "Envoy: no response_headers_to_remove or to_add for the gateway",
        };
        let rest = match fault {
            Fault::Buffering | Fault::Delay => {
                "other proxies: turn response buffering off for /v1/events"
            }
            Fault::IdleCut => "other proxies: an idle timeout well above stream.heartbeat (15s)",
            Fault::Compression => "other proxies: no compression of text/event-stream",
            Fault::Headers => "other proxies: pass the gateway's headers on as they are",
        };
        match self.kind {
            Some(Kind::Nginx) => nginx.into(),
            Some(Kind::Envoy) => envoy.into(),
            Some(Kind::Caddy | Kind::Other) => rest.into(),
            None => [nginx, haproxy, envoy, rest].join(" / "),
        }
    }
}
