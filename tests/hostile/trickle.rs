//! Clients that are slow on purpose: each holds a socket with one byte a second, and takes a new one when it is cut.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    http,
    lab::{self, Weight},
    node::NodeSettings,
    wait,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    frames::{END_HEADERS, HEADERS, PREFACE, SETTINGS, frame},
    ground::{Ground, MIB},
    stage::PATIENCE,
};

/// More than are open at once: some kinds are cut at their first bytes, and take a new one.
const SOCKETS: usize = 2_500;
/// What the gateway must really have had open at once.
const AT_ONCE: usize = 2_000;
/// One byte each.
const TICK: Duration = Duration::from_secs(1);
/// How long a head or a body may take here. An unanswered PING must not be what ends one: `http.keep_alive` is far longer.
const LIMIT: &str = "2s";
/// What 2,000 of them may cost.
const CAP: u64 = 160 * MIB;
/// The answers that healthy callers must have got meanwhile, at the least.
const LEAST_ANSWERS: usize = 10;

/// How a socket is slow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Never sends anything.
    Silent,
    /// A head without an end.
    Head,
    /// A body of a length that it never reaches.
    Body,
    /// A chunked body without an end.
    Chunks,
    /// The preface of HTTP/2, a byte at a time.
    Preface,
    /// HTTP/2's HEADERS without an end, with more to follow.
    Frame,
    /// The same as the last of its block.
    LastFrame,
    /// What begins as TLS does.
    Tls,
    /// Reads its stream a byte at a time.
    Stream,
    /// Reads a page of history a byte at a time.
    Page,
}

impl Kind {
    const ALL: [Kind; 10] = [
        Kind::Silent,
        Kind::Head,
        Kind::Body,
        Kind::Chunks,
        Kind::Preface,
        Kind::Frame,
        Kind::LastFrame,
        Kind::Tls,
        Kind::Stream,
        Kind::Page,
    ];

    /// Whether the gateway must end it for its slowness alone.
    fn must_be_cut(self) -> bool {
        match self {
            Kind::Silent
            | Kind::Head
            | Kind::Body
            | Kind::Chunks
            | Kind::Preface
            | Kind::Frame
            | Kind::LastFrame
            | Kind::Tls => true,
            Kind::Stream | Kind::Page => false,
        }
    }

    /// Whether it is slow in reading.
    fn reads(self) -> bool {
        matches!(self, Kind::Stream | Kind::Page)
    }

    /// What it sends at once, and what it sends byte by byte, over and over.
    fn sends(self) -> (Vec<u8>, Vec<u8>) {
        let post = |framing: &str| {
            format!("POST /v1/channels/slow/events HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")
                .into_bytes()
        };
        let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        match self {
            Kind::Silent => (Vec::new(), Vec::new()),
            Kind::Head => (
                b"GET /v1/events?channel=room.0 HTTP/1.1\r\nHost: a\r\nX: ".to_vec(),
                b"x".to_vec(),
            ),
            Kind::Body => (post("Content-Length: 60000"), b"x".to_vec()),
            Kind::Chunks => (post("Transfer-Encoding: chunked"), b"1\r\nx\r\n".to_vec()),
            Kind::Preface => (PREFACE[..12].to_vec(), PREFACE[12..].to_vec()),
            Kind::Frame | Kind::LastFrame => {
                let flags = if self == Kind::LastFrame {
                    END_HEADERS
                } else {
                    0
                };
                let head = frame(HEADERS, flags, 1, &[0; 16_000]);
                let begun = [PREFACE, &frame(SETTINGS, 0, 0, b""), &head[..9]].concat();
                (begun, vec![0])
            }
            Kind::Tls => (b"\x16\x03\x01\x02\x00\x01".to_vec(), b"\x00".to_vec()),
            Kind::Stream => (get("/v1/events?channel=room.0"), Vec::new()),
            Kind::Page => (get("/v1/channels/room.0/events?limit=1000"), Vec::new()),
        }
    }
}

/// What has become of the slow sockets.
#[derive(Default)]
struct Tally {
    /// By kind, in the order of [`Kind::ALL`].
    cut: Counts<AtomicUsize>,
    /// Open now, likewise.
    open: Counts<AtomicUsize>,
}

/// 2,000 sockets trickle, in every way that costs a server something: readers get everything, callers are answered, and
/// whoever is too slow is cut.
#[tokio::test]
async fn two_thousand_trickling_sockets_hold_up_nobody() {
    trickle(Duration::from_secs(8)).await;
}

/// The same for longer.
#[tokio::test]
#[ignore = "takes two minutes: make test-full"]
async fn two_thousand_trickling_sockets_hold_up_nobody_for_long() {
    trickle(Duration::from_secs(120)).await;
}

type Counts<N> = [N; Kind::ALL.len()];

fn counts(of: &Counts<AtomicUsize>) -> Counts<usize> {
    of.each_ref().map(|count| count.load(Ordering::Relaxed))
}

