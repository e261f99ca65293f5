//! Which gateways there are, what each is for, and which of them a new payment goes to.
//!
//! Knows nothing of what a gateway is asked, or of why one does not answer.

use std::{fmt, sync::Arc};

use super::{Asked, Contract, Currency, Identity, Invalid, Order};

/// A gateway, and which payments it is for.
#[derive(Clone, Debug)]
pub struct Route {
    /// How callers and operators name it. May change: what is recorded is the contract's identity.
    pub name: String,
    /// The currencies that it is for; none: all that no other route is for.
    pub currencies: Vec<Currency>,
    /// What it promises, and which it is.
    pub contract: Contract,
    /// How it is put into bytes.
    pub encoder: Encoder,
    /// Whether it does not answer at present: new payments go to another, if one is for them too.
    pub shut: bool,
    /// Whether an operator has nothing sent to it.
    pub paused: bool,
}

impl Route {
    /// A gateway for everything.
    pub fn new(name: &str, contract: Contract, encoder: Encoder) -> Route {
        Route { name: name.to_owned(), currencies: Vec::new(), contract, encoder, shut: false, paused: false }
    }

    /// Whether new payments go to another.
    pub const fn is_closed(&self) -> bool {
        self.shut || self.paused
    }

    fn suits(&self, order: &Order) -> Option<Suits> {
        match &order.gateway {
            Some(name) => (*name == self.name).then_some(Suits::Named),
            None if self.currencies.is_empty() => Some(Suits::Anything),
            None => self.currencies.contains(&order.currency).then_some(Suits::Currency),
        }
    }
}

/// Why a route is for an order; the first counts most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Suits {
    Named,
    Currency,
    Anything,
}

/// The places of the routes for an order, the one that is preferred first: those for its currency, then those for
/// anything, each in the order of the configuration. An order that names its gateway has only that one.
fn candidates(routes: &[Route], order: &Order) -> Vec<usize> {
    let mut suited: Vec<(Suits, usize)> = suited(routes, order).collect();
    suited.sort_unstable();
    suited.into_iter().map(|(_, place)| place).collect()
}

fn suited(routes: &[Route], order: &Order) -> impl Iterator<Item = (Suits, usize)> {
    routes.iter().enumerate().filter_map(|(place, route)| Some((route.suits(order)?, place)))
}

/// Where a new payment goes: to the first route that is for it and not shut, or to the first if all are shut.
pub fn choose(routes: &[Route], order: &Order, is_shut: impl Fn(usize) -> bool) -> Result<usize, Invalid> {
    let first = suited(routes, order).map(|(suits, place)| (is_shut(place), suits, place)).min();
    first.map(|(_, _, place)| place).ok_or_else(|| match order.gateway {
        Some(_) => Invalid::new("gateway", "must be the name of a configured gateway"),
        None => Invalid::new("currency", "must be one that a configured gateway is for"),
    })
}

/// Where a payment goes that a gateway did not take: to the next route that is for it and not closed, in a circle.
pub(super) fn next<'a>(routes: &'a [Route], order: &Order, from: &Identity) -> Option<&'a Route> {
    let suited: Vec<&Route> = candidates(routes, order).into_iter().filter_map(|place| routes.get(place)).collect();
    let here = suited.iter().position(|route| route.contract.identity == *from)?;
    let (before, after) = suited.split_at(here);
    after.iter().skip(1).chain(before).find(|route| !route.is_closed()).copied()
}

/// How many routes are for an order.
pub(super) fn count(routes: &[Route], order: &Order) -> usize {
    suited(routes, order).count()
}

/// Puts an operation into the exact bytes that its gateway is sent, or says why that cannot be done. Pure: the same
/// operation always gives the same bytes.
#[derive(Clone)]
pub struct Encoder(Arc<Encode>);

