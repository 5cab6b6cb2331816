//! How a CRM connection stands: its breaker and its pauses.
//!
//! Kept in memory only. What must outlive a restart is the due time of each job; this merely spares an account in
//! trouble further calls, and the next ones teach it again.

use std::time::Duration;

use crate::ports::{CrmError, RateScope};
use crate::sync::schedule::AUTH_WAIT;
use crate::time::Timestamp;

/// When a connection is left alone, and when it is trusted again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerSettings {
    /// How many failures in a row open the breaker; 1 at least.
    pub failures: u32,
    /// For how long it stays open.
    pub reset: Duration,
    /// How many successes in a row close it again; 1 at least.
    pub successes: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, reset: Duration::from_mins(1), successes: 2 }
    }
}

/// What an attempt says about the account, whatever it says about the job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// It answered, if only to refuse this one request (400, 404, 422).
    Answered,
    /// It was out of reach or failed.
    Failed,
    /// It asked to be left alone for so long.
    Limited {
        /// For how long.
        retry_after: Duration,
        /// By which limit.
        scope: RateScope,
    },
    /// It refused the credentials.
    Refused,
    /// It was not asked.
    Unasked,
}

impl Report {
    /// What a failed call says.
    pub fn of(error: &CrmError) -> Self {
        match error {
            CrmError::Transient(_) => Self::Failed,
            CrmError::RateLimited { retry_after, scope } => {
                Self::Limited { retry_after: *retry_after, scope: *scope }
            }
            CrmError::Auth(_) => Self::Refused,
            CrmError::NotFound | CrmError::Permanent { .. } => Self::Answered,
        }
    }
}

/// How much may be asked of an account now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Anything.
    Many,
    /// One attempt: whether the account is well again is being found out.
    One,
    /// Nothing before this instant.
    Nothing {
        /// When to ask again.
        until: Timestamp,
    },
    /// Nothing until the probe that is under way has been reported.
    Probing,
}

/// The right to one attempt. It MUST be reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    era: u64,
}

/// Why an account is left alone, for whoever looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is not.
    Ready,
    /// Its breaker is open until then.
    Open(Timestamp),
    /// Its breaker is half open: one attempt at a time.
    HalfOpen,
    /// It asked to be left alone until then.
    Limited(Timestamp, RateScope),
    /// It refuses the credentials; somebody has to mend them.
    Refused(Timestamp),
}

impl Standing {
    /// The names of all.
    pub const NAMES: [&str; 5] = ["ready", "open", "half_open", "limited", "refused"];

    /// Its name in metrics and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Open(_) => "open",
            Self::HalfOpen => "half_open",
            Self::Limited(..) => "limited",
            Self::Refused(_) => "refused",
        }
    }
}

