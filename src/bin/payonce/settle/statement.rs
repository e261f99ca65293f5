//! A statement by the gateway protocol: pages of one JSON object a line.

use std::io::{BufRead, BufReader};

use payonce::{
    Currency, Timestamp,
    config::CREDENTIAL,
    payment::OperationKey,
    settle::{Line, LineKind},
};
use serde::Deserialize;

use super::wire::Wire;

/// A movement on the wire; fields that we do not know are left alone.
#[derive(Deserialize)]
struct Movement {
    number: u64,
    at_ms: Option<u64>,
    kind: Option<String>,
    reference: Option<String>,
    gateway_reference: Option<String>,
    amount: u64,
    currency: String,
}

/// Reads the statement to its end: the first empty page.
pub(super) fn read(wire: &Wire, url: &str, take: &mut impl FnMut(Line)) -> Result<(), String> {
    let base = url.trim_end_matches('/').trim_end_matches("/statement");
    // The one that the daemon has for the same gateway.
    let credential = std::env::var(CREDENTIAL).ok();
    let mut after = 0;
    loop {
        let url = format!("{base}/statement?after={after}");
        let page = BufReader::new(wire.get(&url, credential.as_deref())?);
        let before = after;
        for text in page.lines() {
            let text = text.map_err(|error| format!("the statement broke off at {url}: {error}"))?;
            let line = line(&text).map_err(|why| format!("{url}: {why}: {text}"))?;
            if line.place <= after {
                return Err(format!("{url}: movement {} comes after movement {after}", line.place));
            }
            after = line.place;
            take(line);
        }
        if after == before {
            return Ok(());
        }
    }
}

fn line(text: &str) -> Result<Line, String> {
    let movement: Movement = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(Line {
        place: movement.number,
        operation_key: movement.reference.as_deref().and_then(OperationKey::parse),
        // Of two names the gateway's own is shown; one that is not ours may be all there is.
        reference: movement.gateway_reference.or(movement.reference),
        kind: movement.kind.as_deref().map(LineKind::parse),
        amount: movement.amount,
        currency: Currency::new(&movement.currency).map_err(|invalid| invalid.to_string())?,
        at: movement.at_ms.map(Timestamp::from_millis),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_movement_is_read_and_what_is_not_understood_is_refused() {
        let whole = r#"{"number":7,"at_ms":5,"kind":"refund","reference":"00000000-0000-8000-8000-000000000001",
            "gateway_reference":"sb_7","amount":1050,"currency":"USD","new":true}"#;
        let read = line(whole).expect("a line");
        assert!(read.operation_key.is_some());
        assert_eq!((read.place, read.reference.as_deref(), read.amount), (7, Some("sb_7"), 1050));
        let least = line(r#"{"number":8,"amount":1,"currency":"JPY","reference":"dashboard"}"#).expect("a line");
        assert_eq!((least.operation_key, least.reference.as_deref()), (None, Some("dashboard")));
        assert_eq!((least.kind, least.at), (None, None));
        for bad in
            ["", "{}", r#"{"number":1,"amount":-1,"currency":"USD"}"#, r#"{"number":1,"amount":1,"currency":"?"}"#]
        {
            assert!(line(bad).is_err(), "{bad}");
        }
    }
}
