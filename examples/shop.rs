//! A shop: a cart becomes an order, and the order is paid. The key is made with the order, before anything is paid; whatever
//! fails after that, the customer presses the button again. `cargo run --example shop`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs, process,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State as Shared},
    http::StatusCode,
    routing::post,
};
use payonce::{
    Amount, Currency, Engine, IdempotencyKey, Options, Order, Rejection, State, Tenant,
    gateway::sandbox::{Fault, Faults, Sandbox, SandboxGateway},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How long a customer looks at a spinning wheel. The payment goes on without them.
const PATIENCE: Duration = Duration::from_secs(1);

/// One row of the shop's own database. A real one is committed before anything is paid.
#[derive(Clone)]
struct Purchase {
    key: IdempotencyKey,
    order: Order,
}

struct Shop {
    engine: Engine,
    /// By cart: a cart is bought once.
    purchases: Mutex<BTreeMap<String, Purchase>>,
}

impl Shop {
    /// The order of a cart, made if there is none. Pressing the button again finds it, and so its key.
    fn purchase(&self, cart: &str, cents: u64) -> Result<Purchase, payonce::Invalid> {
        let order = Order::new(Amount::new(cents)?, Currency::new("USD")?, "card_of_alice", "shop")?;
        let made = Purchase { key: IdempotencyKey::new(&format!("order-{cart}"))?, order };
        let mut purchases = self.purchases.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(purchases.entry(cart.to_owned()).or_insert(made).clone())
    }

    async fn pay(&self, Purchase { key, order }: Purchase) -> Result<State, Rejection> {
        let answer = self.engine.submit(&Tenant::default(), &key, order, PATIENCE).await?;
        Ok(answer.payment.state())
    }
}

/// `POST /carts/{cart}/buy`. What is not certain yet is said to be so: "failed" would make the customer buy elsewhere.
async fn buy(Shared(shop): Shared<Arc<Shop>>, Path(cart): Path<String>) -> (StatusCode, Json<Value>) {
    let say = |status, text: &str| (status, Json(json!({ "order": text })));
    let Ok(purchase) = shop.purchase(&cart, 1050) else {
        return say(StatusCode::BAD_REQUEST, "no such cart");
    };
    match shop.pay(purchase).await {
        Ok(State::Succeeded | State::Authorized) => say(StatusCode::OK, "paid"),
        // Final for this key: another card is another order, with a key of its own.
        Ok(State::Declined | State::Canceled) => say(StatusCode::PAYMENT_REQUIRED, "not paid: try another card"),
        Ok(State::Processing | State::RequiresAction | State::InDoubt | State::Parked) => {
            say(StatusCode::ACCEPTED, "being paid: we are finding out, press again")
        }
        // Nothing was recorded, or it is not known: the same key, a little later.
        Err(_) => say(StatusCode::SERVICE_UNAVAILABLE, "not now: press again"),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::temp_dir().join(format!("payonce-example-shop-{}", process::id()));
    // The bank takes the money, and its reply is lost.
    let bank = Sandbox::in_memory(1, Faults::none().with(Fault::DropAfter, 1.0)?);
    let engine = Engine::open(Options::new(&folder), Arc::new(SandboxGateway::new(bank.clone()))).await?;
    let shop = Arc::new(Shop { engine: engine.clone(), purchases: Mutex::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/carts/17/buy", listener.local_addr()?);
    let router = Router::new().route("/carts/{cart}/buy", post(buy)).with_state(shop);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    println!("the customer buys:      {}", press(&url).await?);
    println!("and presses again:      {}", press(&url).await?);
    bank.set_faults(Faults::none());
    println!("the bank answers again");
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("and once more:          {}", press(&url).await?);
    println!("taken from the account: {} time(s)", bank.summary().movements);

    server.abort();
    engine.close().await?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// What a browser would show.
async fn press(url: &str) -> Result<String, Box<dyn Error>> {
    let url = url.to_owned();
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let asked = move || ureq::Agent::from(config).post(&url).send_empty()?.body_mut().read_to_string();
    Ok(tokio::task::spawn_blocking(asked).await??)
}