/// How one connection stands.
#[derive(Clone, PartialEq, Debug)]
pub struct AccountState {
    settings: BreakerSettings,
    breaker: Breaker,
    /// Grows whenever the breaker opens or half opens; what began in an earlier era does not move it.
    era: u64,
    limited: Option<(Timestamp, RateScope)>,
    refused_until: Option<Timestamp>,
    answered_at: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Breaker {
    Closed { failures: u32 },
    Open { until: Timestamp },
    HalfOpen { successes: u32, is_probing: bool },
}

impl AccountState {
    /// An account of which nothing is known yet.
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            breaker: Breaker::Closed { failures: 0 },
            era: 0,
            limited: None,
            refused_until: None,
            answered_at: None,
        }
    }

    /// How much may be asked at `now`.
    pub fn room(&self, now: Timestamp) -> Room {
        let pauses = [self.limited.map(|(until, _)| until), self.refused_until];
        if let Some(until) = pauses.into_iter().flatten().filter(|until| *until > now).max() {
            return Room::Nothing { until };
        }
        match self.breaker {
            // Without an answer since the credentials were refused, one attempt tells whether they were mended.
            Breaker::Closed { .. } if self.refused_until.is_some() => Room::One,
            Breaker::Closed { .. } => Room::Many,
            Breaker::Open { until } if until > now => Room::Nothing { until },
            Breaker::Open { .. } | Breaker::HalfOpen { is_probing: false, .. } => Room::One,
            Breaker::HalfOpen { is_probing: true, .. } => Room::Probing,
        }
    }

    /// Asks for one attempt at `now`.
    pub fn admit(&mut self, now: Timestamp) -> Option<Ticket> {
        match self.room(now) {
            Room::Nothing { .. } | Room::Probing => return None,
            Room::Many | Room::One => {}
        }
        if let Breaker::Open { .. } = self.breaker {
            self.era += 1;
            self.breaker = Breaker::HalfOpen { successes: 0, is_probing: false };
        }
        if let Breaker::HalfOpen { is_probing, .. } = &mut self.breaker {
            *is_probing = true;
        }
        Some(Ticket { era: self.era })
    }

    /// Says what an attempt found, at `now`.
    pub fn report(&mut self, ticket: Ticket, report: Report, now: Timestamp) {
        match report {
            Report::Answered => {
                self.answered_at = self.answered_at.max(Some(now));
                self.refused_until = None;
            }
            Report::Limited { retry_after, scope } => {
                let until = now.plus(retry_after);
                if self.limited.is_none_or(|(other, _)| other < until) {
                    self.limited = Some((until, scope));
                }
            }
            Report::Refused => self.refused_until = Some(now.plus(AUTH_WAIT)),
            Report::Failed | Report::Unasked => {}
        }
        if ticket.era == self.era {
            self.move_breaker(report, now);
        }
    }

    fn move_breaker(&mut self, report: Report, now: Timestamp) {
        let open = Breaker::Open { until: now.plus(self.settings.reset) };
        let moved = match (self.breaker, report) {
            (Breaker::Closed { failures }, Report::Failed) => {
                let failures = failures + 1;
                if failures >= self.settings.failures { open } else { Breaker::Closed { failures } }
            }
            (Breaker::Closed { .. }, Report::Answered) => Breaker::Closed { failures: 0 },
            (Breaker::HalfOpen { .. }, Report::Failed) => open,
            (Breaker::HalfOpen { successes, .. }, Report::Answered) => {
                let successes = successes + 1;
                if successes >= self.settings.successes {
                    Breaker::Closed { failures: 0 }
                } else {
                    Breaker::HalfOpen { successes, is_probing: false }
                }
            }
            // A limit or refused credentials are an answer, if not the one hoped for; the pause sees to them.
            (
                Breaker::HalfOpen { successes, .. },
                Report::Limited { .. } | Report::Refused | Report::Unasked,
            ) => Breaker::HalfOpen { successes, is_probing: false },
            (same @ (Breaker::Closed { .. } | Breaker::Open { .. }), _) => same,
        };
        if matches!(moved, Breaker::Open { .. }) && moved != self.breaker {
            self.era += 1;
        }
        self.breaker = moved;
    }

    /// Whether the account answered at `since` or later: a failure since then is the job's own.
    pub fn has_answered_since(&self, since: Timestamp) -> bool {
        self.answered_at.is_some_and(|at| at >= since)
    }

    /// How it stands at `now`.
    pub fn standing(&self, now: Timestamp) -> Standing {
        let limited = self.limited.filter(|(until, _)| *until > now);
        match (self.refused_until, limited, self.breaker) {
            (Some(until), _, _) => Standing::Refused(until),
            (None, Some((until, scope)), _) => Standing::Limited(until, scope),
            (None, None, Breaker::Open { until }) if until > now => Standing::Open(until),
            (None, None, Breaker::Open { .. } | Breaker::HalfOpen { .. }) => Standing::HalfOpen,
            (None, None, Breaker::Closed { .. }) => Standing::Ready,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RESET: Duration = Duration::from_mins(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    fn failed(state: &mut AccountState, times: u32, now: Timestamp) {
        for _ in 0..times {
            let ticket = state.admit(now).unwrap();
            state.report(ticket, Report::Failed, now);
        }
    }

    #[test]
    fn five_failures_in_a_row_open_it_for_a_minute_and_two_successes_close_it() {
        let mut state = AccountState::new(BreakerSettings::default());
        failed(&mut state, 4, at(0));
        assert_eq!(state.room(at(0)), Room::Many);
        failed(&mut state, 1, at(0));
        assert_eq!(state.room(at(59)), Room::Nothing { until: at(60) });
        assert_eq!(state.standing(at(59)), Standing::Open(at(60)));
        for _ in 0..2 {
            assert_eq!(state.room(at(60)), Room::One);
            let probe = state.admit(at(60)).unwrap();
            assert_eq!((state.room(at(60)), state.admit(at(60))), (Room::Probing, None));
            state.report(probe, Report::Answered, at(61));
        }
        assert_eq!((state.room(at(61)), state.standing(at(61))), (Room::Many, Standing::Ready));
    }

    #[test]
    fn a_success_between_failures_starts_the_count_anew() {
        let mut state = AccountState::new(BreakerSettings::default());
        failed(&mut state, 4, at(0));
        let ticket = state.admit(at(0)).unwrap();
        state.report(ticket, Report::Answered, at(0));
        failed(&mut state, 4, at(0));
        assert_eq!(state.room(at(0)), Room::Many);
    }

    #[test]
    fn late_results_of_before_the_opening_do_not_move_it() {
        let mut state = AccountState::new(BreakerSettings::default());
        let late = [(); 4].map(|()| state.admit(at(0)).unwrap());
        failed(&mut state, 5, at(0));
        state.report(late[0], Report::Answered, at(1));
        state.report(late[1], Report::Failed, at(30));
        assert_eq!(state.room(at(59)), Room::Nothing { until: at(60) });
        let probe = state.admit(at(60)).unwrap();
        state.report(late[2], Report::Failed, at(60));
        state.report(late[3], Report::Answered, at(60));
        assert_eq!(state.room(at(60)), Room::Probing);
        state.report(probe, Report::Failed, at(60));
        assert_eq!(state.room(at(60)), Room::Nothing { until: at(120) });
    }

    #[test]
    fn a_limit_pauses_until_it_ends_and_is_no_failure() {
        let mut state = AccountState::new(BreakerSettings::default());
        for _ in 0..10 {
            let ticket = state.admit(at(0)).unwrap();
            let retry_after = Duration::ZERO;
            state.report(ticket, Report::Limited { retry_after, scope: RateScope::Burst }, at(0));
        }
        let ticket = state.admit(at(0)).unwrap();
        let retry_after = Duration::from_secs(3_939);
        state.report(ticket, Report::Limited { retry_after, scope: RateScope::Daily }, at(0));
        assert_eq!(state.room(at(3_938)), Room::Nothing { until: at(3_939) });
        assert_eq!(state.standing(at(1)), Standing::Limited(at(3_939), RateScope::Daily));
        assert_eq!(state.room(at(3_939)), Room::Many);
    }

    #[test]
    fn refused_credentials_pause_it_and_only_an_answer_ends_the_alarm() {
        let mut state = AccountState::new(BreakerSettings::default());
        let ticket = state.admit(at(0)).unwrap();
        state.report(ticket, Report::Refused, at(0));
        let again = at(AUTH_WAIT.as_secs());
        assert_eq!(state.room(at(1)), Room::Nothing { until: again });
        assert_eq!((state.room(again), state.standing(again)), (Room::One, Standing::Refused(again)));
        let ticket = state.admit(again).unwrap();
        state.report(ticket, Report::Answered, again);
        assert_eq!((state.room(again), state.standing(again)), (Room::Many, Standing::Ready));
    }

    #[test]
    fn a_probe_that_asked_nothing_leaves_room_for_the_next() {
        let mut state = AccountState::new(BreakerSettings::default());
        failed(&mut state, 5, at(0));
        let probe = state.admit(at(60)).unwrap();
        state.report(probe, Report::Unasked, at(60));
        assert_eq!(state.room(at(60)), Room::One);
    }

    /// C10: the breaker against a model that keeps the whole history.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Wait(u64),
        Admit,
        Report(usize, bool),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (1..70_u64).prop_map(Step::Wait),
            Just(Step::Admit),
            (any::<prop::sample::Index>(), any::<bool>())
                .prop_map(|(which, ok)| Step::Report(which.index(8), ok)),
        ];
        prop::collection::vec(step, 0..120)
    }

    #[derive(Debug, PartialEq, Clone, Copy)]
    enum Model {
        Closed(u32),
        Open(u64),
        Half(u32, Option<u64>),
    }

    proptest! {
        #[test]
        fn the_breaker_is_its_model(steps in steps()) {
            let mut state = AccountState::new(BreakerSettings::default());
            let (mut model, mut now, mut opened) = (Model::Closed(0), 0, 0_u64);
            // Attempts under way: ticket, number of the opening before which it began, its own number.
            let mut open_attempts: Vec<(Ticket, u64, u64)> = Vec::new();
            let mut number = 0;
            for step in steps {
                match step {
                    Step::Wait(seconds) => now += seconds,
                    Step::Admit => {
                        let may = match model {
                            Model::Closed(_) => true,
                            Model::Open(until) => now >= until,
                            Model::Half(_, probe) => probe.is_none(),
                        };
                        let ticket = state.admit(at(now));
                        prop_assert_eq!(ticket.is_some(), may);
                        if let Some(ticket) = ticket {
                            number += 1;
                            if let Model::Open(_) = model {
                                opened += 1;
                                model = Model::Half(0, None);
                            }
                            if let Model::Half(_, probe) = &mut model {
                                *probe = Some(number);
                            }
                            open_attempts.push((ticket, opened, number));
                        }
                    }
                    Step::Report(which, ok) if which < open_attempts.len() => {
                        let (ticket, era, own) = open_attempts.remove(which);
                        let report = if ok { Report::Answered } else { Report::Failed };
                        state.report(ticket, report, at(now));
                        if era == opened {
                            let open = Model::Open(now + RESET.as_secs());
                            let before = model;
                            model = match (model, ok) {
                                (Model::Closed(_), true) => Model::Closed(0),
                                (Model::Closed(4), false) => open,
                                (Model::Closed(n), false) => Model::Closed(n + 1),
                                (Model::Half(1, Some(probe)), true) if probe == own => Model::Closed(0),
                                (Model::Half(n, Some(probe)), true) if probe == own => Model::Half(n + 1, None),
                                (Model::Half(_, Some(probe)), false) if probe == own => open,
                                (same, _) => same,
                            };
                            if matches!(model, Model::Open(_)) && before != model {
                                opened += 1;
                            }
                        }
                    }
                    Step::Report(..) => {}
                }
            }
        }
    }
}
