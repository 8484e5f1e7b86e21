//! A moment as text, in UTC: ISO 8601, to the second.

use std::fmt::Write as _;

const DAY: i64 = 24 * 60 * 60;

/// Days in 400 years of the Gregorian calendar, after which it repeats.
const ERA: i64 = 146_097;

/// A moment in UTC, by the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// The year; before year 1 comes year 0.
    pub year: i64,
    /// From 1 to 12.
    pub month: i64,
    /// From 1 to 31.
    pub day: i64,
    /// From 0 to 23.
    pub hour: i64,
    /// From 0 to 59.
    pub minute: i64,
    /// From 0 to 59.
    pub second: i64,
}

impl Moment {
    /// The moment `seconds` after the Unix epoch. Any number is some moment.
    pub fn of(seconds: i64) -> Self {
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        // Years are counted from the first of March, so that a leap day is the last of its year. 719 468 days lie between the
        // first of March of year 0 and the epoch.
        let days = days + 719_468;
        let (era, day_of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / (ERA - 1)) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // Five months from March on have 153 days, and so have the next five.
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let year = year_of_era + era * 400 + next_year;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        Moment { seconds, year, month, day, hour, minute, second }
    }

    /// Which day of the year it is, from 1 on.
    pub fn day_of_year(&self) -> i64 {
        let first = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let before = usize::try_from(self.month - 1).ok().and_then(|month| first.get(month)).copied().unwrap_or(0);
        let is_leap = (self.year % 4 == 0 && self.year % 100 != 0) || self.year % 400 == 0;
        before + self.day + i64::from(is_leap && self.month > 2)
    }

    /// Which day of the week it is: 0 is a Sunday.
    pub fn day_of_week(&self) -> i64 {
        // The epoch was a Thursday.
        (self.seconds.div_euclid(DAY) + 4).rem_euclid(7)
    }

    /// Appends the year, in four digits where that is enough.
    pub fn push_year(&self, text: &mut String) {
        match self.year {
            year @ 0..=9999 => [year / 100, year % 100].into_iter().for_each(|two| push_two(two, text)),
            // Writing to memory cannot fail.
            year => drop(write!(text, "{year:04}")),
        }
    }
}

/// The moment `seconds` after the Unix epoch, such as `2023-11-14T22:13:20Z`.
pub fn utc(seconds: i64) -> String {
    let moment = Moment::of(seconds);
    let Moment { month, day, hour, minute, second, .. } = moment;
    let mut text = String::with_capacity("2023-11-14T22:13:20Z".len());
    moment.push_year(&mut text);
    for (before, two) in [('-', month), ('-', day), ('T', hour), (':', minute), (':', second)] {
        text.push(before);
        push_two(two, &mut text);
    }
    text.push('Z');
    text
}

/// Whether the moment `seconds` after the Unix epoch is in a year of four digits.
pub fn has_four_digits(seconds: i64) -> bool {
    // The first moments of the years 0 and 10 000.
    (-62_167_219_200..253_402_300_800).contains(&seconds)
}

/// Appends a number below 100. A listing of a large image does so millions of times, and formatting takes several times as long.
pub fn push_two(number: i64, text: &mut String) {
    for digit in [number / 10, number % 10] {
        text.push(char::from(b'0' + digit as u8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_and_after_the_epoch() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-62_167_219_200, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), expected);
        }
    }

    #[test]
    fn days_of_the_year_and_of_the_week() {
        for (seconds, year_day, week_day) in [(0, 1, 4), (-1, 365, 3), (951_782_400, 60, 2), (1_735_603_200, 366, 2)] {
            let moment = Moment::of(seconds);
            assert_eq!((moment.day_of_year(), moment.day_of_week()), (year_day, week_day), "{seconds}");
        }
    }

    #[test]
    fn no_number_is_too_large() {
        assert!(utc(i64::MAX).ends_with('Z') && utc(i64::MIN).starts_with('-'));
    }
}
