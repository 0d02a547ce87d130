//! Who runs when: a bounded number of programs at the same time, and a bounded, fair queue before them.
//!
//! Owners take turns, by their priorities; among the executions of one owner, the first that came is the next.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aevatar_sandbox_contract::{Caller, ErrorCode, SandboxError};
use tokio::{sync::oneshot, time::Instant};

/// What a turn costs an owner of priority 1. Divided by the priority, so it is a multiple of many of them.
const TURN: u64 = 10_000;
/// When it is worth asking again, whatever the queue looks like.
const LEAST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// How long a program takes, until one has.
const FIRST_GUESS: Duration = Duration::from_millis(200);

/// How large the queue is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    /// Programs that run at the same time; one at the least.
    pub(crate) running: usize,
    /// Executions that wait.
    pub(crate) waiting: usize,
    /// Bytes of the requests that wait, together.
    pub(crate) waiting_bytes: usize,
}

/// The queue of one service.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: QueueLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    owners: HashMap<String, Owner>,
    running: usize,
    waiting: usize,
    waiting_bytes: usize,
    next_ticket: u64,
    /// The pass of the owner whose turn was last: who comes anew starts there, and has no turns saved up.
    pass: u64,
    /// How long programs took lately.
    average: Duration,
    stopped: bool,
}

/// One that has executions here.
#[derive(Debug)]
struct Owner {
    waiting: VecDeque<Waiter>,
    running: usize,
    limit: usize,
    cost: u64,
    /// Grows with each turn. The least one is next.
    pass: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    bytes: usize,
    turn: oneshot::Sender<Permit>,
}

/// A place in the queue. Dropping it leaves the queue.
#[derive(Debug)]
pub(crate) struct Ticket {
    shared: Arc<Shared>,
    owner: String,
    number: u64,
    turn: oneshot::Receiver<Permit>,
}

/// The right to run one program, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    shared: Arc<Shared>,
    owner: String,
    since: Instant,
}

/// How the queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    /// Programs that run.
    pub running: usize,
    /// Programs that may run at the same time.
    pub capacity: usize,
    /// Executions that wait.
    pub waiting: usize,
    /// Executions that may wait.
    pub max_waiting: usize,
}

