//! What goes over the wire: payonce's `POST /v1/payments`, as much of it as a payment needs, and its gateway protocol.

use serde::{Deserialize, Serialize};

/// The largest whole number that every reader of JSON keeps exact.
const LARGEST_AMOUNT: u64 = (1 << 53) - 1;
/// The longest name of an account.
const LONGEST_NAME: usize = 255;

/// What a caller asks for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub amount: u64,
    pub currency: String,
    pub source: String,
    pub destination: String,
}

impl Order {
    pub fn read(body: &[u8]) -> Option<Self> {
        let order: Self = serde_json::from_slice(body).ok()?;
        let named = |name: &str| !name.is_empty() && name.chars().count() <= LONGEST_NAME;
        let currency = order.currency.len() == 3 && order.currency.bytes().all(|byte| byte.is_ascii_uppercase());
        let whole = (1..=LARGEST_AMOUNT).contains(&order.amount) && currency;
        (whole && named(&order.source) && named(&order.destination)).then_some(order)
    }

    /// One spelling of it, whatever the order and the blanks in the body were: what a repeat is compared with.
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What the gateway is asked. The reference is the name that the payment has there.
#[derive(Serialize)]
pub struct Charge<'a> {
    pub reference: &'a str,
    #[serde(flatten)]
    pub order: &'a Order,
    pub capture: &'a str,
}

/// The same, as the gateway reads it.
#[derive(Deserialize)]
pub struct Asked {
    pub reference: String,
    pub amount: u64,
    pub currency: String,
}

/// What the gateway answers.
#[derive(Serialize, Deserialize)]
pub struct Charged {
    pub reference: String,
    pub gateway_reference: String,
    pub status: String,
    pub amount: u64,
    pub currency: String,
    pub code: String,
    pub message: String,
}

impl Charged {
    /// Whether it speaks of what was asked, and says that it is done.
    pub fn settles(&self, key: &str, order: &Order) -> bool {
        let asked = self.reference == key && self.amount == order.amount && self.currency == order.currency;
        asked && self.status == "succeeded"
    }
}

/// What the caller is told.
#[derive(Serialize)]
struct Payment<'a> {
    id: &'a str,
    state: &'a str,
    #[serde(flatten)]
    order: &'a Order,
    outcome: Outcome<'a>,
    gateway_reference: &'a str,
}

#[derive(Serialize)]
struct Outcome<'a> {
    code: &'a str,
    message: &'a str,
}

/// The body of the answer to a payment that was made.
pub fn paid(key: &str, order: &Order, charged: &Charged) -> String {
    let outcome = Outcome { code: &charged.code, message: &charged.message };
    let gateway_reference = &charged.gateway_reference;
    let payment = Payment { id: key, state: &charged.status, order, outcome, gateway_reference };
    serde_json::to_string(&payment).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn one_order_has_one_spelling() {
        let one = br#"{"amount":1,"currency":"USD","source":"a","destination":"b"}"#;
        let other = br#"{ "destination":"b", "source":"a", "currency":"USD", "amount":1 }"#;
        let canonical = |body: &[u8]| Order::read(body).map(|order| order.canonical());
        assert!(canonical(one).is_some());
        assert_eq!(canonical(one), canonical(other));
    }

    #[test]
    fn what_is_not_an_order_is_refused() {
        for body in [
            r#"{"amount":0,"currency":"USD","source":"a","destination":"b"}"#,
            r#"{"amount":1,"currency":"usd","source":"a","destination":"b"}"#,
            r#"{"amount":1,"currency":"USD","source":"","destination":"b"}"#,
            r#"{"amount":1,"currency":"USD","source":"a","destination":"b","more":1}"#,
        ] {
            assert!(Order::read(body.as_bytes()).is_none(), "{body}");
        }
    }
}
