//! How what happened is told in JSON, to callers and to receivers of webhooks alike.
//!
//! Knows nothing of who is told, or over what.

use std::fmt;

use jiff::Timestamp as Civil;
use serde::{Serialize, Serializer};

use crate::payment::{Event, PaymentId, Timestamp};

/// An event of the feed.
// The order of its fields is frozen.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Event))]
pub(crate) struct EventBody {
    #[cfg_attr(feature = "server", schema(value_type = PaymentId))]
    payment: Text<PaymentId>,
    at: Rfc3339,
    #[cfg_attr(feature = "server", schema(value_type = crate::payment::Fact))]
    event: &'static str,
    /// Which of the payment's operations it is about, if one.
    #[cfg_attr(feature = "server", schema(required))]
    operation: Option<u32>,
}

impl From<&Event> for EventBody {
    fn from(event: &Event) -> EventBody {
        EventBody {
            payment: Text(event.payment),
            at: Rfc3339(event.at),
            event: event.fact.name(),
            operation: event.fact.operation().map(|operation| operation.number),
        }
    }
}

/// Anything with a textual form, as a JSON string.
pub(crate) struct Text<T>(pub(crate) T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A time as in RFC 3339: UTC, to the millisecond.
#[derive(Clone, Copy)]
pub(crate) struct Rfc3339(pub(crate) Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The years after 9999 have no RFC 3339 form: they are all its last millisecond.
        let millis = i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX);
        let civil = Civil::from_millisecond(millis).unwrap_or(Civil::MAX);
        serializer.collect_str(&format_args!("{civil:.3}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_with_milliseconds() {
        let written = |millis| serde_json::to_string(&Rfc3339(Timestamp::from_millis(millis))).expect("a string");
        assert_eq!(written(0), "\"1970-01-01T00:00:00.000Z\"");
        assert_eq!(written(1_795_493_106_700), "\"2026-11-24T04:05:06.700Z\"");
        assert_eq!(written(u64::MAX), "\"9999-12-30T22:00:00.999Z\"");
    }
}
