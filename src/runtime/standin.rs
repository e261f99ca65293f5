//! Stand-in: payments in a map. Sources named `standin_*` bring about what a healthy engine rarely shows.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::{
    Answer, Delivery, Events, Filter, OpenError, OpenReport, Options, Page, Rejection, Resolution, Stopped, Verdict,
};
use crate::{
    gateway::{Asked, Gateway, Question, Sending},
    journal::Lsn,
    payment::{
        Capture, Event, Evidence, Fact, Finality, IdempotencyKey, Kind, Moment, Operation, OperationKey, OperationRef,
        Order, Outcome, ParkReason, Payment, PaymentId, Reply, Standing, State, Tenant, Timestamp,
    },
};

type Map = BTreeMap<PaymentId, Arc<Payment>>;

struct Shared {
    gateway: Arc<dyn Gateway>,
    options: Options,
    payments: Mutex<Map>,
    changes: watch::Sender<u64>,
    feed: watch::Sender<Vec<(Lsn, Event)>>,
    stopped: watch::Sender<Option<Stopped>>,
}

/// A handle on the engine.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

impl Engine {
    /// Opens.
    pub async fn open(options: Options, gateway: Arc<dyn Gateway>) -> Result<Engine, OpenError> {
        if options.data.is_file() {
            return Err(OpenError { why: format!("{} is not a folder", options.data.display()), usage: false });
        }
        Ok(Engine(Arc::new(Shared {
            gateway,
            options,
            payments: Mutex::new(BTreeMap::new()),
            changes: watch::Sender::new(0),
            feed: watch::Sender::new(Vec::new()),
            stopped: watch::Sender::new(None),
        })))
    }

    /// Submits and waits.
    pub async fn submit(
        &self,
        tenant: &Tenant,
        key: &IdempotencyKey,
        order: Order,
        wait: Duration,
    ) -> Result<Answer, Rejection> {
        self.alive()?;
        let id = PaymentId::derive(tenant, key);
        let delivery = self.admit(tenant, key, id, order)?;
        let mut changes = self.0.changes.subscribe();
        let over = tokio::time::sleep(wait);
        tokio::pin!(over);
        loop {
            changes.borrow_and_update();
            self.alive()?;
            let payment = self.lock().get(&id).cloned().ok_or(Rejection::NotFound)?;
            if payment.is_settled() || matches!(payment.state(), State::RequiresAction | State::Parked) {
                return Ok(Answer { payment, delivery });
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = &mut over => return Ok(Answer { payment, delivery }),
            }
        }
    }

    /// Submits for the default tenant, with the default wait.
    pub async fn pay(&self, key: &str, order: Order) -> Result<Answer, Rejection> {
        let key = IdempotencyKey::new(key).map_err(Rejection::InvalidOrder)?;
        self.submit(&Tenant::default(), &key, order, Duration::from_secs(10)).await
    }

    /// One payment.
    pub async fn get(&self, id: PaymentId) -> Result<Option<Arc<Payment>>, Rejection> {
        self.alive()?;
        Ok(self.lock().get(&id).cloned())
    }

    /// Some payments.
    pub async fn list(&self, filter: Filter) -> Result<Page, Rejection> {
        self.alive()?;
        let wanted = |payment: &&Arc<Payment>| {
            payment.tenant == filter.tenant
                && filter.state.is_none_or(|state| payment.state() == state)
                && filter.key.as_ref().is_none_or(|key| payment.key == *key)
                && filter.after.is_none_or(|after| payment.id > after)
        };
        let mut payments: Vec<_> = self.lock().values().filter(wanted).take(filter.limit + 1).cloned().collect();
        let more = payments.len() > filter.limit;
        payments.truncate(filter.limit);
        let next = payments.last().filter(|_| more).map(|payment| payment.id);
        Ok(Page { payments, next })
    }

    /// Asks.
    pub async fn inquire(&self, id: PaymentId) -> Result<Arc<Payment>, Rejection> {
        self.get(id).await?.ok_or(Rejection::NotFound)
    }

