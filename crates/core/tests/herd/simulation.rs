//! The event loop: users come, attempts are sent, worked on, answered or given up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::random::Random;
use mainstay_core::time::{Deadline, Instant, nanos};

use crate::client::{Admitted, Client, Policy};
use crate::service::{Capacity, Offered, Service};

pub(crate) const SECOND: u64 = 1_000_000_000;

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) clients: usize,
    /// Users' requests as a share of the capacity.
    pub(crate) load: f64,
    pub(crate) capacity: Capacity,
    pub(crate) policy: Policy,
    /// How long a client waits for an answer.
    pub(crate) timeout: Duration,
    /// How long a user waits, with all attempts.
    pub(crate) deadline: Duration,
    pub(crate) seconds: usize,
}

/// What happened in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Second {
    /// Users that came.
    pub(crate) requests: u32,
    /// Of those, how many got an answer.
    pub(crate) answered: u32,
    /// Attempts that were sent.
    pub(crate) attempts: u32,
    /// Of those, first attempts: users whose request was sent at all.
    pub(crate) first: u32,
    /// Requests worked on to their end whose clients had left.
    pub(crate) wasted: u32,
    /// Longest queue.
    pub(crate) queued: usize,
}

impl Second {
    /// The share of users that got an answer.
    pub(crate) fn goodput(&self) -> f64 {
        f64::from(self.answered) / f64::from(self.requests.max(1))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A user comes to this client.
    User(usize),
    /// This call makes another attempt.
    Again(usize),
    /// This attempt has been read by the service.
    Arrived(usize),
    /// Work on this attempt ended.
    Worked(usize),
    /// This attempt's client has waited long enough.
    TimedOut(usize),
}

struct Call {
    client: usize,
    began: u64,
    attempts_used: u32,
}

struct Attempt {
    call: usize,
    /// What stands for it at its client, until it is answered or given up.
    admitted: Option<Admitted>,
}

pub(crate) struct Simulation {
    setting: Setting,
    clients: Vec<Client>,
    service: Service,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    /// Events of one moment happen in the order in which they were planned.
    planned: u64,
    now: u64,
    calls: Vec<Call>,
    attempts: Vec<Attempt>,
    seconds: Vec<Second>,
}

impl Simulation {
    /// Runs to the end; what happened in each second.
    pub(crate) fn run(setting: &Setting) -> Vec<Second> {
        let mut root = Random::seeded(setting.seed);
        let mut client = || Client::new(&setting.policy, Random::seeded(root.bits()));
        let mut simulation = Self {
            clients: (0..setting.clients).map(|_| client()).collect(),
            service: Service::new(setting.capacity.clone(), root.fork("service")),
            events: BinaryHeap::new(),
            planned: 0,
            now: 0,
            calls: Vec::new(),
            attempts: Vec::new(),
            seconds: vec![Second::default(); setting.seconds],
            setting: setting.clone(),
        };
        (0..setting.clients).for_each(|client| simulation.plan_user(client));
        while let Some(Reverse((now, _, event))) = simulation.events.pop() {
            simulation.now = now;
            simulation.happen(event);
        }
        simulation.seconds
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::User(client) => self.user(client),
            Event::Again(call) => self.attempt(call),
            Event::Arrived(attempt) => self.arrived(attempt),
            Event::Worked(attempt) => self.worked(attempt),
            Event::TimedOut(attempt) => {
                self.failed(attempt, Outcome::Failure(Reason::Timeout));
            },
        }
    }

    fn plan(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.events.push(Reverse((at, self.planned, event)));
    }

    fn plan_user(&mut self, client: usize) {
        let rate = self.setting.load * self.setting.capacity.rate() / self.clients.len() as f64;
        let at = self.now + self.clients[client].next_user(rate);
        if at < self.seconds.len() as u64 * SECOND {
            self.plan(at, Event::User(client));
        }
    }

    fn user(&mut self, client: usize) {
        self.plan_user(client);
        self.second(self.now).requests += 1;
        self.clients[client].begin(Instant::from_nanos(self.now));
        self.calls.push(Call {
            client,
            began: self.now,
            attempts_used: 0,
        });
        self.attempt(self.calls.len() - 1);
    }

    fn attempt(&mut self, call: usize) {
        let client = self.calls[call].client;
        let Some(admitted) = self.clients[client].admit(Instant::from_nanos(self.now)) else {
            // The circuit is open, and there is no other endpoint.
            return;
        };
        self.calls[call].attempts_used += 1;
        let first = u32::from(self.calls[call].attempts_used == 1);
        let second = self.second(self.now);
        second.attempts += 1;
        second.first += first;
        let attempt = self.attempts.len();
        self.attempts.push(Attempt {
            call,
            admitted: Some(admitted),
        });
        self.plan(
            self.now + nanos(self.setting.timeout),
            Event::TimedOut(attempt),
        );
        let read_at = self.service.read_at(self.now);
        self.plan(read_at, Event::Arrived(attempt));
    }

    fn arrived(&mut self, attempt: usize) {
        match self.service.offer(attempt, self.now) {
            Offered::Begun { ends } => self.plan(ends, Event::Worked(attempt)),
            Offered::Queued => {},
            Offered::Refused => self.failed(attempt, Outcome::Throttled { retry_after: None }),
        }
        let queued = self.service.queued();
        let second = self.second(self.now);
        second.queued = second.queued.max(queued);
    }

    fn worked(&mut self, attempt: usize) {
        if let Some((next, ends)) = self.service.next(self.now) {
            self.plan(ends, Event::Worked(next));
        }
        let Attempt { call, admitted } = &mut self.attempts[attempt];
        let call = *call;
        let Some(admitted) = admitted.take() else {
            self.second(self.now).wasted += 1;
            return;
        };
        let Call { client, began, .. } = self.calls[call];
        self.clients[client].ended(admitted, Outcome::Success, Instant::from_nanos(self.now));
        self.second(began).answered += 1;
    }

    /// An attempt failed, unless it was answered before.
    fn failed(&mut self, attempt: usize, outcome: Outcome) {
        let Attempt { call, admitted } = &mut self.attempts[attempt];
        let call = *call;
        let Some(admitted) = admitted.take() else {
            return;
        };
        let Call {
            client,
            began,
            attempts_used,
        } = self.calls[call];
        let now = Instant::from_nanos(self.now);
        let client = &mut self.clients[client];
        client.ended(admitted, outcome, now);
        let deadline = Deadline::after(Instant::from_nanos(began), self.setting.deadline);
        if let Some(wait) = client.again(attempts_used, deadline, now) {
            self.plan(self.now + nanos(wait), Event::Again(call));
        }
    }

    /// The second of this moment; what happens after the end counts for the last.
    fn second(&mut self, at: u64) -> &mut Second {
        let last = self.seconds.len() - 1;
        let index = usize::try_from(at / SECOND).map_or(last, |second| second.min(last));
        &mut self.seconds[index]
    }
}
