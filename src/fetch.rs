//! Downloads: bounded, verified while they stream, never over plain http unless a checksum vouches.

use std::io::Read;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result};
use crate::host::files::hex;

/// Attempts at errors that can pass.
const ATTEMPTS: u32 = 4;

/// Fetches at most `limit` bytes into memory; the SHA-256 must be `sha256`.
pub fn fetch(url: &str, sha256: &str, limit: u64) -> Result<Vec<u8>> {
    let mut wait = Duration::from_millis(500);
    for attempt in 1.. {
        match once(url, limit) {
            Ok(bytes) => return verify(url, bytes, sha256),
            Err(Failure::Passing(_)) if attempt < ATTEMPTS => {
                std::thread::sleep(wait);
                wait *= 2;
            }
            Err(Failure::Passing(why) | Failure::Final(why)) => {
                return Err(Error::new(Kind::Host, format!("{url} cannot be fetched"))
                    .cause(format!("{why} (attempt {attempt})"))
                    .remedy("check the address and the network; HTTPS_PROXY is honoured"));
            }
        }
    }
    unreachable!("the loop ends by returning")
}

enum Failure {
    Passing(String),
    Final(String),
}

fn once(url: &str, limit: u64) -> std::result::Result<Vec<u8>, Failure> {
    let client = reqwest::blocking::Client::builder()
        .connect_timeout(Duration::from_secs(15))
        .timeout(Duration::from_secs(300))
        .redirect(reqwest::redirect::Policy::custom(|attempt| {
            let downgrade =
                attempt.previous().last().is_some_and(|p| p.scheme() == "https") && attempt.url().scheme() != "https";
            if downgrade || attempt.previous().len() > 5 {
                attempt.error("a redirect to plain http, or too many")
            } else {
                attempt.follow()
            }
        }))
        .build()
        .map_err(|e| Failure::Final(text(&e)))?;
    let response = client.get(url).send().map_err(|e| {
        if e.is_redirect() || e.is_builder() { Failure::Final(text(&e)) } else { Failure::Passing(text(&e)) }
    })?;
    let status = response.status();
    if status.is_server_error() || status.as_u16() == 429 {
        return Err(Failure::Passing(format!("the server answered {status}")));
    }
    if !status.is_success() {
        return Err(Failure::Final(format!("the server answered {status}")));
    }
    let announced = response.content_length();
    let mut bytes = Vec::new();
    response.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Failure::Passing(e.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(Failure::Final(format!("it is larger than {limit} bytes")));
    }
    if announced.is_some_and(|n| n != bytes.len() as u64) {
        return Err(Failure::Passing(format!("the transfer broke after {} bytes", bytes.len())));
    }
    Ok(bytes)
}

fn verify(url: &str, bytes: Vec<u8>, sha256: &str) -> Result<Vec<u8>> {
    let got = hex(&Sha256::digest(&bytes));
    if got == sha256 {
        return Ok(bytes);
    }
    Err(Error::new(Kind::Artifact, format!("{url} is not the file that was asked for"))
        .cause(format!("its SHA-256 is {got}, wanted {sha256}"))
        .remedy("check module.sha256, or who answers at that address"))
}

/// reqwest hides the reason in the chain of sources.
fn text(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        said = format!("{said}: {inner}");
        source = inner.source();
    }
    said
}
