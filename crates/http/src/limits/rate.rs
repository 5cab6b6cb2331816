use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use governor::Quota;

/// The most that a [`Rate`] allows in its unit of time.
pub const PER_UNIT_MAX: u32 = 1_000_000;

/// So much in a unit of time, written `100/min`; the units are `s`, `min`, `h` and `d`. All of it may come at once, and
/// then comes back evenly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    count: NonZeroU32,
    unit: Unit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

/// A text is no [`Rate`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotARate;

impl Unit {
    const ALL: [Self; 4] = [Self::Second, Self::Minute, Self::Hour, Self::Day];

    fn name(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
            Self::Day => "d",
        }
    }

    fn length(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_mins(1),
            Self::Hour => Duration::from_hours(1),
            Self::Day => Duration::from_hours(24),
        }
    }
}

impl Rate {
    /// How much may come at once.
    pub fn burst(self) -> u32 {
        self.count.get()
    }

    /// How long until one more may come.
    pub(super) fn interval(self) -> Duration {
        self.unit.length() / self.count.get()
    }

    pub(super) fn quota(self) -> Quota {
        Quota::with_period(self.interval())
            .expect("a second divided by a million is longer than nothing")
            .allow_burst(self.count)
    }
}

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        let (count, unit) = text.trim().split_once('/').ok_or(NotARate)?;
        let (count, unit) = (count.trim(), unit.trim());
        let count = count.bytes().all(|byte| byte.is_ascii_digit()).then(|| count.parse().ok()).flatten();
        let count = count.filter(|count: &NonZeroU32| count.get() <= PER_UNIT_MAX).ok_or(NotARate)?;
        let unit = Unit::ALL.into_iter().find(|known| known.name() == unit).ok_or(NotARate)?;
        Ok(Self { count, unit })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit.name())
    }
}

impl fmt::Display for NotARate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a rate such as 100/min: 1 to {PER_UNIT_MAX} per s, min, h or d")
    }
}

impl std::error::Error for NotARate {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_as_it_is_written() {
        for (text, interval) in [
            ("100/min", Duration::from_millis(600)),
            ("1/s", Duration::from_secs(1)),
            ("1000000/s", Duration::from_micros(1)),
            ("1000/h", Duration::from_millis(3_600)),
            ("1/d", Duration::from_hours(24)),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.to_string().as_str(), rate.interval()), (text, interval));
        }
        assert_eq!(" 20 / min ".parse::<Rate>().map(|rate| rate.to_string()).as_deref(), Ok("20/min"));
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in [
            "",
            "/",
            "100",
            "100/",
            "/min",
            "0/min",
            "-1/min",
            "+1/min",
            "1.5/min",
            "1000001/s",
            "1/minute",
            "1/M",
            "1/min/s",
            "off",
            "99999999999/d",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(NotARate), "{text}");
        }
    }
}