    /// A person decides.
    pub async fn resolve(&self, id: PaymentId, resolution: Resolution) -> Result<Arc<Payment>, Rejection> {
        let payment = self.get(id).await?.ok_or(Rejection::NotFound)?;
        if payment.is_settled() {
            return Err(Rejection::InvalidState { why: format!("the payment is {}", payment.state().as_str()) });
        }
        let reply = resolution.reply.unwrap_or_default();
        let standing = match resolution.verdict {
            Verdict::Succeeded => Standing::Succeeded(reply),
            Verdict::Declined => Standing::Declined { finality: Finality::Hard, open_until: None, reply },
            Verdict::Resend => Standing::Intended,
            Verdict::Cancel => Standing::Canceled(reply),
        };
        self.stand(id, standing, "learned", Some(Evidence::Person(resolution.person)));
        self.get(id).await?.ok_or(Rejection::NotFound)
    }

    /// The feed.
    pub fn events(&self, after: Lsn) -> Events {
        Events { feed: self.0.feed.subscribe(), after }
    }

    /// What opening did.
    pub fn report(&self) -> OpenReport {
        OpenReport { lines: format!("{}: opened in memory, nothing to recover", self.0.options.data.display()) }
    }

    /// When the engine stops by itself.
    pub async fn stopped(&self) -> Stopped {
        let mut stopped = self.0.stopped.subscribe();
        let found = stopped.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        found.unwrap_or_else(|| Stopped { why: "gone".to_owned() })
    }

    /// Closes.
    pub async fn close(self) -> Result<(), Stopped> {
        Ok(())
    }

    fn alive(&self) -> Result<(), Rejection> {
        self.0.stopped.borrow().clone().map_or(Ok(()), |why| Err(Rejection::Stopped(why)))
    }

    fn lock(&self) -> MutexGuard<'_, Map> {
        self.0.payments.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn admit(&self, tenant: &Tenant, key: &IdempotencyKey, id: PaymentId, order: Order) -> Result<Delivery, Rejection> {
        let mut payments = self.lock();
        if let Some(known) = payments.get(&id) {
            let differing = known.order.differing_fields(&order);
            return match differing.is_empty() {
                false => Err(Rejection::Conflict { id, differing }),
                true if known.is_settled() => Ok(Delivery::Replayed),
                true => Ok(Delivery::Attached),
            };
        }
        let retry_after = Duration::from_secs(1);
        match order.source.as_str() {
            "standin_overloaded" => return Err(Rejection::Overloaded { retry_after }),
            "standin_full" => return Err(Rejection::StorageFull { retry_after }),
            "standin_moved" => return Err(Rejection::Moved),
            "standin_stopped" => {
                let stopped = Stopped { why: "fsync of the journal failed".to_owned() };
                self.0.stopped.send_replace(Some(stopped.clone()));
                return Err(Rejection::Stopped(stopped));
            }
            _ => {}
        }
        let payment = self.intend(tenant, key, id, order)?;
        payments.insert(id, Arc::new(payment));
        drop(payments);
        self.act(id);
        Ok(Delivery::Fresh)
    }

    fn intend(&self, tenant: &Tenant, key: &IdempotencyKey, id: PaymentId, order: Order) -> Result<Payment, Rejection> {
        let kind = if order.capture == Capture::Manual { Kind::Authorize } else { Kind::Charge };
        let namespace = self.0.options.namespace.clone();
        let operation_key = OperationKey::derive(&namespace, &id, kind, key);
        let asked = Asked { kind, operation_key, amount: order.amount, order: &order, charge: None };
        let request = self.0.gateway.encode(&asked).map_err(Rejection::InvalidOrder)?;
        let at = wall();
        let operation = Operation {
            this: OperationRef { number: 0, kind, amount: order.amount },
            key: key.clone(),
            operation_key,
            gateway: self.0.gateway.contract().identity.clone(),
            request,
            prepared: None,
            attempts: 1,
            first_sent: Some(at),
            may_have_acted: true,
            standing: Standing::Sent { not_after: at },
        };
        let moment = |what: &str| Moment { at, operation: 0, what: what.to_owned(), evidence: None };
        Ok(Payment {
            id,
            tenant: tenant.clone(),
            key: key.clone(),
            namespace,
            order,
            operations: vec![operation],
            created_at: at,
            settled_at: None,
            updated_at: at,
            contradicted: false,
            timeline: vec![moment("accepted"), moment("intended"), moment("attempt_started")],
        })
    }