type Encode = dyn Fn(&Asked<'_>) -> Result<Vec<u8>, Invalid> + Send + Sync;

impl Encoder {
    /// The adapter's function.
    pub fn new(encode: impl Fn(&Asked<'_>) -> Result<Vec<u8>, Invalid> + Send + Sync + 'static) -> Encoder {
        Encoder(Arc::new(encode))
    }

    /// One line of text, for where nothing is really sent.
    pub fn plain() -> Encoder {
        Encoder::new(|asked| {
            let Asked { kind, operation_key, amount, order, .. } = asked;
            Ok(format!("{} {operation_key} {amount} {}", kind.as_str(), order.currency).into_bytes())
        })
    }

    /// The bytes.
    pub fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        (self.0)(asked)
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Amount;

    fn identity(name: &str) -> Identity {
        Identity { name: name.into(), ..Identity::default() }
    }

    fn routes(all: &[(&str, &[&str])]) -> Vec<Route> {
        let route = |(name, currencies): &(&str, &[&str])| {
            let currencies = currencies.iter().map(|code| Currency::new(code).expect("legal")).collect();
            let contract = Contract::standard(identity(name));
            Route { currencies, ..Route::new(name, contract, Encoder::plain()) }
        };
        all.iter().map(route).collect()
    }

    fn order(currency: &str) -> Order {
        let (amount, currency) = (Amount::new(1050), Currency::new(currency));
        Order::new(amount.expect("legal"), currency.expect("legal"), "alice", "bob").expect("legal")
    }

    const FOUR: [(&str, &[&str]); 4] = [("any", &[]), ("eu", &["EUR"]), ("eu2", &["EUR", "CHF"]), ("other", &[])];

    #[test]
    fn a_route_for_the_currency_comes_before_one_for_anything() {
        let routes = routes(&FOUR);
        assert_eq!(candidates(&routes, &order("EUR")), [1, 2, 0, 3]);
        assert_eq!(candidates(&routes, &order("CHF")), [2, 0, 3]);
        assert_eq!(candidates(&routes, &order("USD")), [0, 3]);
        assert_eq!(candidates(&routes, &order("EUR").with_gateway("other").expect("legal")), [3]);
    }

    #[test]
    fn a_new_payment_goes_to_the_first_that_is_not_shut_and_to_the_first_if_all_are() {
        let routes = routes(&FOUR);
        let chosen = |order: &Order, shut: &[usize]| choose(&routes, order, |place| shut.contains(&place));
        assert_eq!(chosen(&order("EUR"), &[]), Ok(1));
        assert_eq!(chosen(&order("EUR"), &[1]), Ok(2));
        assert_eq!(chosen(&order("EUR"), &[0, 1, 2, 3]), Ok(1));
        let named = order("EUR").with_gateway("eu2").expect("legal");
        assert_eq!(chosen(&named, &[2]), Ok(2), "a caller who names its gateway means it");
    }

    #[test]
    fn an_order_that_no_gateway_is_for_is_refused_by_the_field_that_says_so() {
        let routes = routes(&[("eu", &["EUR"])]);
        let refused = |order: &Order| choose(&routes, order, |_| false).expect_err("none is for it").field;
        assert_eq!(refused(&order("USD")), "currency");
        assert_eq!(refused(&order("EUR").with_gateway("us").expect("legal")), "gateway");
    }

    #[test]
    fn what_one_gateway_did_not_take_goes_to_the_next_that_is_for_it_in_a_circle() {
        let mut routes = routes(&FOUR);
        let after =
            |routes: &[Route], from: &str| next(routes, &order("CHF"), &identity(from)).map(|route| route.name.clone());
        assert_eq!(after(&routes, "eu2").as_deref(), Some("any"));
        assert_eq!(after(&routes, "any").as_deref(), Some("other"));
        assert_eq!(after(&routes, "other").as_deref(), Some("eu2"));
        assert_eq!(after(&routes, "eu"), None, "it is not for it, and must not have had it");
        routes[0].shut = true;
        assert_eq!(after(&routes, "eu2").as_deref(), Some("other"));
        routes[3].shut = true;
        assert_eq!(after(&routes, "eu2"), None, "nowhere else");
        assert_eq!((count(&routes, &order("CHF")), count(&routes, &order("EUR"))), (3, 4));
    }
}
