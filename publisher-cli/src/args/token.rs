//! `sluice token`, resolved: whose token, with which key, asked for which channel. Secrets come from files and the
//! environment only.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use clap::parser::ValueSource;
use clap::{ArgMatches, ValueEnum};
use sluice_wire::Channel;

use super::bad_channel;
use super::line::{
    CheckLine, GivenLine, InspectLine, JwksLine, KeygenLine, MintLine, SecretLine, SigningLine,
    TokenAct, TokenLine, VerifyingLine,
};
use super::link::Secret;
use super::start::timestamp;
use crate::failure::Failure;
use crate::token::Algorithm;

/// `sluice token`, resolved.
#[derive(Debug)]
pub enum Token {
    Mint(Mint),
    Inspect(Inspect),
    Check(Inspect),
    Keygen(Keygen),
    Jwks(Jwks),
}

#[derive(Debug)]
pub struct Mint {
    pub sub: String,
    pub subscribe: Vec<String>,
    pub publish: Vec<String>,
    pub expires: Moment,
    pub not_before: Option<Moment>,
    pub issuer: Option<String>,
    pub audience: Vec<String>,
    /// `None`: a random one.
    pub id: Option<String>,
    pub kid: Option<String>,
    /// `None`: what fits the key.
    pub algorithm: Option<Algorithm>,
    pub key: KeySource,
    pub json: bool,
}

#[derive(Debug)]
pub struct Inspect {
    /// `None`: standard input.
    pub token: Option<Secret>,
    pub ask: Option<(Channel, Action)>,
    pub key: Option<KeySource>,
    pub json: bool,
}

#[derive(Debug)]
pub struct Keygen {
    pub algorithm: Algorithm,
    pub out: PathBuf,
}

#[derive(Debug)]
pub struct Jwks {
    /// The files, and their keys' names where given.
    pub files: Vec<(PathBuf, Option<String>)>,
    pub algorithm: Option<Algorithm>,
}

/// Where a key comes from.
#[derive(Debug)]
pub enum KeySource {
    /// Of the environment.
    Secret(Secret),
    SecretFile(PathBuf),
    Pem(PathBuf),
    Jwks(PathBuf),
}

/// What is to be done with a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Action {
    Subscribe,
    Publish,
}

impl Action {
    /// The name of the claim's list.
    pub fn name(self) -> &'static str {
        match self {
            Action::Subscribe => "subscribe",
            Action::Publish => "publish",
        }
    }

    /// In a sentence, before a channel.
    pub fn words(self) -> &'static str {
        match self {
            Action::Subscribe => "subscribe to",
            Action::Publish => "publish on",
        }
    }
}

/// A moment to come, or one told exactly.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    In(Duration),
    At(SystemTime),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Moment, String> {
        if let Ok(time) = humantime::parse_duration(text) {
            return Ok(Moment::In(time));
        }
        timestamp(text).map(Moment::At).ok_or_else(|| {
            "give a time from now such as 15m, or a moment such as 2025-11-20T22:00:00Z".into()
        })
    }
}

pub fn resolve(line: TokenLine, matches: &ArgMatches) -> Result<Token, Failure> {
    let matches = matches.subcommand().map_or(matches, |(_, inner)| inner);
    Ok(match line.act {
        TokenAct::Mint(line) => Token::Mint(mint(line, matches)?),
        TokenAct::Inspect(line) => Token::Inspect(inspect(line, matches)?),
        TokenAct::Check(line) => Token::Check(check(line, matches)?),
        TokenAct::Keygen(KeygenLine { algorithm, out }) => Token::Keygen(Keygen { algorithm, out }),
        TokenAct::Jwks(line) => Token::Jwks(jwks(line)?),
    })
}

fn mint(line: MintLine, matches: &ArgMatches) -> Result<Mint, Failure> {
    let SigningLine {
        secret,
        secret_file,
        key_file,
    } = line.key;
    let secret = environment(secret, matches)?;
    let key = match (secret_file, key_file, secret) {
        (Some(file), _, _) => KeySource::SecretFile(file),
        (None, Some(file), _) => KeySource::Pem(file),
        (None, None, Some(secret)) => KeySource::Secret(secret),
        (None, None, None) => {
            return Err(Failure::usage(
                "no key to sign with",
                "pass --secret-file FILE or --key-file PEM, or put the secret into SLUICE_TOKEN_SECRET",
            ));
        }
    };
    Ok(Mint {
        sub: line.sub,
        subscribe: line.subscribe,
        publish: line.publish,
        expires: line.expires,
        not_before: line.not_before,
        issuer: line.issuer,
        audience: line.audience,
        id: (line.id != "auto").then_some(line.id),
        kid: line.kid,
        algorithm: line.algorithm,
        key,
        json: line.json,
    })
}

fn inspect(line: InspectLine, matches: &ArgMatches) -> Result<Inspect, Failure> {
    let channel = line.channel.as_deref().map(channel).transpose()?;
    Ok(Inspect {
        token: given(line.token)?,
        ask: channel.map(|channel| (channel, line.action)),
        key: verifying(line.key, matches)?,
        json: line.json,
    })
}

fn check(line: CheckLine, matches: &ArgMatches) -> Result<Inspect, Failure> {
    Ok(Inspect {
        token: given(line.token)?,
        ask: Some((channel(&line.channel)?, line.action)),
        key: verifying(line.key, matches)?,
        json: line.json,
    })
}

fn jwks(line: JwksLine) -> Result<Jwks, Failure> {
    let (files, names) = (line.files.len(), line.kid.len());
    if names > 0 && names != files {
        return Err(Failure::usage(
            format!("{names} --kid for {files} files"),
            "give one --kid per file, in their order, or none",
        ));
    }
    let names = line.kid.into_iter().map(Some);
    let names = names.chain(std::iter::repeat(None));
    Ok(Jwks {
        files: line.files.into_iter().zip(names).collect(),
        algorithm: line.algorithm,
    })
}

fn channel(name: &str) -> Result<Channel, Failure> {
    Channel::parse(name).map_err(|error| bad_channel(name, &error.to_string()))
}

fn given(line: GivenLine) -> Result<Option<Secret>, Failure> {
    match line.token.as_deref() {
        None | Some("") => Err(Failure::usage(
            "no token to look at",
            "give it as an argument or in SLUICE_TOKEN, or pass - and write it to standard input",
        )),
        Some("-") => Ok(None),
        Some(token) => Ok(Some(Secret::new(token.trim()))),
    }
}

fn verifying(line: VerifyingLine, matches: &ArgMatches) -> Result<Option<KeySource>, Failure> {
    let secret = environment(line.secret, matches)?;
    let file = line.secret_file.map(KeySource::SecretFile);
    let file = file.or(line.key_file.map(KeySource::Pem));
    let file = file.or(line.jwks_file.map(KeySource::Jwks));
    Ok(file.or(secret.map(KeySource::Secret)))
}

/// The secret of the environment. One on the command line was shown to everyone who lists processes.
fn environment(line: SecretLine, matches: &ArgMatches) -> Result<Option<Secret>, Failure> {
    if matches.value_source("secret") == Some(ValueSource::CommandLine) {
        return Err(Failure::usage(
            "a secret on the command line is seen by everyone who lists processes, and stays in the shell's history",
            "put it into a file and pass --secret-file FILE, or into SLUICE_TOKEN_SECRET; change this one if it is in use",
        ));
    }
    let secret = line.secret.filter(|secret| !secret.is_empty());
    Ok(secret.map(|secret| Secret::new(&secret)))
}
