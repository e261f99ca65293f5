//! The frozen bytes: a request as text, without secrets.
//!
//! ```text
//! POST /v1/payment_intents/pi_1/confirm
//! Idempotency-Key: <operation key>
//!
//! return_url=https%3A%2F%2Fshop.example%2Fback
//! ```
//!
//! Credentials, account and version are added when it is sent. The key is frozen with it: how it is made may change.

use std::fmt::Write;

use super::currency::units;
use crate::payment::{Asked, Capture, Invalid, Kind};

/// Where a PaymentIntent, and a refund, bears the key of the operation that made it.
pub(super) const OPERATION: &str = "payonce_operation";
/// Where a PaymentIntent bears the key of the operation that captured it.
pub(super) const CAPTURE: &str = "payonce_capture";

/// What an order names as its destination if the money is for the account itself.
const OURSELVES: &str = "self";

/// What is asked of every payer alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Confirming {
    pub(super) return_url: Option<String>,
    pub(super) off_session: bool,
}

/// A request, read back from its frozen bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    pub(super) path: &'a str,
    pub(super) key: &'a str,
    pub(super) form: &'a str,
}

impl<'a> Request<'a> {
    pub(super) fn read(frozen: &'a [u8]) -> Option<Request<'a>> {
        let (head, form) = str::from_utf8(frozen).ok()?.split_once("\n\n")?;
        let (path, key) = head.strip_prefix("POST ")?.split_once("\nIdempotency-Key: ")?;
        Some(Request { path, key, form })
    }

    /// The PaymentIntent that it acts on; creating one acts on none.
    pub(super) fn intent(&self) -> Option<&'a str> {
        let in_path = self.path.strip_prefix("/v1/payment_intents/").and_then(|rest| rest.split('/').next());
        let in_form = || self.form.split('&').find_map(|pair| pair.strip_prefix("payment_intent="));
        in_path.or_else(in_form)
    }
}

/// An operation in Stripe's words. A charge without the id of its PaymentIntent: the request that creates that.
pub(super) fn encode(asked: &Asked<'_>, confirming: &Confirming) -> Result<Vec<u8>, Invalid> {
    let key = asked.operation_key;
    let amount = units(asked.amount, asked.order.currency)?.to_string();
    let mut form = Form::default();
    let (path, key) = match (asked.kind, asked.reference) {
        (Kind::Charge | Kind::Authorize, None) => {
            create(asked, &amount, &mut form)?;
            // Stripe compares what comes under one key: creating and confirming need one each.
            ("/v1/payment_intents".to_owned(), format!("{key}-create"))
        }
        (Kind::Charge | Kind::Authorize, Some(intent)) => {
            if let Some(url) = &confirming.return_url {
                form.add("return_url", url);
            }
            if confirming.off_session {
                form.add("off_session", "true");
            }
            (format!("{}/confirm", path(intent)?), key.to_string())
        }
        (Kind::Capture, Some(intent)) => {
            form.add("amount_to_capture", &amount);
            // Only so can two captures of one authorization be told apart afterwards.
            form.add(&format!("metadata[{CAPTURE}]"), &key.to_string());
            (format!("{}/capture", path(intent)?), key.to_string())
        }
        (Kind::Void, Some(intent)) => (format!("{}/cancel", path(intent)?), key.to_string()),
        (Kind::Refund, Some(intent)) => {
            path(intent)?;
            form.add("payment_intent", intent);
            form.add("amount", &amount);
            form.add(&format!("metadata[{OPERATION}]"), &key.to_string());
            ("/v1/refunds".to_owned(), key.to_string())
        }
        (Kind::Capture | Kind::Void | Kind::Refund, None) => {
            return Err(Invalid::new("charge", "must have a PaymentIntent that it acts on"));
        }
    };
    Ok(format!("POST {path}\nIdempotency-Key: {key}\n\n{}", form.0).into_bytes())
}

