//! Moments as tables write them: RFC 3339.

const DAY: i64 = 24 * 60 * 60;

/// The moment that `text` names, such as `2023-11-14T22:13:20.5+01:00`: seconds since the Unix epoch, and nanoseconds. Digits behind the
/// ninth of a fraction are dropped. `None` where it names none.
pub(super) fn parse(text: &str) -> Option<(i64, u32)> {
    let (date, time) = text.split_once(['T', 't'])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let zone = time.rfind(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(zone);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let ahead = match zone {
        "Z" | "z" => 0,
        _ => {
            let [hours, minutes] = numbers(zone.get(1..)?, ':', [2, 2])?;
            let ahead = hours * 3600 + minutes * 60;
            if zone.starts_with('-') { -ahead } else { ahead }
        }
    };
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => return None,
    };
    // A leap second is the next minute's first.
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 60 || fraction.is_empty() {
        return None;
    }
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let seconds = days_before(year, month) * DAY + (day - 1) * DAY + hour * 3600 + minute * 60 + second - ahead;
    Some((seconds, nanoseconds))
}

/// The numbers in `text`, of so many digits each.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// How many days lie between the Unix epoch and the first of `month` of `year`.
fn days_before(year: i64, month: i64) -> i64 {
    // Years are counted from the first of March, so that a leap day is the last of its year.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month + 2) / 5 - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_moment_is_counted_from_the_epoch() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", (0, 0)),
            ("2023-11-14T22:13:20Z", (1_700_000_000, 0)),
            ("2023-11-14T23:13:20+01:00", (1_700_000_000, 0)),
            ("2023-11-14T17:43:20.123456789-04:30", (1_700_000_000, 123_456_789)),
            ("2000-02-29T12:00:00.5z", (951_825_600, 500_000_000)),
            ("1969-12-31T23:59:59Z", (-1, 0)),
            ("0001-01-01T00:00:00Z", (-62_135_596_800, 0)),
            ("1970-01-01T00:00:00.00000000099Z", (0, 0)),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in [
            "",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-13-14T22:13:20Z",
            "2023-02-29T00:00:00Z",
            "23-11-14T22:13:20Z",
            "2023-11-14T24:13:20Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20.-1Z",
            "2023-11-14T22:13:20+1:00",
            "+023-11-14T22:13:20Z",
            "2023-11-14T22:13:20é",
            "2023-11-14T22:13:20+é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