impl Shared {
    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        let limits = QueueLimits { running: limits.running.max(1), ..limits };
        let state = State {
            owners: HashMap::new(),
            running: 0,
            waiting: 0,
            waiting_bytes: 0,
            next_ticket: 0,
            pass: 0,
            average: FIRST_GUESS,
            stopped: false,
        };
        Self { shared: Arc::new(Shared { limits, state: Mutex::new(state) }) }
    }

    /// Takes a place for an execution whose request has `bytes`.
    ///
    /// # Errors
    /// [`ErrorCode::Busy`]: too many wait.
    pub(crate) fn enter(&self, caller: &Caller, bytes: usize) -> Result<Ticket, SandboxError> {
        let limits = &self.shared.limits;
        let state = self.shared.lock();
        let is_free = state.running < limits.running && state.waiting == 0;
        let has_room =
            state.waiting < limits.waiting && state.waiting_bytes.saturating_add(bytes) <= limits.waiting_bytes;
        if !is_free && !has_room {
            return Err(busy(&state, limits));
        }
        drop(state);
        Ok(self.take(caller, bytes))
    }

    /// The same, however many wait: for what was accepted before.
    pub(crate) fn take(&self, caller: &Caller, bytes: usize) -> Ticket {
        let (turn, ours) = oneshot::channel();
        let mut state = self.shared.lock();
        let number = state.next_ticket;
        state.next_ticket += 1;
        state.waiting += 1;
        state.waiting_bytes = state.waiting_bytes.saturating_add(bytes);
        let pass = state.pass;
        let owner = state.owners.entry(caller.owner.clone()).or_insert_with(|| Owner {
            waiting: VecDeque::new(),
            running: 0,
            limit: usize::MAX,
            cost: TURN,
            pass,
        });
        if owner.waiting.is_empty() {
            owner.pass = owner.pass.max(pass);
        }
        owner.limit = caller.allowance.concurrent.map_or(usize::MAX, |limit| limit.max(1) as usize);
        owner.cost = TURN / u64::from(caller.allowance.priority.unwrap_or(1).clamp(1, 100));
        owner.waiting.push_back(Waiter { ticket: number, bytes, turn });
        drop(state);
        self.shared.grant();
        Ticket { shared: Arc::clone(&self.shared), owner: caller.owner.clone(), number, turn: ours }
    }

    /// The right to run at once; nothing when that would mean to wait.
    pub(crate) fn try_enter(&self, caller: &Caller) -> Option<Permit> {
        let ticket = self.take(caller, 0);
        let mut ticket = ticket;
        ticket.turn.try_recv().ok()
    }

    /// What is said to one that could not enter.
    pub(crate) fn busy(&self) -> SandboxError {
        busy(&self.shared.lock(), &self.shared.limits)
    }

    /// Nobody has a turn after this.
    pub(crate) fn stop(&self) {
        self.shared.lock().stopped = true;
    }

    pub(crate) fn state(&self) -> QueueState {
        let state = self.shared.lock();
        QueueState {
            running: state.running,
            capacity: self.shared.limits.running,
            waiting: state.waiting,
            max_waiting: self.shared.limits.waiting,
        }
    }

    /// The place of a ticket among those of the same owner: 1 is the next; nothing when it does not wait.
    pub(crate) fn position(&self, owner: &str, ticket: u64) -> Option<u32> {
        let state = self.shared.lock();
        let place = state.owners.get(owner)?.waiting.iter().position(|waiter| waiter.ticket == ticket)?;
        u32::try_from(place + 1).ok()
    }
}

impl Permit {
    /// When it was given, which is before it was taken.
    pub(crate) fn given_at(&self) -> Instant {
        self.since
    }
}

impl Shared {
    /// Gives turns while there are places.
    fn grant(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            if state.stopped || state.running >= self.limits.running {
                return;
            }
            let next = state
                .owners
                .iter()
                .filter(|(_, owner)| !owner.waiting.is_empty() && owner.running < owner.limit)
                .min_by_key(|(_, owner)| (owner.pass, owner.waiting.front().map(|waiter| waiter.ticket)))
                .map(|(name, _)| name.clone());
            let Some(name) = next else { return };
            let Some(owner) = state.owners.get_mut(&name) else { return };
            let Some(waiter) = owner.waiting.pop_front() else { return };
            owner.running += 1;
            let pass = owner.pass;
            owner.pass += owner.cost;
            state.pass = pass;
            state.running += 1;
            state.waiting -= 1;
            state.waiting_bytes = state.waiting_bytes.saturating_sub(waiter.bytes);
            drop(state);
            let permit = Permit { shared: Arc::clone(self), owner: name, since: Instant::now() };
            // Whoever does not wait any more gives it back, and the next one has it.
            drop(waiter.turn.send(permit));
        }
    }
}

impl State {
    fn forget_if_idle(&mut self, name: &str) {
        if self.owners.get(name).is_some_and(|owner| owner.waiting.is_empty() && owner.running == 0) {
            self.owners.remove(name);
        }
    }
}

