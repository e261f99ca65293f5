//! The library's face: what any task may ask of the engine.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::{oneshot, watch};

use super::{
    Events, GatewayRoute, OpenError, OpenReport, Options, Outlooks, Stats, clock,
    gateways::{FIRST, Lines},
    intake::{Ask, Owner, Pay, Unheard},
    opening,
    rested::Rested,
    stats::Meter,
};
use crate::{
    engine::{Filter, Page, Stopped},
    gateway::{Asked, Forged, Gateway, News, Post},
    journal::{Lsn, Reader},
    payment::{
        Amount, Capture, Deed, FollowUp, IdempotencyKey, Input, Invalid, Kind, Manner, Namespace, Operation,
        OperationKey, Order, Payment, PaymentId, Resolution, Tenant, Webhook,
    },
};

/// A running engine. Clone it freely; when the last clone is dropped without [`Engine::close`], it stops as a killed
/// process would: safely, with the next start asking the gateway what became of what was under way.
#[derive(Clone)]
pub struct Engine {
    pub(super) face: Arc<Face>,
}

pub(super) struct Face {
    /// Dropped with the last clone: then the engine is abandoned.
    intake: Owner,
    pub(super) lines: Arc<Lines>,
    namespace: Namespace,
    wait: Duration,
    report: OpenReport,
    durable: watch::Receiver<Lsn>,
    stopped: watch::Receiver<Option<Stopped>>,
    pub(super) reader: Reader,
    rested: Arc<Rested>,
    data: PathBuf,
    meter: Arc<Meter>,
}

/// A payment, and how the caller came by it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// As it is now.
    pub payment: Arc<Payment>,
    /// How.
    pub delivery: Delivery,
}

/// A capture, void or refund, and how the caller came by it.
#[derive(Clone, Debug)]
pub struct Operated {
    /// The payment as it is now.
    pub payment: Arc<Payment>,
    /// The operation's number in it.
    pub number: u32,
    /// How.
    pub delivery: Delivery,
}

impl Operated {
    /// The operation.
    pub fn operation(&self) -> Option<&Operation> {
        self.payment.operations.iter().find(|operation| operation.this.number == self.number)
    }
}

/// How a caller came by its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Its call made the payment.
    Fresh,
    /// The payment was under way: the call joined it.
    Attached,
    /// The payment was settled before: the same answer again.
    Replayed,
}

/// Why a call was not answered with a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The key was used with other parameters. Nothing was done; use the first parameters, or another key.
    Conflict {
        /// The payment that the key names.
        id: PaymentId,
        /// The fields that differ.
        differing: Vec<&'static str>,
    },
    /// The gateway's adapter cannot express the order. Nothing was recorded; the key is not spent.
    InvalidOrder(Invalid),
    /// Too many callers are waiting, or the engine is stopping. Nothing was recorded; repeat with the same key.
    Overloaded {
        /// When to come back.
        retry_after: Duration,
    },
    /// An operator has nothing sent to the only gateway that it is for. Nothing was recorded; repeat with the same key.
    Paused,
    /// An operator has nothing new taken. Nothing was recorded; repeat with the same key.
    Draining,
    /// The disk is full, or the index failed, which a new start mends. Nothing was recorded; repeat with the same key.
    StorageFull {
        /// When to come back.
        retry_after: Duration,
    },
    /// The folder is a copy, or was restored: nothing is sent from it until `serve --moved`. Nothing was recorded.
    Moved,
    /// More than the payment has left for it. Nothing was recorded; the key is not spent.
    AmountTooLarge {
        /// How much is left, in minor units.
        left: u64,
    },
    /// It looks like another payment of the last minutes, made under another key. Nothing was recorded; if it is meant, say so.
    PossibleDuplicate {
        /// That other one.
        of: PaymentId,
    },
    /// What came is not from the gateway. Nothing was recorded.
    Forged(Forged),
    /// There is no such payment.
    NotFound,
    /// Not possible where the payment stands. Nothing was done.
    InvalidState {
        /// Why.
        why: String,
    },
    /// Deciding about this payment failed: a defect in this program, please report it. What is unresolved of it is parked.
    Defect,
    /// The engine has stopped: what became of this call is unknown. Repeat with the same key after the next start.
    Stopped(Stopped),
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Conflict { id, differing } => write!(
                f,
                "the key was used before, for payment {id}, with another {}; nothing was done",
                differing.join(", ")
            ),
            Rejection::InvalidOrder(invalid) => write!(f, "nothing was recorded: {invalid}"),
            Rejection::Overloaded { .. } => {
                f.write_str("too many callers are waiting; nothing was recorded, repeat with the same key")
            }
            Rejection::Paused => f.write_str(
                "an operator has paused the gateway that this is for; nothing was recorded, repeat with the same key",
            ),
            Rejection::Draining => f.write_str(
                "an operator has nothing new taken at present; nothing was recorded, repeat with the same key",
            ),
            Rejection::StorageFull { .. } => {
                f.write_str("the disk is full, or the index failed; nothing was recorded, repeat with the same key")
            }
            Rejection::Moved => f.write_str(
                "the data folder is a copy or was restored: nothing is sent from it until `serve --moved` was said \
                 once; nothing was recorded",
            ),
            Rejection::AmountTooLarge { left } => {
                write!(f, "the payment has {left} minor units left for this; nothing was done")
            }
            Rejection::PossibleDuplicate { of } => write!(
                f,
                "payment {of}, made a moment ago under another key, is for the same amount, of the same payer, to the same \
                 payee; nothing was recorded"
            ),
            Rejection::Forged(forged) => forged.fmt(f),
            Rejection::NotFound => f.write_str("there is no such payment"),
            Rejection::InvalidState { why } => f.write_str(why),
            Rejection::Defect => f.write_str(
                "deciding about this payment failed: a defect in this program, please report it; what is unresolved of \
                 the payment is parked, and to repeat with the same key moves no money twice",
            ),
            Rejection::Stopped(stopped) => stopped.fmt(f),
        }
    }
}

