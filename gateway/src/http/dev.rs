//! `POST /dev/cut`, with `--dev` only: cuts every stream of a node on the spot, as a failing network would, so that
//! people see their clients resume.

use std::time::Duration;

use actix_web::http::ConnectionType;
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{broadcast, mpsc};

use super::body;
use super::problem::{Code, Problem};
use super::routes::Public;

/// Orders that a worker may be behind with; it skips older ones, which then count less.
const ORDERS: usize = 16;
/// How long workers may take to cut their streams.
const CUT_WAIT: Duration = Duration::from_secs(2);

/// Told to every worker: cut all streams and say how many they were.
pub type CutOrder = mpsc::Sender<usize>;

/// Cuts the streams of this node.
pub struct Cuts {
    node: String,
    orders: broadcast::Sender<CutOrder>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    node: String,
}

impl Cuts {
    /// For the node of that name, as `sluice.open` tells it.
    #[must_use]
    pub fn new(node: String) -> Cuts {
        let (orders, _) = broadcast::channel(ORDERS);
        Cuts { node, orders }
    }

    /// The orders, for one more worker.
    #[must_use]
    pub fn orders(&self) -> broadcast::Receiver<CutOrder> {
        self.orders.subscribe()
    }

    /// Cuts every stream and gives their number.
    async fn cut(&self) -> usize {
        let (order, mut counts) = mpsc::channel(self.orders.receiver_count().max(1));
        if self.orders.send(order).is_err() {
            return 0;
        }
        let mut cut = 0;
        // Every worker drops its copy of the order once it has obeyed: then there is no more to come.
        let counting = async {
            while let Some(count) = counts.recv().await {
                cut += count;
            }
        };
        if tokio::time::timeout(CUT_WAIT, counting).await.is_err() {
            tracing::warn!("a worker has not cut its streams in time");
        }
        cut
    }
}

/// `POST /dev/cut` with `{"node":"<name>"}`.
///
/// # Errors
/// A [`Problem`]: 400, 408 and 413 for the body. Another node than the one meant answers 421 and cuts nothing.
pub async fn cut(
    request: HttpRequest,
    payload: web::Payload,
    public: web::Data<Public>,
    cuts: web::Data<Cuts>,
) -> Result<HttpResponse, Problem> {
    let limits = public.limits;
    let body = body::read(payload, limits.body_bytes, limits.body_wait).await?;
    let Wanted { node } = serde_json::from_slice(&body).map_err(|error| {
        let detail = format!("send {{\"node\":\"<name as in sluice.open>\"}}: {error}");
        Problem::new(Code::BadBody, detail)
    })?;
    if node != cuts.node {
        let detail = format!(
            "this is node {}, which has cut nothing; repeat the request until the node meant answers",
            cuts.node
        );
        let problem = Problem::new(Code::Misdirected, detail).at("node", &node);
        let mut response = problem.error_response();
        // A load balancer of connections chooses again only for a new one.
        let head = response.head_mut();
        head.set_connection_type(ConnectionType::Close);
        return Ok(response);
    }
    let cut = cuts.cut().await;
    tracing::info!(cut, peer = ?request.peer_addr(), "streams cut on request");
    Ok(HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .json(json!({ "cut": cut })))
}