impl Ticket {
    /// Which one it is, for [`Queue::position`].
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Waits for the turn. Cancel-safe.
    pub(crate) async fn turn(&mut self) -> Permit {
        match (&mut self.turn).await {
            Ok(permit) => permit,
            // The sender is in the queue until it is used.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let Some(owner) = state.owners.get_mut(&self.owner) else { return };
        let place = owner.waiting.iter().position(|waiter| waiter.ticket == self.number);
        if let Some(waiter) = place.and_then(|place| owner.waiting.remove(place)) {
            state.waiting -= 1;
            state.waiting_bytes = state.waiting_bytes.saturating_sub(waiter.bytes);
            state.forget_if_idle(&self.owner);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.running -= 1;
        // The last one counts for an eighth.
        state.average = (state.average * 7 + self.since.elapsed()) / 8;
        if let Some(owner) = state.owners.get_mut(&self.owner) {
            owner.running -= 1;
        }
        state.forget_if_idle(&self.owner);
        drop(state);
        self.shared.grant();
    }
}

fn busy(state: &State, limits: &QueueLimits) -> SandboxError {
    let message = format!(
        "{} programs run and {} wait, which is as many as may: {} and {}",
        state.running, state.waiting, limits.running, limits.waiting
    );
    let mut error = SandboxError::new(ErrorCode::Busy, message).with_hint(
        "ask again after `Retry-After`; `MaxConcurrentExecutions` and `MaxQueueLength` say how many may run and wait",
    );
    let ahead = u32::try_from(state.waiting + 1).unwrap_or(u32::MAX);
    let places = u32::try_from(limits.running).unwrap_or(u32::MAX).max(1);
    let wait = state.average.saturating_mul(ahead) / places;
    error.retry_after = Some(wait.clamp(LEAST_WAIT, LONGEST_WAIT));
    error
}

#[cfg(test)]
mod tests {
    use aevatar_sandbox_contract::Allowance;
    use proptest::prelude::*;

    use super::*;

    fn queue(running: usize, waiting: usize) -> Queue {
        Queue::new(QueueLimits { running, waiting, waiting_bytes: 1000 })
    }

    fn caller(owner: &str, priority: u32) -> Caller {
        let allowance = Allowance { priority: Some(priority), ..Allowance::default() };
        Caller { owner: owner.to_owned(), allowance }
    }

    fn has_turn(ticket: &mut Ticket) -> Option<Permit> {
        ticket.turn.try_recv().ok()
    }

    #[test]
    fn one_more_than_may_run_waits_and_one_more_than_may_wait_is_refused() {
        let queue = queue(1, 1);
        let mut first = queue.enter(&caller("a", 1), 1).unwrap();
        let permit = has_turn(&mut first).unwrap();
        let mut second = queue.enter(&caller("a", 1), 1).unwrap();
        assert!(has_turn(&mut second).is_none());
        assert_eq!(queue.position("a", second.number()), Some(1));
        let refused = queue.enter(&caller("b", 1), 1).unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (ErrorCode::Busy, Some(LEAST_WAIT)));
        drop(permit);
        assert!(has_turn(&mut second).is_some());
        assert_eq!(queue.position("a", second.number()), None);
    }

    #[test]
    fn requests_that_wait_are_bounded_by_their_bytes() {
        let queue = queue(1, 10);
        let mut first = queue.enter(&caller("a", 1), 5000).unwrap();
        let _permit = has_turn(&mut first).unwrap();
        let _second = queue.enter(&caller("a", 1), 600).unwrap();
        assert!(queue.enter(&caller("a", 1), 600).is_err());
        assert!(queue.enter(&caller("a", 1), 400).is_ok());
    }

    #[test]
    fn a_flood_of_one_owner_does_not_hold_up_another() {
        let queue = queue(1, 100);
        let mut running = queue.enter(&caller("a", 1), 0).unwrap();
        let mut permit = has_turn(&mut running);
        let mut flood: Vec<_> = (0..10).map(|_| queue.enter(&caller("a", 1), 0).unwrap()).collect();
        let mut other = queue.enter(&caller("b", 1), 0).unwrap();
        drop(permit.take());
        let next = has_turn(&mut other);
        assert!(next.is_some(), "the other one is next");
        drop(next);
        assert!(has_turn(&mut flood[0]).is_some());
    }

    #[test]
    fn turns_are_given_by_priority() {
        let queue = queue(1, 100);
        let mut first = queue.enter(&caller("c", 1), 0).unwrap();
        let mut permit = has_turn(&mut first);
        let mut tickets: Vec<(&str, Ticket)> = Vec::new();
        for _ in 0..9 {
            tickets.push(("a", queue.enter(&caller("a", 1), 0).unwrap()));
            tickets.push(("b", queue.enter(&caller("b", 2), 0).unwrap()));
        }
        let mut order = String::new();
        for _ in 0..9 {
            drop(permit.take());
            for (name, ticket) in &mut tickets {
                if let Some(given) = has_turn(ticket) {
                    order.push_str(name);
                    permit = Some(given);
                }
            }
        }
        assert_eq!(order.matches('b').count(), 6, "{order}");
    }

    #[test]
    fn an_owner_has_a_limit_of_its_own() {
        let queue = queue(4, 100);
        let allowance = Allowance { concurrent: Some(1), ..Allowance::default() };
        let limited = Caller { owner: "a".to_owned(), allowance };
        let mut first = queue.enter(&limited, 0).unwrap();
        let permit = has_turn(&mut first).unwrap();
        let mut second = queue.enter(&limited, 0).unwrap();
        assert!(has_turn(&mut second).is_none());
        let mut other = queue.enter(&caller("b", 1), 0).unwrap();
        assert!(has_turn(&mut other).is_some());
        drop(permit);
        assert!(has_turn(&mut second).is_some());
    }

    #[test]
    fn who_leaves_gives_the_place_to_the_next() {
        let queue = queue(1, 10);
        let mut first = queue.enter(&caller("a", 1), 0).unwrap();
        let permit = has_turn(&mut first).unwrap();
        let second = queue.enter(&caller("a", 1), 0).unwrap();
        let mut third = queue.enter(&caller("a", 1), 0).unwrap();
        drop(permit);
        // It had its turn, and nobody took it.
        drop(second);
        assert!(has_turn(&mut third).is_some());
        drop(third);
        assert_eq!(queue.state(), QueueState { running: 0, capacity: 1, waiting: 0, max_waiting: 10 });
        assert!(queue.shared.lock().owners.is_empty());
    }

    #[test]
    fn nobody_has_a_turn_after_the_end() {
        let queue = queue(1, 10);
        let mut first = queue.enter(&caller("a", 1), 0).unwrap();
        let permit = has_turn(&mut first).unwrap();
        let mut second = queue.enter(&caller("a", 1), 0).unwrap();
        queue.stop();
        drop(permit);
        assert!(has_turn(&mut second).is_none());
    }

    proptest! {
        /// Whatever comes and goes: never more run or wait than may, and who waits gets a turn when there is a place.
        #[test]
        fn places_are_neither_lost_nor_made(steps in proptest::collection::vec((0_u8..4, 0_usize..4), 1..120)) {
            let queue = queue(3, 8);
            let names = ["a", "b", "c", "d"];
            let mut tickets: Vec<Ticket> = Vec::new();
            let mut permits: Vec<Permit> = Vec::new();
            for (step, which) in steps {
                match step {
                    0 | 1 => tickets.extend(queue.enter(&caller(names[which], 1), 1).ok()),
                    2 if !tickets.is_empty() => drop(tickets.remove(which % tickets.len())),
                    3 if !permits.is_empty() => drop(permits.remove(which % permits.len())),
                    _ => {}
                }
                tickets.retain_mut(|ticket| match has_turn(ticket) {
                    Some(permit) => {
                        permits.push(permit);
                        false
                    }
                    None => true,
                });
                let state = queue.state();
                prop_assert_eq!(state.running, permits.len());
                prop_assert_eq!(state.waiting, tickets.len());
                prop_assert!(state.running <= 3 && state.waiting <= 8);
                prop_assert!(state.running == 3 || state.waiting == 0);
            }
            tickets.clear();
            permits.clear();
            prop_assert_eq!(queue.state().running, 0);
            prop_assert!(queue.shared.lock().owners.is_empty());
            prop_assert_eq!(queue.shared.lock().waiting_bytes, 0);
        }
    }
}