async fn trickle(window: Duration) {
    lab::run(Weight::Heavy, window + Duration::from_secs(90), async |lab| {
        let settings = NodeSettings::default()
            .with("SLUICE__HTTP__HEAD_TIMEOUT", LIMIT)
            .with("SLUICE__HTTP__KEEP_ALIVE", "10m");
        let ground = Ground::new(lab, &settings).await?;
        let tally = Arc::new(Tally::default());
        let (over, until) = watch::channel(false);
        let mut slow = JoinSet::new();
        for n in 0..SOCKETS {
            slow.spawn(hold(n, ground.http(), Arc::clone(&tally), until.clone()));
        }
        let pid = ground.node().pid()?;
        wait::until_true(PATIENCE, "the sockets are all there", || {
            descriptors(pid).is_ok_and(|open| open >= AT_ONCE)
        })
        .await?;
        let answers = ask_meanwhile(&ground, window).await?;
        ensure!(answers >= LEAST_ANSWERS, "only {answers} answers in {window:?}");
        over.send_replace(true);
        let cut = wait::until_true(PATIENCE, "the slow ones are cut", || {
            let open = Kind::ALL.iter().zip(counts(&tally.open));
            open.filter(|(kind, _)| kind.must_be_cut()).all(|(_, count)| count == 0)
        });
        cut.await.with_context(|| {
            let (open, cut) = (counts(&tally.open), counts(&tally.cut));
            format!("{:?} are still open {open:?}, cut so far {cut:?}", Kind::ALL)
        })?;
        let cuts = counts(&tally.cut);
        for (kind, cut) in Kind::ALL.iter().zip(cuts) {
            let some = SOCKETS / Kind::ALL.len();
            ensure!(!kind.must_be_cut() || cut >= some, "{kind:?} was cut only {cut} times");
        }
        slow.shutdown().await;
        let cost = ground.finish(lab, CAP).await?;
        println!("{SOCKETS} trickling sockets, {AT_ONCE} and more at once: {:?} cut {cuts:?} times; {answers} answers to others; {cost}", Kind::ALL);
        Ok(())
    })
    .await;
}

/// Holds one socket after another until `over`, then the last one until it is cut.
async fn hold(n: usize, addr: SocketAddr, tally: Arc<Tally>, over: watch::Receiver<bool>) {
    let place = n % Kind::ALL.len();
    let kind = Kind::ALL[place];
    while !*over.borrow() {
        tally.open[place].fetch_add(1, Ordering::Relaxed);
        // However it ends: it is over, and the next one begins.
        drop(be_slow(kind, addr).await);
        tally.cut[place].fetch_add(1, Ordering::Relaxed);
        tally.open[place].fetch_sub(1, Ordering::Relaxed);
        // A gateway that cuts at once is not to be asked without a pause.
        sleep(TICK / 5).await;
    }
}

/// One slow socket from its beginning to its end.
async fn be_slow(kind: Kind, addr: SocketAddr) -> Result<()> {
    let (at_once, slowly) = kind.sends();
    let mut socket = connect(kind, addr).await?;
    socket.write_all(&at_once).await?;
    let mut bytes = slowly.iter().cycle();
    loop {
        let tick = Instant::now() + TICK;
        if kind.reads() {
            ensure!(socket.read(&mut [0]).await? > 0, "closed");
            sleep_until(tick).await;
            continue;
        }
        if let Some(byte) = bytes.next() {
            socket.write_all(&[*byte]).await?;
        }
        read_until(tick, &mut socket).await?;
    }
}

/// Reads what comes until `tick`; fails at the connection's end.
async fn read_until(tick: Instant, socket: &mut TcpStream) -> Result<()> {
    let mut buffer = [0; 1024];
    let left = || tick.saturating_duration_since(Instant::now());
    while let Ok(read) = timeout(left(), socket.read(&mut buffer)).await {
        ensure!(read? > 0, "closed");
    }
    Ok(())
}

/// A socket, with a small window where it is to read slowly.
async fn connect(kind: Kind, addr: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if kind.reads() {
        socket.set_recv_buffer_size(4_096)?;
    }
    Ok(socket.connect(addr).await?)
}

/// Asks as healthy callers do, one after the other, for as long as `window`; every one must be answered.
async fn ask_meanwhile(ground: &Ground, window: Duration) -> Result<usize> {
    let (until, mut answers) = (Instant::now() + window, 0);
    while Instant::now() < until {
        let page = http::get(ground.http(), "/v1/channels/room.0/events?last=1").await;
        ensure!(
            page.context("history")?.head.status == 200,
            "history was refused"
        );
        let event = http::post(ground.http(), "/v1/channels/meanwhile/events", "", "x").await;
        ensure!(
            event.context("a publish")?.head.status == 201,
            "a publish was refused"
        );
        // A scrape goes through every worker's numbers, and the probes share its listener.
        ground.node().metrics().await?;
        ensure!(ground.node().is_ready().await, "the gateway is not ready");
        answers += 4;
        sleep(TICK / 5).await;
    }
    Ok(answers)
}

/// How many descriptors a process has open.
fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}
