//! When to act next. Pure arithmetic over the contract, the clock and what has been tried.

use std::{fmt, time::Duration};

use super::{Clock, Contract, Deduplication, Inquiry, Now, Operation, Order, ParkReason, Tick};

/// Our side's patience. The gateway's side is its [`Contract`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The first pause after a setback; it doubles with each further one.
    pub pause_first: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// The least time between two "not found" answers that both count.
    pub not_found_spacing: Duration,
    /// How often a parked operation is asked about.
    pub pause_parked: Duration,
    /// How far clocks, ours and the gateway's, are allowed to be apart; also what the network may hold back.
    pub skew: Duration,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule {
            // Most doubts are a lost reply: the gateway knows the answer within a second.
            pause_first: Duration::from_secs(1),
            // A gateway that is back is noticed within a minute, and one that is down is not stormed.
            pause_max: Duration::from_secs(60),
            // Two answers from one lagging replica within a second are one answer.
            not_found_spacing: Duration::from_secs(1),
            // Late settlements come in hours or days; nobody waits at the line.
            pause_parked: Duration::from_secs(600),
            // NTP keeps servers within tens of milliseconds; a closed socket's last packets live about a second.
            skew: Duration::from_secs(2),
        }
    }
}

/// A contract and a schedule that cannot both hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImpossibleHorizon(String);

impl fmt::Display for ImpossibleHorizon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ImpossibleHorizon {}

impl Schedule {
    /// The pause after `setbacks` in a row: 1, 2, 4 .. 60 s with the defaults.
    pub fn pause(&self, setbacks: u32) -> Duration {
        let doubled = self.pause_first.saturating_mul(1 << setbacks.min(16));
        doubled.min(self.pause_max)
    }

    /// How long after the last possible sending "not found" starts to be believable.
    pub fn quarantine(&self, contract: &Contract) -> Duration {
        let lag = match contract.inquiry {
            Inquiry::None => Duration::ZERO,
            Inquiry::ByKey { not_found_lag, .. } => not_found_lag,
        };
        contract.max_processing.saturating_add(lag).saturating_add(self.skew)
    }

    /// The end of that time, for an operation that can last have been sent now.
    pub fn believable_from(&self, contract: &Contract, now: &Now) -> Tick {
        now.tick.plus(self.quarantine(contract))
    }

    /// How long after its first sending an operation may be sent again under its key, so that the gateway still knows
    /// the key when it acts, however late that is: the key's published time, less a 24th (an hour of a day) for clocks,
    /// and less the time in which a sending leaves, arrives and is acted on. `None`: never.
    pub fn key_life(&self, contract: &Contract) -> Option<Duration> {
        match contract.deduplication {
            Deduplication::None => None,
            Deduplication::ByKey { ttl } => {
                let acted_on = contract.deadline.saturating_add(self.skew).saturating_add(contract.max_processing);
                Some(ttl.saturating_sub(ttl / 24).saturating_sub(acted_on))
            }
        }
    }

    /// Whether an operation that may have acted could be sent again now, under its own key: `Ok(false)` if not yet,
    /// because the clock cannot be believed; otherwise the reason why never.
    pub fn may_resend(
        &self,
        operation: &Operation,
        order: &Order,
        contract: &Contract,
        now: &Now,
    ) -> Result<bool, ParkReason> {
        if operation.gateway != contract.identity {
            return Err(ParkReason::GatewayChanged);
        }
        let Some(life) = self.key_life(contract) else {
            return Err(ParkReason::NotFoundWithoutDeduplication);
        };
        if operation.this.number == 0 && order.expired(now.wall) {
            return Err(ParkReason::OrderExpired);
        }
        match now.clock {
            Clock::Diverged => Ok(false),
            Clock::Trusted if operation.first_sent.is_some_and(|first| now.wall.since(first) < life) => Ok(true),
            Clock::Trusted => Err(ParkReason::KeyExpired),
        }
    }