fn create(asked: &Asked<'_>, amount: &str, form: &mut Form) -> Result<(), Invalid> {
    let order = asked.order;
    let (customer, method) = source(&order.source)?;
    form.add("amount", amount);
    form.add("currency", &order.currency.as_str().to_ascii_lowercase());
    form.add("payment_method", method);
    // Without it, Stripe offers methods that send the payer away, and wants a return_url for every payment.
    form.add("payment_method_types[]", "card");
    if let Some(customer) = customer {
        form.add("customer", customer);
    }
    if asked.kind == Kind::Authorize || order.capture == Capture::Manual {
        form.add("capture_method", "manual");
    } else {
        // `automatic_async`, Stripe's default, would answer before the money has moved.
        form.add("capture_method", "automatic");
    }
    if order.destination != OURSELVES {
        let why = "must be a connected account (acct_..), or \"self\" for the account itself";
        form.add("transfer_data[destination]", named(&order.destination, "acct_", Invalid::new("destination", why))?);
    }
    form.add(&format!("metadata[{OPERATION}]"), &asked.operation_key.to_string());
    Ok(())
}

/// A payment method, with the customer that it is saved for: `pm_..`, or `cus_../pm_..`.
fn source(text: &str) -> Result<(Option<&str>, &str), Invalid> {
    let invalid = || Invalid::new("source", "must be a payment method (pm_..), or a customer's (cus_../pm_..)");
    match text.split_once('/') {
        Some((customer, method)) => Ok((Some(named(customer, "cus_", invalid())?), named(method, "pm_", invalid())?)),
        None => Ok((None, named(text, "pm_", invalid())?)),
    }
}

/// The path of a PaymentIntent.
pub(super) fn path(intent: &str) -> Result<String, Invalid> {
    let id = named(intent, "pi_", Invalid::new("reference", "must be a PaymentIntent (pi_..)"))?;
    Ok(format!("/v1/payment_intents/{id}"))
}

/// An id of Stripe's: it goes into paths and forms as it is.
fn named<'a>(id: &'a str, prefix: &str, otherwise: Invalid) -> Result<&'a str, Invalid> {
    let legal = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if id.strip_prefix(prefix).is_some_and(legal) { Ok(id) } else { Err(otherwise) }
}

/// `application/x-www-form-urlencoded`, in the order in which it was added: that order is frozen too.
#[derive(Default)]
struct Form(String);

impl Form {
    fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        // Brackets are not escaped, as in Stripe's own examples: they are structure here, and ours.
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&escaped(value));
    }
}