impl std::error::Error for Rejection {}

impl Engine {
    /// Opens the data folder, recovers what an earlier process left, and starts. Must be called on a tokio runtime,
    /// which then also carries the gateway calls. When this returns, the recovery is durable.
    pub async fn open(options: Options, gateway: Arc<dyn Gateway>) -> Result<Engine, OpenError> {
        Engine::open_with(options, vec![GatewayRoute::new(FIRST, gateway)]).await
    }

    /// Opens as [`Engine::open`] does, with several gateways, the one that is preferred first. A new payment goes to the
    /// first that is for its currency, or else for anything, and answers; it goes to another only while it certainly has
    /// not happened.
    pub async fn open_with(options: Options, gateways: Vec<GatewayRoute>) -> Result<Engine, OpenError> {
        let lines = Arc::new(Lines::new(gateways, options.gateway_slots).map_err(OpenError::Options)?);
        let (namespace, wait, data) = (options.namespace.clone(), options.wait, options.data.clone());
        let opened = opening::start(options, lines.clone()).await?;
        let opening::Opened { intake, report, durable, stopped, reader, rested, meter } = opened;
        let face = Face { intake, lines, namespace, wait, report, durable, stopped, reader, rested, data, meter };
        Ok(Engine { face: Arc::new(face) })
    }

    /// Pays, once, under this key, for the default tenant. Waits for the outcome as long as [`Options::wait`] says.
    pub async fn pay(&self, key: &str, order: Order) -> Result<Answer, Rejection> {
        let key = IdempotencyKey::new(key).map_err(Rejection::InvalidOrder)?;
        self.submit(&Tenant::default(), &key, order, self.face.wait).await
    }

    /// Pays, once, under this tenant's key. Answers when the payment is settled, or waits for the payer or a person, or
    /// when `wait` is over: then with the payment as it is. Without `wait`, as soon as the intent is durable.
    pub async fn submit(
        &self,
        tenant: &Tenant,
        key: &IdempotencyKey,
        order: Order,
        wait: Duration,
    ) -> Result<Answer, Rejection> {
        self.submit_as(tenant, key, order, false, wait).await
    }

    /// Pays as [`Engine::submit`] does; with `meant`, also what looks like another payment of the last minutes
    /// ([`Options::duplicates`]).
    pub async fn submit_as(
        &self,
        tenant: &Tenant,
        key: &IdempotencyKey,
        order: Order,
        meant: bool,
        wait: Duration,
    ) -> Result<Answer, Rejection> {
        let id = PaymentId::derive(tenant, key);
        if let Some(answer) = self.face.rested.repeat(&id, tenant, key, &order) {
            return answer;
        }
        // No gateway for it now: it may have been made when there was one.
        let (route, request) = match self.face.lines.choose(&order) {
            Ok((route, line)) => (route, self.encode(line.gateway.as_ref(), &id, key, &order)),
            Err(invalid) => (0, Err(invalid)),
        };
        let (order, manner) = (Arc::new(order), Manner { route, meant });
        let input = Input::Pay { tenant: tenant.clone(), key: key.clone(), order: order.clone(), request, manner };
        match self.ask_for(id, input, wait).await? {
            Some(answer) => Ok(answer),
            // Its intent may be durable, or it may still be queued: then it is not taken up any more, and what is there is
            // somebody else's, unless it is just what was asked for.
            None => match self.get_in_line(id).await? {
                Some(payment)
                    if payment.tenant == *tenant
                        && payment.key == *key
                        && payment.order.differing_fields(&order).is_empty() =>
                {
                    Ok(Answer { payment, delivery: Delivery::Attached })
                }
                Some(_) | None => Err(Rejection::Overloaded { retry_after: Duration::from_secs(1) }),
            },
        }
    }

