//! What became of an operation: by the id of its PaymentIntent, and by metadata.

use hyper::{Method, body::Bytes};
use serde::Deserialize;

use super::{
    Replied, StripeGateway,
    classify::{Call, classify, read, unreadable},
    expected,
    object::{Expected, Intent, Refund, judge, judge_refund},
    request::{OPERATION, escaped, path},
    seen,
};
use crate::{
    gateway::Question,
    payment::{Kind, Outcome, Reply},
};

/// How many refunds are read at once: some 1.2 KB each, and a reply is read up to 64 KiB.
const REFUNDS_A_PAGE: usize = 25;
/// How many pages of them are read: twice what a payment can have.
const MOST_PAGES: usize = 16;
/// How many PaymentIntents of one key are looked at: some 3 KB each. One, unless creating it was tried for days.
const MOST_INTENTS: usize = 10;

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
    has_more: bool,
}

impl StripeGateway {
    pub(super) async fn ask(&self, question: Question) -> Outcome {
        let Question { kind, operation_key, amount, currency, reference, deadline } = question;
        let Some(expected) = expected(kind, operation_key, amount, currency, reference) else {
            return no_answer("unanswerable", "Stripe does not have such an amount");
        };
        match (kind, &expected.intent) {
            (Kind::Refund, Some(intent)) => self.ask_refunds(&expected, intent, deadline).await,
            (_, Some(intent)) => match path(intent) {
                Ok(path) => match self.get(&path, deadline).await {
                    Ok(came) => classify(Call::Ask, &expected, &seen(&came)),
                    Err(outcome) => outcome,
                },
                Err(invalid) => no_answer("unanswerable", &invalid.to_string()),
            },
            (Kind::Charge | Kind::Authorize, None) => self.search(&expected, deadline).await,
            (Kind::Capture | Kind::Void | Kind::Refund, None) => {
                no_answer("unanswerable", "the PaymentIntent that it acts on is not known")
            }
        }
    }

    /// Looks through the refunds of a PaymentIntent: not being among them all is not having been made.
    async fn ask_refunds(&self, expected: &Expected, intent: &str, deadline: std::time::Instant) -> Outcome {
        let first = format!("/v1/refunds?payment_intent={}&limit={REFUNDS_A_PAGE}", escaped(intent));
        let mut path = first.clone();
        for _ in 0..MOST_PAGES {
            let page = match self.get(&path, deadline).await {
                Ok(came) if came.status == 200 => read::<Page<Refund>>(&came.body, "list"),
                Ok(came) => return classify(Call::Ask, expected, &seen(&came)),
                Err(outcome) => return outcome,
            };
            let Some(page) = page else { return unreadable() };
            if let Some(refund) = page.data.iter().find(|refund| refund.is(expected.operation_key)) {
                return judge_refund(expected, refund);
            }
            match page.data.last() {
                Some(last) if page.has_more => path = format!("{first}&starting_after={}", escaped(&last.id)),
                None if page.has_more => return unreadable(),
                Some(_) | None => return Outcome::NotFound,
            }
        }
        no_answer("too_many_refunds", "the PaymentIntent has more refunds than a payment can have")
    }

    /// Looks for a charge whose PaymentIntent is not known: in a restored folder. Stripe's search lags by a minute and
    /// more, so what it does not find proves nothing; nor does a PaymentIntent that was not confirmed, for the one that
    /// was may not show yet.
    async fn search(&self, expected: &Expected, deadline: std::time::Instant) -> Outcome {
        let query = escaped(&format!("metadata['{OPERATION}']:'{}'", expected.operation_key));
        let path = format!("/v1/payment_intents/search?limit={MOST_INTENTS}&query={query}");
        let page = match self.get(&path, deadline).await {
            Ok(came) if came.status == 200 => read::<Page<Intent>>(&came.body, "search_result"),
            Ok(came) => return classify(Call::Ask, expected, &seen(&came)),
            Err(outcome) => return outcome,
        };
        let Some(page) = page else { return unreadable() };
        let told = page.data.iter().map(|intent| judge(expected, intent));
        told.into_iter()
            .find(|told| matches!(told, Outcome::Succeeded(_) | Outcome::Pending(_, _)))
            .unwrap_or_else(|| no_answer("not_found_by_search", "the search for it lags, and proves nothing"))
    }

    async fn get(&self, path: &str, deadline: std::time::Instant) -> Result<Replied, Outcome> {
        self.exchange(Method::GET, path, None, Bytes::new(), deadline).await
    }
}

fn no_answer(code: &str, message: &str) -> Outcome {
    Outcome::Unknown(Reply::new(code, message))
}
