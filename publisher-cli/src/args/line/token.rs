//! `sluice token` as written.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::token::{Action, Moment};
use crate::token::Algorithm;

#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct TokenLine {
    #[command(subcommand)]
    pub act: TokenAct,
}

#[derive(Subcommand)]
pub enum TokenAct {
    /// Make a token and print it
    Mint(MintLine),
    /// Show what a token says, what it grants, and what a gateway would find wrong with it
    Inspect(InspectLine),
    /// Tell whether a token allows one channel, and which pattern does; exit code 1 if it does not
    Check(CheckLine),
    /// Make a key: the secret or private key into a file, the public key to standard output
    Keygen(KeygenLine),
    /// Print the public keys of PEM files as a JWKS
    Jwks(JwksLine),
}

#[derive(Args)]
pub struct MintLine {
    /// Who the token is for: the claim `sub`, 1 to 256 bytes
    #[arg(long, value_name = "SUBJECT")]
    pub sub: String,
    /// Channels that may be read; give it once per pattern, such as 'orders.*' or 'user.{sub}.**'
    #[arg(long, value_name = "PATTERN")]
    pub subscribe: Vec<String>,
    /// Channels that may be published on
    #[arg(long, value_name = "PATTERN")]
    pub publish: Vec<String>,
    /// When it ends: so long from now, or a time such as 2025-11-20T22:00:00Z
    #[arg(long, value_name = "TIME", default_value = "15m")]
    pub expires: Moment,
    /// Before when it does not hold yet: so long from now, or a time
    #[arg(long, value_name = "TIME")]
    pub not_before: Option<Moment>,
    /// The claim `iss`
    #[arg(long, value_name = "ISSUER")]
    pub issuer: Option<String>,
    /// The claim `aud`; give it once per audience
    #[arg(long, value_name = "AUDIENCE")]
    pub audience: Vec<String>,
    /// The claim `jti`, by which it can be revoked; `auto` takes a random one
    #[arg(long, value_name = "JTI", default_value = "auto")]
    pub id: String,
    /// Name of the key in the header, as in the gateway's JWKS
    #[arg(long)]
    pub kid: Option<String>,
    /// What to sign with; left out, what fits the key: HS256, RS256, ES256, ES384 or EdDSA
    #[arg(long, value_enum, hide_possible_values = true)]
    pub algorithm: Option<Algorithm>,
    /// Print {"token","header","claims"}
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub key: SigningLine,
}

/// Taken only to say why it is not taken, and for its environment variable.
#[derive(Args)]
pub struct SecretLine {
    #[arg(long, hide = true, env = "SLUICE_TOKEN_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
}

#[derive(Args)]
#[command(next_help_heading = "Key")]
pub struct SigningLine {
    #[command(flatten)]
    pub secret: SecretLine,
    /// File with the secret of HS256, HS384 or HS512; or put the secret into SLUICE_TOKEN_SECRET
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    pub secret_file: Option<PathBuf>,
    /// PEM file with the private key: PKCS#8, PKCS#1 or SEC1
    #[arg(long, value_name = "PEM")]
    pub key_file: Option<PathBuf>,
}

#[derive(Args)]
pub struct InspectLine {
    #[command(flatten)]
    pub token: GivenLine,
    /// Tell also whether it allows this channel
    #[arg(long)]
    pub channel: Option<String>,
    /// What is to be done with the channel
    #[arg(long, value_enum, default_value = "subscribe", requires = "channel")]
    pub action: Action,
    /// Print one object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub key: VerifyingLine,
}

#[derive(Args)]
pub struct CheckLine {
    #[command(flatten)]
    pub token: GivenLine,
    /// The channel
    #[arg(long)]
    pub channel: String,
    /// What is to be done with the channel
    #[arg(long, value_enum, default_value = "subscribe")]
    pub action: Action,
    /// Print one object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub key: VerifyingLine,
}

#[derive(Args)]
pub struct GivenLine {
    /// The token; `-` takes it from standard input
    #[arg(env = "SLUICE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

#[derive(Args)]
#[command(next_help_heading = "Check the signature")]
pub struct VerifyingLine {
    #[command(flatten)]
    pub secret: SecretLine,
    /// With the secret in this file; or put the secret into SLUICE_TOKEN_SECRET
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key_file", "jwks_file"])]
    pub secret_file: Option<PathBuf>,
    /// With the key in this PEM file, public or private
    #[arg(long, value_name = "PEM", conflicts_with = "jwks_file")]
    pub key_file: Option<PathBuf>,
    /// With the key of this JWKS that the token names
    #[arg(long, value_name = "FILE")]
    pub jwks_file: Option<PathBuf>,
}

#[derive(Args)]
pub struct KeygenLine {
    /// What the key is for: ES256, ES384, EdDSA, an RSA algorithm such as RS256, or HS256 for a secret
    #[arg(long, value_enum, default_value = "ES256", hide_possible_values = true)]
    pub algorithm: Algorithm,
    /// File for the secret or private key; it must not be there yet, and only you can read it
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Args)]
pub struct JwksLine {
    /// PEM files, each with a public key, or a private one whose public half is taken
    #[arg(required = true, value_name = "PEM")]
    pub files: Vec<PathBuf>,
    /// Name of each key, in the files' order; left out, its thumbprint (RFC 7638)
    #[arg(long)]
    pub kid: Vec<String>,
    /// What the keys are for; left out, what fits each: RS256, ES256, ES384 or EdDSA
    #[arg(long, value_enum, hide_possible_values = true)]
    pub algorithm: Option<Algorithm>,
}
