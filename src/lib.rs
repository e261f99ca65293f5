//! payonce makes one payment happen once.
//!
#![doc = include_str!("../README.md")]
//!
//! # Embedding it, step by step
//!
//! 1. **Open** it once a process, over a folder of its own: [`Engine::open`] with [`Options`] and a
//!    [`Gateway`](gateway::Gateway); with several gateways, [`Engine::open_with`]. It recovers first, and
//!    [`Engine::report`] says from what. An [`OpenError`] changes nothing: a damaged journal is not guessed at.
//! 2. **Make the key first**, keep it with your order, and take it from there whenever you ask: an [`IdempotencyKey`] is what
//!    makes the second try the same payment. An [`Order`] says how much, whose and to whom.
//! 3. **Pay**: [`Engine::pay`], or [`Engine::submit`] for a [`Tenant`] and a time to wait. The [`Answer`] has the
//!    [`Payment`]. Match on all of [`State`]: four are final, and the other four mean that it goes on without you; ask again
//!    under the same key, or follow the events. Each [`Rejection`] says whether anything was recorded.
//! 4. **Go on** with it: [`Engine::capture`], [`Engine::void`], [`Engine::refund`], each under a key of its own.
//! 5. **Follow** what happens: [`Engine::events`] from the [`Lsn`] that you had come to, which you keep with what you made of
//!    it; after a crash an event may come twice.
//! 6. **Show people** what needs them: [`Engine::list`] with [`Filter`]'s `attention`; [`Engine::outlook`] says what comes
//!    next and why, [`Engine::resolve`] ends a doubt by a [`Person`]'s word.
//! 7. **Watch** it: [`Engine::stats`] has numbers. With a subscriber of [`tracing`] that takes the level `info`, each call to
//!    a gateway is a span `gateway_call` (fields `payment`, `operation`, `kind`, `amount`, `currency`, `gateway`, `call`,
//!    `attempt`, `outcome`), and an event `settled` of the target `payonce::payment` ends a payment's story. What else a
//!    caller wrote is in none of them.
//! 8. **Close** it: [`Engine::close`] lets calls under way end, and marks the journal. A process that is killed loses nothing,
//!    and finds out at its next start what became of what was under way.
//!
//! A gateway of your own is a type that implements [`Gateway`](gateway::Gateway): a
//! [`Contract`](payment::Contract) that claims no more than is true, bytes that hold no secret and no clock, and for every
//! answer an [`Outcome`](payment::Outcome): [`NotSent`](payment::Outcome::NotSent) only if not one byte left, and
//! [`Unknown`](payment::Outcome::Unknown) for whatever is not understood. `gateway::probe` measures it against its contract,
//! in its own tests, and [`gateway::sandbox`] is a gateway that fails in fifteen ways, for yours.
//!
//! # The journey
//!
//! How one payment goes through the source, file by file. Three rings: [`payment`] is pure; [`disk`], [`journal`],
//! [`store`] and [`engine`] do IO when they are called, and own no thread and no clock; [`runtime`], [`gateway`],
//! `http` and `deliver` (webhooks out) are all that waits.
//!
//! 1. **A caller** posts an order. `http/routes.rs` reads the key (`http/key.rs`), the body (`http/intake.rs`,
//!    `http/json.rs`) and makes an [`Order`] of it (`http/bodies.rs`). A user of the library starts here, with an order.
//! 2. **The handle**, `runtime/handle.rs`: [`Engine::submit`] derives the [`PaymentId`] from tenant and key
//!    (`payment/id.rs`), has the gateway's adapter write the exact request bytes
//!    ([`Gateway::encode`](gateway::Gateway::encode)), and puts it all in the queue.
//!    What has come to rest is answered right here, without the engine (`runtime/rested.rs`, `engine/archive.rs`).
//! 3. **The queue**, `runtime/intake.rs`: three lanes, for reports, questions and new payments. A full one refuses at once.
//! 4. **The engine thread**, `runtime/turner.rs`: takes whatever has come in since the last turn, with the time.
//! 5. **The turn**, `engine/turn.rs`: loads every payment that the inputs name, from memory (`engine/overlay.rs`) or the
//!    store, which knows most keys for new without a look (`store/known.rs`).
//! 6. **Deciding**, `payment/decide/`: [`decide`](payment::decide) proposes facts (accepted, intended, attempt started)
//!    and actions (send). It matches on where the operation stands and on what came; `pay.rs` is for callers, `chase.rs`
//!    for what gateways say and the schedule asks, `person.rs` for people, `table.rs` walks all of it in tests.
//! 7. **Folding**, `payment/apply.rs`: [`apply`](payment::apply) makes the payment that these facts add up to. Nothing
//!    else ever changes one.
//! 8. **Recording**, `journal/writer.rs`: the facts of all inputs as one batch (`journal/batch.rs`, `journal/format1/`),
//!    one write, one fsync. If it fails, the process stops here: nothing has left, and nobody was told anything.
//! 9. **Releasing**, `engine/turn.rs` again: only now do actions and answers come out of the decision.
//! 10. **The call**, `runtime/calls.rs`: a task, a slot and a deadline; a gateway that answers at once is called
//!     on the engine thread instead. `gateway/http/` puts the frozen bytes on the wire;
//!     `gateway/wire.rs` knows whether a byte of them left; `gateway/http/classify.rs` and `gateway/judge.rs` say what
//!     came of it: an [`Outcome`](payment::Outcome), never an error.
//! 11. **Back**: the outcome is a report in the queue, an input to a turn, a fact in the journal. Then the waiting caller
//!     is told (`runtime/turner.rs`), and a payment at rest goes to the store (`runtime/storekeeper.rs`).
//!
//! # The journey of a payment whose process was killed
//!
//! The process dies between step 10 and step 11: the request left, no reply was recorded.
//!
//! 1. **The lock**, `disk/lock.rs`: the kernel let go of it with the process. Its inode tells a folder from a copy.
//! 2. **The scan**, `journal/scan.rs`: which segments count, where the journal ends, and whether its end is torn or
//!    damaged (`journal/walk.rs`, `journal/verdict.rs`). Damage ends the start here, with exit code 3.
//! 3. **The store**, `runtime/opening.rs` and `store/opening.rs`: opened where it can be trusted, else rebuilt.
//! 4. **Replay**, `engine/recovery.rs`: facts are folded with the same `apply`; nothing is decided anew. The payment comes
//!    out as it was: an attempt started, and no end of it.
//! 5. **A new epoch**: what was not evidently durable is recorded again, every unresolved payment is carried whole
//!    (`Carried`), then `Opened`; all durable before anything is sent or answered.
//! 6. **Resuming**: the payment is an ordinary input ([`Input::Resume`](payment::Input::Resume)) to an ordinary turn.
//!    `payment/decide/chase.rs` records that the attempt ended as unknown (evidence: the process stopped), and asks the
//!    gateway what became of it.
//! 7. **The inquiry**, `runtime/calls.rs` and the adapter. "Succeeded" or "declined" is learned, and ends it. "Not found"
//!    is believed only as `payment/schedule.rs` says, and then the same bytes go again under the same key. No answer:
//!    asked again later. Nothing for too long: parked, for a person.
//! 8. **The caller** repeats its request, with the same key, and gets the one answer.