/// Percent-encodes what is not unreserved (RFC 3986).
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Amount, Currency, OperationKey, Order};

    const KEY: &str = "0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b";

    fn order(source: &str, destination: &str) -> Order {
        Order::new(Amount::new(1050).expect("legal"), Currency::new("USD").expect("known"), source, destination)
            .and_then(|order| order.with_description("not sent")?.with_metadata("not", "sent"))
            .expect("legal")
    }

    fn encoded(kind: Kind, reference: Option<&str>, order: &Order) -> Result<String, &'static str> {
        let (operation_key, amount) = (OperationKey::from_bytes([11; 16]), order.amount);
        let asked = Asked { kind, operation_key, amount, order, charge: None, reference };
        let bytes = encode(&asked, &Confirming::default()).map_err(|invalid| invalid.field)?;
        Ok(String::from_utf8(bytes).expect("text"))
    }

    /// Golden bytes. If they change, Stripe refuses what a former version began: other parameters under the same key.
    #[test]
    fn frozen_bytes_never_change() {
        let plain = order("pm_card_visa", "self");
        let create = |capture| {
            format!(
                "POST /v1/payment_intents\nIdempotency-Key: {KEY}-create\n\namount=1050&currency=usd&payment_method=\
                 pm_card_visa&payment_method_types[]=card&capture_method={capture}&metadata[payonce_operation]={KEY}"
            )
        };
        assert_eq!(encoded(Kind::Charge, None, &plain), Ok(create("automatic")));
        assert_eq!(encoded(Kind::Authorize, None, &plain), Ok(create("manual")));
        let acting = |kind| encoded(kind, Some("pi_1"), &plain);
        let on_intent =
            |verb, form| Ok(format!("POST /v1/payment_intents/pi_1/{verb}\nIdempotency-Key: {KEY}\n\n{form}"));
        assert_eq!(acting(Kind::Charge), on_intent("confirm", String::new()));
        assert_eq!(acting(Kind::Authorize), on_intent("confirm", String::new()));
        assert_eq!(acting(Kind::Void), on_intent("cancel", String::new()));
        let capture = format!("amount_to_capture=1050&metadata[payonce_capture]={KEY}");
        assert_eq!(acting(Kind::Capture), on_intent("capture", capture));
        let refund = format!("payment_intent=pi_1&amount=1050&metadata[payonce_operation]={KEY}");
        assert_eq!(acting(Kind::Refund), Ok(format!("POST /v1/refunds\nIdempotency-Key: {KEY}\n\n{refund}")));
    }

    #[test]
    fn saved_methods_bring_their_customer_and_connected_accounts_are_paid() {
        let created = encoded(Kind::Charge, None, &order("cus_9/pm_1", "acct_2")).expect("expressible");
        assert!(created.contains("&payment_method=pm_1&payment_method_types[]=card&customer=cus_9&"), "{created}");
        assert!(created.contains("&transfer_data[destination]=acct_2&"), "{created}");
    }

    #[test]
    fn what_could_be_another_request_is_refused() {
        for source in ["acct_alice", "pm_", "pm_1&confirm=true", "pm_1/../x", "cus_1", "cus_1/", "cus_/pm_1", "PM_1"] {
            assert_eq!(encoded(Kind::Charge, None, &order(source, "self")), Err("source"), "{source}");
        }
        for destination in ["shop", "acct_", "acct_1&a=b", "acct 1"] {
            assert_eq!(encoded(Kind::Charge, None, &order("pm_1", destination)), Err("destination"), "{destination}");
        }
        for reference in ["", "pi_", "pi_1/confirm", "pi_1\n", "ch_1"] {
            for kind in [Kind::Charge, Kind::Authorize, Kind::Capture, Kind::Void, Kind::Refund] {
                assert_eq!(encoded(kind, Some(reference), &order("pm_1", "self")), Err("reference"), "{reference:?}");
            }
        }
        assert_eq!(encoded(Kind::Refund, None, &order("pm_1", "self")), Err("charge"));
    }

    #[test]
    fn what_was_frozen_is_read_back() {
        let plain = order("pm_1", "self");
        for (kind, reference) in [
            (Kind::Charge, None),
            (Kind::Charge, Some("pi_1")),
            (Kind::Capture, Some("pi_1")),
            (Kind::Void, Some("pi_1")),
            (Kind::Refund, Some("pi_1")),
        ] {
            let text = encoded(kind, reference, &plain).expect("expressible");
            let read = Request::read(text.as_bytes()).expect("readable");
            assert_eq!(read.intent(), reference, "{text}");
            let Request { path, key, form } = read;
            assert_eq!(format!("POST {path}\nIdempotency-Key: {key}\n\n{form}"), text);
        }
        for other in ["", "GET /\nIdempotency-Key: k\n\n", "POST /v1", "{\"reference\":1}"] {
            assert_eq!(Request::read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn the_payer_comes_back_to_the_configured_url() {
        let confirming =
            Confirming { return_url: Some("https://shop.example/back?a=1&b=\u{e9}".to_owned()), off_session: true };
        let plain = order("pm_1", "self");
        let (operation_key, amount) = (OperationKey::from_bytes([11; 16]), plain.amount);
        let reference = Some("pi_1");
        let asked = Asked { kind: Kind::Charge, operation_key, amount, order: &plain, charge: None, reference };
        let bytes = encode(&asked, &confirming).expect("expressible");
        assert_eq!(
            Request::read(&bytes).map(|request| request.form),
            Some("return_url=https%3A%2F%2Fshop.example%2Fback%3Fa%3D1%26b%3D%C3%A9&off_session=true")
        );
    }
}
