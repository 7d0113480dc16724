//! `sluice token`: tokens made, looked at and explained, and the keys for it. All of it happens here; nothing is sent
//! anywhere. A token's rules are those of a gateway as it is when nothing is configured; secrets are never shown.

mod algorithm;
mod claims;
mod grants;
mod inspect;
mod key;
mod keygen;
mod mint;
mod parts;
mod pem;
mod times;

pub use algorithm::Algorithm;

use crate::args::Token;
use crate::failure::Failure;

/// # Errors
/// Those of each command.
pub fn run(job: &Token) -> Result<(), Failure> {
    match job {
        Token::Mint(job) => mint::run(job),
        Token::Inspect(job) => inspect::inspect(job),
        Token::Check(job) => inspect::check(job),
        Token::Keygen(job) => keygen::keygen(job),
        Token::Jwks(job) => keygen::jwks(job),
    }
}
