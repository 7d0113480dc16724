//! Judges what a client saw by its token: nothing but the end comes after the token's own end, and that end not before.

use super::checker::Asked;
use super::eventsource::Block;
use super::past::Time;

/// Whether the token allows the block: nothing but the end comes after its own end, and that end not before.
pub fn check_right(block: &Block, asked: &Asked, now: Time) -> Result<(), String> {
    let kind = block.event_type.as_str();
    let ends = kind == "sluice.close" && block.data.contains("token_expired");
    match asked.expires_at {
        Some(at) if at <= now && kind != "sluice.close" => {
            Err(format!("delivered after the token's end: {block:?}"))
        }
        Some(at) if now < at && ends => Err(format!("ended before its token: {block:?}")),
        None if ends || kind == "sluice.expiring" => {
            Err(format!("the end of a token that there is not: {block:?}"))
        }
        Some(_) | None => Ok(()),
    }
}
