//! The `Prefer` header (RFC 7240): how long a caller wants to wait. What is not understood is ignored, as it says.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};

/// The wait of a caller who says nothing: longer than most gateways take, shorter than most clients' own limit (30 s).
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(10);
/// The longest wait. Proxies commonly cut connections that are silent for longer.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(60);
const _: () = assert!(DEFAULT_WAIT.as_secs() < MAX_WAIT.as_secs());

/// What a caller prefers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Preference {
    wait: Option<u64>,
    respond_async: bool,
}

impl Preference {
    /// Reads every `Prefer` header. Of a preference given more than once, the first counts.
    pub(super) fn read(headers: &HeaderMap) -> Preference {
        let mut seen_wait = false;
        let mut preference = Preference::default();
        let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for (name, value) in values.flat_map(split_outside_quotes).map(name_and_value) {
            if name.eq_ignore_ascii_case("respond-async") && value.is_empty() {
                preference.respond_async = true;
            } else if name.eq_ignore_ascii_case("wait") && !seen_wait {
                seen_wait = true;
                preference.wait = seconds(value);
            }
        }
        preference
    }

    /// How long to wait for the outcome. With both preferences, RFC 7240 lets the wait come first.
    pub(super) fn wait(self) -> Duration {
        match self.wait {
            Some(seconds) => Duration::from_secs(seconds),
            None if self.respond_async => Duration::ZERO,
            None => DEFAULT_WAIT,
        }
    }

    /// The value of `Preference-Applied`, if there is anything to say.
    pub(super) fn applied(self) -> Option<HeaderValue> {
        match (self.wait, self.respond_async) {
            (None, false) => None,
            (None, true) => Some(HeaderValue::from_static("respond-async")),
            (Some(wait), false) => HeaderValue::try_from(format!("wait={wait}")).ok(),
            (Some(wait), true) => HeaderValue::try_from(format!("respond-async, wait={wait}")).ok(),
        }
    }
}

/// Seconds, up to the longest wait; any number of digits is a number, just a large one.
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX).min(MAX_WAIT.as_secs()))
}

/// The members of a comma-separated list in which quoted strings may hold commas.
fn split_outside_quotes(list: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |character| {
        let ends = character == ',' && !quoted;
        let toggles = character == '"' && !escaped;
        escaped = quoted && character == '\\' && !escaped;
        quoted ^= toggles;
        ends
    })
}

/// `name = value; parameters`, without quotes around the value: RFC 7240 makes them equal.
fn name_and_value(member: &str) -> (&str, &str) {
    let preference = member.split(';').next().unwrap_or_default();
    let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
    let value = value.trim();
    let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    (name.trim(), bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> (u64, Option<String>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("prefer", HeaderValue::from_static(value));
        }
        let preference = Preference::read(&headers);
        let applied = preference.applied().map(|value| value.to_str().expect("ASCII").to_owned());
        (preference.wait().as_secs(), applied)
    }

    #[test]
    fn waits_are_read_clamped_and_confirmed() {
        for (values, wait, applied) in [
            (vec![], 10, None),
            (vec!["wait=5"], 5, Some("wait=5")),
            (vec!["Wait = \"5\""], 5, Some("wait=5")),
            (vec!["wait=0"], 0, Some("wait=0")),
            (vec!["wait=61"], 60, Some("wait=60")),
            (vec!["wait=99999999999999999999999"], 60, Some("wait=60")),
            (vec!["respond-async"], 0, Some("respond-async")),
            (vec!["respond-async, wait=3"], 3, Some("respond-async, wait=3")),
            (vec!["handling=lenient; wait=9", "wait=2; x=1"], 2, Some("wait=2")),
            (vec!["note=\"a, wait=9\", wait=4"], 4, Some("wait=4")),
        ] {
            assert_eq!(read(&values), (wait, applied.map(str::to_owned)), "{values:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        for value in
            ["wait", "wait=", "wait=-1", "wait=1.5", "wait=abc", "wait=1 2", "waits=3", "respond-async=1", ",,;=,\""]
        {
            assert_eq!(read(&[value]), (10, None), "{value}");
        }
        assert_eq!(read(&["wait=x", "wait=3"]), (10, None), "only the first instance counts");
    }
}
