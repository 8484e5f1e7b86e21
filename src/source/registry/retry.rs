//! What is tried again, how often, and after which pause.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use super::fault::Fault;
use crate::progress::Progress;
use crate::source::SourceError;
use crate::source::http::fault_kind::FaultKind;

/// How often one thing is tried without getting any further.
const TRIES: u32 = 5;
/// How often a host is tried that has never answered. Whoever types a wrong name, or has no network, learns it at once.
const FIRST_CONTACT_TRIES: u32 = 2;
/// How many faults one download may have in all, however well it goes in between.
const MAX_FAULTS: u32 = 50;
/// The longest pause of our own making, in multiples of the first.
const MAX_GROWTH: u32 = 16;
/// The longest `Retry-After` that is waited for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Counts the failed tries of one piece of work and pauses between them.
#[derive(Debug)]
pub(super) struct Tries {
    first_pause: Duration,
    in_a_row: u32,
    in_all: u32,
}

impl Tries {
    /// No try has failed yet; the first pause will be about `first_pause` long, each further one twice as long.
    pub fn new(first_pause: Duration) -> Self {
        Tries { first_pause, in_a_row: 0, in_all: 0 }
    }

    /// The work got further, so the next fault counts as the first.
    pub fn progressed(&mut self) {
        self.in_a_row = 0;
    }