    /// Moves what was authorized: all that is left of it, or an amount. For the default tenant.
    pub async fn capture(&self, id: PaymentId, key: &str, amount: Option<Amount>) -> Result<Operated, Rejection> {
        self.go_on(id, key, FollowUp::Capture(amount)).await
    }

    /// Lets go of what was authorized; cancels what has not been sent. Crossing a charge under way, it waits for what
    /// becomes of that, and undoes it as [`Options::policies`] say. For the default tenant.
    pub async fn void(&self, id: PaymentId, key: &str) -> Result<Operated, Rejection> {
        self.go_on(id, key, FollowUp::Void).await
    }

    /// Moves back what was captured: all that is left of it, or an amount. For the default tenant.
    pub async fn refund(&self, id: PaymentId, key: &str, amount: Option<Amount>) -> Result<Operated, Rejection> {
        self.go_on(id, key, FollowUp::Refund(amount)).await
    }

    async fn go_on(&self, id: PaymentId, key: &str, follow_up: FollowUp) -> Result<Operated, Rejection> {
        let key = IdempotencyKey::new(key).map_err(Rejection::InvalidOrder)?;
        self.operate(&Tenant::default(), id, &key, follow_up, self.face.wait).await
    }

    /// Captures, voids or refunds, once, under this key of the payment's. Answers as [`Engine::submit`] does.
    pub async fn operate(
        &self,
        tenant: &Tenant,
        id: PaymentId,
        key: &IdempotencyKey,
        follow_up: FollowUp,
        wait: Duration,
    ) -> Result<Operated, Rejection> {
        let input = Input::Operate { tenant: tenant.clone(), key: key.clone(), follow_up };
        let operated = |Answer { payment, delivery }: Answer| {
            let number = payment.follow_up(key).map(|operation| operation.this.number);
            number.map(|number| Operated { payment, number, delivery }).ok_or(Rejection::Defect)
        };
        let is_this = |one: &Operation| {
            one.this.kind == follow_up.kind() && follow_up.amount().is_none_or(|amount| amount == one.this.amount)
        };
        match self.ask_for(id, input, wait).await? {
            Some(answer) => operated(answer),
            None => match self.get_in_line(id).await? {
                Some(payment) if payment.tenant == *tenant && payment.follow_up(key).is_some_and(is_this) => {
                    operated(Answer { payment, delivery: Delivery::Attached })
                }
                Some(_) | None => Err(Rejection::Overloaded { retry_after: Duration::from_secs(1) }),
            },
        }
    }