    fn act(&self, id: PaymentId) {
        let engine = self.clone();
        tokio::spawn(async move {
            let payment = engine.lock().get(&id).cloned();
            let Some((payment, first)) = payment.and_then(|p| p.first().cloned().map(|first| (p, first))) else {
                return;
            };
            let sending = Sending {
                kind: first.this.kind,
                operation_key: first.operation_key,
                request: first.request.clone(),
                amount: payment.order.amount,
                currency: payment.order.currency,
                deadline: Instant::now() + engine.0.gateway.contract().deadline,
            };
            let outcome = engine.0.gateway.send(sending).await;
            let what = format!("attempt_ended: {}", outcome.name());
            let since = payment.created_at;
            let standing = match outcome {
                Outcome::Succeeded(reply) => Standing::Succeeded(reply),
                Outcome::Declined(finality, reply) => Standing::Declined { finality, open_until: None, reply },
                Outcome::Pending(next_action, reply) => Standing::AtGateway { next_action, reply, since },
                Outcome::Refused(_, reply) | Outcome::NotSent(reply) => Standing::Canceled(reply),
                Outcome::NotFound => Standing::InDoubt { reply: Reply::default(), since },
                Outcome::Unknown(reply) if reply.code() == "park" => {
                    Standing::Parked { reason: ParkReason::Exhausted, reply, since }
                }
                Outcome::Unknown(reply) => Standing::InDoubt { reply, since },
            };
            engine.stand(id, standing, &what, Some(Evidence::Reply));
        });
    }

    fn stand(&self, id: PaymentId, standing: Standing, what: &str, evidence: Option<Evidence>) {
        let mut payments = self.lock();
        let Some(payment) = payments.get_mut(&id).map(Arc::make_mut) else { return };
        payment.updated_at = wall();
        let moment = Moment { at: payment.updated_at, operation: 0, what: what.to_owned(), evidence };
        payment.timeline.push(moment);
        if let Some(first) = payment.operations.first_mut() {
            first.standing = standing;
        }
        if payment.is_settled() {
            payment.settled_at = Some(payment.updated_at);
        }
        let event = Event { payment: id, at: payment.updated_at, fact: unparked(payment) };
        drop(payments);
        self.0.feed.send_modify(|feed| {
            let lsn = feed.last().map_or(Lsn::ZERO, |(lsn, _)| *lsn).plus(1);
            feed.push((lsn, event));
        });
        self.0.changes.send_modify(|count| *count += 1);
    }
}

fn unparked(payment: &Payment) -> Fact {
    let kind = Kind::Charge;
    Fact::Unparked { operation: OperationRef { number: 0, kind, amount: payment.order.amount } }
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A gateway that succeeds at once, so that the program runs before the real ones are there.
pub(crate) struct Yes(pub(crate) crate::payment::Contract);

impl Gateway for Yes {
    fn contract(&self) -> &crate::payment::Contract {
        &self.0
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, crate::payment::Invalid> {
        Ok(asked.operation_key.to_string().into_bytes())
    }

    fn send(&self, sending: Sending) -> crate::gateway::Answer<'_> {
        let reply = Reply::new("approved", "").with_reference(&sending.operation_key.to_string());
        Box::pin(std::future::ready(Outcome::Succeeded(reply)))
    }

    fn inquire(&self, _question: Question) -> crate::gateway::Answer<'_> {
        Box::pin(std::future::ready(Outcome::NotFound))
    }
}

/// Stand-in for the gateways' constructors.
pub fn stand_in_gateway(contract: crate::payment::Contract) -> Arc<dyn Gateway> {
    Arc::new(Yes(contract))
}