    /// Waits until `what` may be tried again, or gives the error to end with.
    pub async fn pause_after(&mut self, fault: Fault, what: &str, progress: &dyn Progress) -> Result<(), SourceError> {
        self.in_a_row += 1;
        self.in_all += 1;
        tracing::debug!(what, attempt = self.in_a_row, fault = fault.brief(), "failed");
        let failed = |problem| Err(SourceError::Network { what: what.to_owned(), problem });
        if let FaultKind::Local(error) = fault.kind {
            return Err(SourceError::Io { what: format!("connecting to {}", fault.host), error });
        }
        if !fault.is_transient() {
            return failed(fault.explain());
        }
        let is_first_contact = fault.finds_nobody();
        let limit = if is_first_contact { FIRST_CONTACT_TRIES } else { TRIES };
        if self.in_a_row >= limit || self.in_all >= MAX_FAULTS {
            let times = if self.in_a_row >= limit { self.in_a_row } else { MAX_FAULTS };
            return failed(format!("{} (tried {times} times)", fault.explain()));
        }
        let pause = match &fault.kind {
            FaultKind::Status { retry_after: Some(pause), .. } if *pause > MAX_RETRY_AFTER => {
                return failed(format!(
                    "{}; it asks to wait {} s before another try",
                    fault.explain(),
                    pause.as_secs()
                ));
            }
            FaultKind::Status { retry_after: Some(pause), .. } => *pause,
            _ if is_first_contact => self.first_pause / 4,
            _ => self.growing_pause(),
        };
        progress.notice(&format!(
            "{}, trying again in {} s ({} of {limit})",
            fault.notice(),
            (pause.as_secs_f32() * 10.0).round() / 10.0,
            self.in_a_row + 1
        ));
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Twice the last pause, give or take a quarter, so that many clients do not come back at the same moment.
    fn growing_pause(&self) -> Duration {
        let growth = 1u32.checked_shl(self.in_a_row.saturating_sub(1)).unwrap_or(MAX_GROWTH).min(MAX_GROWTH);
        // A fresh RandomState is the standard library's only source of chance, and good enough for this.
        let chance = (RandomState::new().hash_one(self.in_all) % 1000) as f64 / 1000.0;
        (self.first_pause * growth).mul_f64(0.75 + chance / 2.0)
    }
}

/// Reads a `Retry-After` header (RFC 9110, section 10.2.3): seconds, or a date, which is a wait from `now` on.
pub(super) fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    match header.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            httpdate::parse_http_date(header.trim()).ok().map(|date| date.duration_since(now).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::Way;
    use super::*;
    use crate::progress::Silent;
    fn fault(kind: FaultKind) -> Fault {
        Fault { host: "registry.test".to_owned(), kind, way: Way { has_answered: true, ..Way::default() } }
    }

    fn first_contact(kind: FaultKind) -> Fault {
        Fault { way: Way::default(), ..fault(kind) }
    }

    /// How often a fault of this kind is tried before it is given up, and the words of the end.
    async fn tries_of(fault: impl Fn() -> Fault) -> (u32, SourceError) {
        let mut tries = Tries::new(Duration::ZERO);
        let mut count = 1;
        loop {
            match tries.pause_after(fault(), "app", &Silent).await {
                Ok(()) => count += 1,
                Err(error) => return (count, error),
            }
        }
    }

    #[tokio::test]
    async fn a_host_that_never_answered_gets_a_second_try_and_one_that_did_gets_five() {
        let nobody: [fn() -> FaultKind; 4] = [
            || FaultKind::Refused,
            || FaultKind::Unresolved,
            || FaultKind::Unreachable("no answer".to_owned()),
            || FaultKind::Stalled(Duration::from_secs(30)),
        ];
        for kind in nobody {
            let (count, error) = tries_of(|| first_contact(kind())).await;
            assert_eq!(count, 2, "{error}");
            assert!(error.to_string().ends_with("(tried 2 times)"), "{error}");
            assert_eq!(tries_of(|| fault(kind())).await.0, 5, "{error}");
        }
        // Somebody is there, and may be about to start.
        assert_eq!(tries_of(|| first_contact(FaultKind::Reset)).await.0, 5);
    }

    #[tokio::test]
    async fn what_this_machine_lacks_is_not_asked_of_the_network_again() {
        let error = || FaultKind::Local(rustix::io::Errno::MFILE.into());
        let (count, error) = tries_of(|| fault(error())).await;
        assert_eq!(count, 1);
        assert!(matches!(error, SourceError::Io { .. }), "{error}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:07 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }

    #[test]
    fn pauses_double_up_to_a_cap_and_vary_by_a_quarter() {
        let mut tries = Tries::new(Duration::from_secs(1));
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 16.0] {
            tries.in_a_row += 1;
            let pause = tries.growing_pause().as_secs_f64();
            assert!((expected * 0.75..=expected * 1.25).contains(&pause), "{pause} is not about {expected}");
        }
        tries.in_a_row = 200;
        assert!(tries.growing_pause() <= Duration::from_secs(20));
    }

    #[tokio::test]
    async fn five_faults_in_a_row_are_the_end_and_progress_starts_the_count_anew() {
        let mut tries = Tries::new(Duration::ZERO);
        for _ in 0..4 {
            tries.pause_after(fault(FaultKind::Reset), "a blob", &Silent).await.unwrap();
        }
        tries.progressed();
        for _ in 0..4 {
            tries.pause_after(fault(FaultKind::Reset), "a blob", &Silent).await.unwrap();
        }
        let error = tries.pause_after(fault(FaultKind::Reset), "a blob", &Silent).await.unwrap_err().to_string();
        assert_eq!(error, "a blob: registry.test: connection reset (tried 5 times)");
    }

    #[tokio::test]
    async fn fifty_faults_are_the_end_even_with_progress_between_them() {
        let mut tries = Tries::new(Duration::ZERO);
        let mut passed = 0;
        while tries.pause_after(fault(FaultKind::Reset), "a blob", &Silent).await.is_ok() {
            tries.progressed();
            passed += 1;
        }
        assert_eq!(passed, 49);
    }

    #[tokio::test]
    async fn a_wait_longer_than_a_minute_is_an_error_that_says_so() {
        let kind = FaultKind::Status {
            status: reqwest::StatusCode::TOO_MANY_REQUESTS,
            message: "pull limit reached".to_owned(),
            retry_after: Some(Duration::from_secs(3600)),
        };
        let error = Tries::new(Duration::ZERO).pause_after(fault(kind), "app", &Silent).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("429") && text.contains("pull limit reached") && text.contains("3600 s"), "{text}");
    }
}