    /// Hands a caller's input in and waits for its answer; `None`: none came in time.
    async fn ask_for(&self, id: PaymentId, input: Input, wait: Duration) -> Result<Option<Answer>, Rejection> {
        let (reply, answer) = oneshot::channel();
        let pay = Pay { id, input, until_settled: !wait.is_zero(), reply };
        self.face.intake.pay(pay).map_err(|unheard| match unheard {
            Unheard::Full => Rejection::Overloaded { retry_after: Duration::from_secs(1) },
            Unheard::Closed => self.why_stopped(),
        })?;
        let patience = if wait.is_zero() { self.face.wait } else { wait };
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => answer.map(Some),
            Ok(Err(_)) => Err(self.why_stopped()),
            Err(_) => Ok(None),
        }
    }

    /// The bytes that the gateway would be sent: recorded with the intent.
    fn encode(
        &self,
        gateway: &dyn Gateway,
        id: &PaymentId,
        key: &IdempotencyKey,
        order: &Order,
    ) -> Result<Vec<u8>, Invalid> {
        let kind = match order.capture {
            Capture::Automatic => Kind::Charge,
            Capture::Manual => Kind::Authorize,
        };
        let operation_key = OperationKey::derive(&self.face.namespace, id, kind, key);
        gateway.encode(&Asked { kind, operation_key, amount: order.amount, order, charge: None, reference: None })
    }

    /// A payment as it is.
    pub async fn get(&self, id: PaymentId) -> Result<Option<Arc<Payment>>, Rejection> {
        if let Some(payment) = self.face.rested.get(&id) {
            return Ok(Some(payment));
        }
        self.get_in_line(id).await
    }

    /// The same from the engine, behind whatever it is deciding: what rests does not know yet of what is being recorded.
    async fn get_in_line(&self, id: PaymentId) -> Result<Option<Arc<Payment>>, Rejection> {
        self.ask(|reply| Ask::Get(id, reply)).await?
    }

    /// One page of payments, in id order.
    pub async fn list(&self, filter: Filter) -> Result<Page, Rejection> {
        self.ask(|reply| Ask::List(filter, reply)).await?
    }

    /// Asks the gateway now what became of a payment. Answers with the payment as it is meanwhile.
    pub async fn inquire(&self, id: PaymentId) -> Result<Arc<Payment>, Rejection> {
        self.ask(|reply| Ask::Person(id, Input::Inquire, reply)).await?
    }

    /// Ends a doubt by a person's word, which is kept with it; and first, that this person has decided, with what was said,
    /// among the deeds of operators.
    pub async fn resolve(&self, id: PaymentId, resolution: Resolution) -> Result<Arc<Payment>, Rejection> {
        self.resolve_as(id, resolution, None).await
    }

    /// The same, with the name of the API key that it is done with.
    pub async fn resolve_as(
        &self,
        id: PaymentId,
        resolution: Resolution,
        key: Option<String>,
    ) -> Result<Arc<Payment>, Rejection> {
        self.act(Deed::Resolve(id), key, resolution.person.clone()).await?;
        self.ask(|reply| Ask::Person(id, Input::Resolve(resolution), reply)).await?
    }

    /// News that came from a gateway by itself: checked, made durable, and then asked about. Returns once it is durable;
    /// the same piece of news may come again.
    pub async fn receive(&self, gateway: &str, post: &Post<'_>) -> Result<(), Rejection> {
        let line = self.face.lines.named(gateway).ok_or(Rejection::Forged(Forged::Unsupported))?;
        let News { event_id, operation_key, said } = line.gateway.news(post).map_err(Rejection::Forged)?;
        let (from, at, body) = (line.identity().clone(), post.at, post.body.to_vec());
        let webhook = Webhook { gateway: from.to_string(), event_id, at, operation_key, body };
        self.ask(|reply| Ask::News(webhook, from, said, reply)).await?
    }

    /// What happened after a place in the journal, and goes on happening.
    pub fn events(&self, after: Lsn) -> Events {
        Events::new(self.face.reader.clone(), self.face.durable.clone(), after)
    }

    /// The last place of the journal that is durable: all of the feed is up to here.
    pub fn durable(&self) -> Lsn {
        *self.face.durable.borrow()
    }

    /// What is scheduled next for a payment, operation by operation, and why.
    pub async fn outlook(&self, id: PaymentId) -> Result<Option<Outlooks>, Rejection> {
        self.ask(|reply| Ask::Outlook(id, reply)).await?
    }

    /// Counters, gauges and histograms, as of now. Waits for nothing: it also answers while the disk does not, as long as a
    /// worker of the runtime is free to ask; who reads what rests from a disk that hangs holds one.
    pub fn stats(&self) -> Stats {
        let free = fs2::available_space(&self.face.data).ok();
        let mut stats = self.face.meter.read(self.face.intake.waiting(), clock::wall_clock(), free);
        for (gateway, line) in stats.gateways.iter_mut().zip(self.face.lines.iter()) {
            gateway.shut = line.is_shut();
            gateway.pause = line.pause();
        }
        stats.troubles.insert("draining", self.is_draining());
        stats
    }

    /// What opening found and did, and what is promised.
    pub fn report(&self) -> &OpenReport {
        &self.face.report
    }

    /// Resolves when the engine has stopped by itself: after a failed fsync, or on damage.
    pub async fn stopped(&self) -> Stopped {
        let mut stopped = self.face.stopped.clone();
        let why = stopped.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_else(|| Stopped::new("the engine was closed"))
    }

    /// Stops in order: takes nothing new, waits for gateway calls under way as long as [`Options::drain`] says, flushes
    /// the store, and writes the close mark. Other clones answer [`Rejection::Stopped`] from then on.
    pub async fn close(self) -> Result<(), Stopped> {
        let (reply, closed) = oneshot::channel();
        if self.face.intake.ask(Ask::Close(reply)).is_ok() && closed.await.is_ok() {
            return Ok(());
        }
        Err(self.stopped().await)
    }

    pub(super) async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Rejection> {
        let (reply, answer) = oneshot::channel();
        self.face.intake.ask(ask(reply)).map_err(|_| self.why_stopped())?;
        answer.await.map_err(|_| self.why_stopped())
    }

    fn why_stopped(&self) -> Rejection {
        let why = self.face.stopped.borrow().clone();
        Rejection::Stopped(why.unwrap_or_else(|| Stopped::new("the engine was closed")))
    }
}
