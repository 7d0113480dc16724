//! What must hold for any bytes at all: one module a target, each with `check`, which panics where it does not hold. Fuzzers
//! call them (`fuzz/libfuzzer`), and every test run replays the seeds through them. A target reads its bytes as text where
//! what it tests takes text; parts of an input are parted by NUL.

pub mod config;
pub mod core;
pub mod cursor;
pub mod forwarded;
pub mod frame;
pub mod patterns;
pub mod publish;
pub mod query;
pub mod sse;
pub mod token;

/// A target's body.
pub type Check = fn(&[u8]);

/// Every target by its name, which is also its folder's in `fuzz/seeds` and its program's in `fuzz/libfuzzer`.
pub const TARGETS: [(&str, Check); 10] = [
    ("config", config::check),
    ("core", core::check),
    ("cursor", cursor::check),
    ("forwarded", forwarded::check),
    ("frame", frame::check),
    ("patterns", patterns::check),
    ("publish", publish::check),
    ("query", query::check),
    ("sse", sse::check),
    ("token", token::check),
];

/// The first parts of an input, parted by NUL; what is missing is empty. The last part holds the rest.
fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut parts = bytes.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// Bytes as the text that they mostly are.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