    /// Refuses a contract whose promises leave this schedule no room.
    pub fn check(&self, contract: &Contract) -> Result<(), ImpossibleHorizon> {
        let fail = |why: String| Err(ImpossibleHorizon(why));
        if contract.deadline.is_zero() || contract.park_after.is_zero() {
            return fail("the contract's deadline and park_after must be longer than zero".to_owned());
        }
        if matches!(contract.inquiry, Inquiry::ByKey { not_found_times: 0, .. }) {
            return fail("not_found_times must be at least 1: one \"not found\" is the least evidence".to_owned());
        }
        let needed = self.needed(contract);
        match self.key_life(contract) {
            Some(life) if life < needed => fail(format!(
                "the gateway forgets keys too soon: proving that an operation was not found takes {needed:?} \
                 (deadline, max_processing, not_found_lag, askings), but a key may be trusted for {life:?} only; \
                 say dedup=none, or a longer time"
            )),
            Some(_) if contract.park_after < needed => fail(format!(
                "park_after is {:?}, but proving that an operation was not found takes {needed:?}: \
                 everything in doubt would be parked first",
                contract.park_after
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// How long it takes from a sending until it may be repeated.
    fn needed(&self, contract: &Contract) -> Duration {
        let askings = match contract.inquiry {
            Inquiry::None => Duration::ZERO,
            Inquiry::ByKey { not_found_times, .. } => self.not_found_spacing.saturating_mul(not_found_times),
        };
        contract.deadline.saturating_add(self.quarantine(contract)).saturating_add(askings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{
        Identity, Payment, Standing, Timestamp,
        samples::{accepted, at, charge, fold, operation, reply},
    };

    fn standard() -> Contract {
        Contract::standard(Identity::default())
    }

    #[test]
    fn pauses_double_from_one_second_to_a_minute() {
        let schedule = Schedule::default();
        let seconds: Vec<u64> = (0..9).map(|n| schedule.pause(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(schedule.pause(u32::MAX), schedule.pause_max);
    }

    #[test]
    fn a_key_is_trusted_only_while_the_slowest_sending_is_acted_on_before_it_is_forgotten() {
        let schedule = Schedule::default();
        for seconds in [60, 120, 3600, 24 * 3600] {
            let ttl = Duration::from_secs(seconds);
            let contract = Contract { deduplication: Deduplication::ByKey { ttl }, ..standard() };
            let life = schedule.key_life(&contract).unwrap();
            let slowest = contract.deadline + schedule.skew + contract.max_processing;
            assert!(life + slowest <= ttl, "{life:?}");
        }
    }

    #[test]
    fn horizons_that_cannot_hold_are_refused_at_open() {
        let schedule = Schedule::default();
        let ok = standard();
        let forgets = Deduplication::ByKey { ttl: Duration::from_secs(30) };
        assert_eq!(schedule.check(&ok), Ok(()));
        assert!(schedule.check(&Contract { deduplication: forgets, ..ok.clone() }).is_err());
        assert!(schedule.check(&Contract { park_after: Duration::from_secs(5), ..ok.clone() }).is_err());
        assert!(schedule.check(&Contract { deadline: Duration::ZERO, ..ok.clone() }).is_err());
        let never = Inquiry::ByKey { not_found_lag: Duration::ZERO, not_found_times: 0 };
        assert!(schedule.check(&Contract { inquiry: never, ..ok.clone() }).is_err());
        let none = Contract { deduplication: Deduplication::None, park_after: Duration::from_secs(5), ..ok };
        assert_eq!(schedule.check(&none), Ok(()));
    }

    #[test]
    fn not_found_is_believed_only_once_the_slowest_request_and_the_slowest_replica_are_through() {
        let schedule = Schedule::default();
        let (asked, unasked) = (standard(), Contract { inquiry: Inquiry::None, ..standard() });
        // 30 s of processing, 10 s of lag, 2 s of clocks and network.
        assert_eq!(schedule.quarantine(&asked), Duration::from_secs(42));
        assert_eq!(schedule.quarantine(&unasked), Duration::from_secs(32));
        let now = Now { wall: at(5), tick: Tick::from_millis(1_000), clock: Clock::Trusted };
        assert_eq!(schedule.believable_from(&asked, &now), Tick::from_millis(43_000));
    }

    #[test]
    fn what_may_have_acted_is_sent_again_only_while_its_key_lives_and_the_clock_can_be_believed() {
        let (schedule, contract) = (Schedule::default(), standard());
        let life = schedule.key_life(&contract).expect("it deduplicates");
        // A day, less an hour, less 10 s to answer, 2 s for the network and 30 s of processing.
        assert_eq!(life, Duration::from_secs(23 * 3600 - 42));
        let order = |expires_at| {
            fold([accepted()]).map(|paid: Payment| Order { expires_at, ..(*paid.order).clone() }).expect("one")
        };
        let mut sent = operation(charge(), Standing::InDoubt { reply: reply(), since: at(0) });
        let ask = |sent: &Operation, contract: &Contract, expires_at, wall: Timestamp, clock| {
            let now = Now { wall, tick: Tick::default(), clock };
            schedule.may_resend(sent, &order(expires_at), contract, &now)
        };
        let (last, over) = (at(0).plus(life - Duration::from_millis(1)), at(0).plus(life));
        assert_eq!(ask(&sent, &contract, None, last, Clock::Trusted), Ok(true));
        assert_eq!(ask(&sent, &contract, None, over, Clock::Trusted), Err(ParkReason::KeyExpired));
        assert_eq!(ask(&sent, &contract, None, last, Clock::Diverged), Ok(false));
        assert_eq!(ask(&sent, &contract, Some(last), last, Clock::Trusted), Err(ParkReason::OrderExpired));
        let forgetful = Contract { deduplication: Deduplication::None, ..contract.clone() };
        let never = Err(ParkReason::NotFoundWithoutDeduplication);
        assert_eq!(ask(&sent, &forgetful, None, last, Clock::Trusted), never);
        sent.first_sent = None;
        let ageless = ask(&sent, &contract, None, last, Clock::Trusted);
        assert_eq!(ageless, Err(ParkReason::KeyExpired), "a key of unknown age is taken for a dead one");
        sent.gateway.account = "another".into();
        assert_eq!(ask(&sent, &contract, None, last, Clock::Trusted), Err(ParkReason::GatewayChanged));
    }

    #[test]
    fn a_horizon_that_is_just_long_enough_is_accepted_and_one_moment_less_is_not() {
        let schedule = Schedule::default();
        // 10 s to answer, 42 s of quarantine, three askings a second apart.
        let needed = Duration::from_secs(55);
        let moment = Duration::from_millis(1);
        assert_eq!(schedule.check(&Contract { park_after: needed, ..standard() }), Ok(()));
        let short = schedule.check(&Contract { park_after: needed - moment, ..standard() });
        assert!(short.expect_err("too short").to_string().starts_with("park_after is 54.999s"));

        // 23 of 24 parts of the key's time are 92 s: 7.5 + 42 + 3 s for the proof, and 7.5 + 2 + 30 s to act on it.
        let remembers = |ttl| Contract {
            deadline: Duration::from_millis(7_500),
            deduplication: Deduplication::ByKey { ttl },
            ..standard()
        };
        let enough = Duration::from_secs(96);
        assert_eq!(schedule.check(&remembers(enough)), Ok(()));
        let short = schedule.check(&remembers(enough - moment)).expect_err("too short").to_string();
        assert!(short.starts_with("the gateway forgets keys too soon"), "{short}");
    }

    #[test]
    fn what_cannot_be_kept_is_refused_at_open_and_says_so() {
        let schedule = Schedule::default();
        let refused = |contract| schedule.check(&contract).expect_err("impossible").to_string();
        assert!(refused(Contract { park_after: Duration::ZERO, ..standard() }).contains("longer than zero"));
        assert!(refused(Contract { deadline: Duration::ZERO, ..standard() }).contains("longer than zero"));
        let unproven = Inquiry::ByKey { not_found_lag: Duration::ZERO, not_found_times: 0 };
        assert!(refused(Contract { inquiry: unproven, ..standard() }).contains("at least 1"));
        let once = Inquiry::ByKey { not_found_lag: Duration::ZERO, not_found_times: 1 };
        assert_eq!(schedule.check(&Contract { inquiry: once, ..standard() }), Ok(()));
    }
}