#![cfg_attr(
    test,
    allow(
        clippy::expect_used,
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::wildcard_enum_match_arm,
        reason = "a test that finds something else has failed, and says so"
    )
)]

pub mod payment;

pub mod disk;

pub mod journal;

pub mod store;

pub mod engine;

#[cfg(any(feature = "http-gateway", feature = "webhooks"))]
pub mod signature;

#[cfg(any(feature = "http-gateway", feature = "webhooks"))]
mod tls;

#[cfg(feature = "webhooks")]
mod told;

pub mod gateway;

pub mod runtime;

#[cfg(feature = "webhooks")]
pub mod deliver;

#[cfg(feature = "server")]
pub mod http;

#[cfg(feature = "cli")]
pub mod config;

pub mod settle;

#[cfg(feature = "webhooks")]
pub mod receipt;

pub mod sim;

pub use engine::{Filter, Page, Stopped};
pub use journal::Lsn;
pub use payment::{
    Amount, Capture, Currency, Event, Fact, FollowUp, IdempotencyKey, Invalid, Namespace, Order, Payment, PaymentId,
    Person, Resolution, State, Tenant, Timestamp, Verdict,
};
pub use runtime::{
    Answer, Delivery, Engine, Events, GatewayRoute, OpenError, OpenReport, Operated, Options, Outlooks, Rejection,
    Stats,
};
