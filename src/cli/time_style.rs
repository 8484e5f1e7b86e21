//! How `ls` shows a time of modification: in the styles of GNU `ls`, always in UTC, as an image is from nowhere.

use std::fmt::Write as _;
use std::time::SystemTime;

use super::timestamp::{Moment, push_two, utc};

/// What `--time-style` can be, for messages.
pub const STYLES: &str = "utc, full-iso, long-iso, iso, locale, or +FORMAT";

/// Half a year, in seconds, as GNU `ls` counts it: older times are shown with their year.
const RECENT: i64 = 31_556_952 / 2;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// How a time is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TimeStyle {
    /// `2023-11-14T22:13:20Z`
    #[default]
    Utc,
    /// In two formats of `strftime`, or one in two lines: that of recent times, and that of all others.
    Formats {
        /// For the last six months.
        recent: Vec<Piece>,
        /// For older times, and such as are still to come.
        old: Vec<Piece>,
    },
}

/// A piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text, as it is.
    Text(String),
    /// What `%` and this letter stand for.
    Field(char),
}

impl TimeStyle {
    /// Reads the argument of `--time-style`; the error is what is wrong with it.
    pub fn parse(typed: &str) -> Result<Self, String> {
        let formats = |recent: &str, old: &str| Ok(TimeStyle::Formats { recent: pieces(recent)?, old: pieces(old)? });
        match typed {
            "utc" => Ok(TimeStyle::Utc),
            "full-iso" => formats("%Y-%m-%d %H:%M:%S.000000000 %z", "%Y-%m-%d %H:%M:%S.000000000 %z"),
            "long-iso" => formats("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M"),
            "iso" => formats("%m-%d %H:%M", "%Y-%m-%d "),
            "locale" => formats("%b %e %H:%M", "%b %e  %Y"),
            _ => match typed.strip_prefix('+') {
                // GNU: the first line for times that are not recent, the second for those that are.
                Some(format) => match format.split_once('\n') {
                    Some((old, recent)) => formats(recent, old),
                    None => formats(format, format),
                },
                None => Err(format!("\"{}\" is not a time style; use {STYLES}", typed.escape_debug())),
            },
        }
    }

    /// The moment `seconds` after the Unix epoch.
    pub fn show(&self, seconds: i64) -> String {
        match self {
            TimeStyle::Utc => utc(seconds),
            TimeStyle::Formats { recent, old } => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
                let is_recent = recent != old && is_recent(seconds, i64::try_from(now).unwrap_or(i64::MAX));
                shown(if is_recent { recent } else { old }, &Moment::of(seconds))
            }
        }
    }
}

fn is_recent(seconds: i64, now: i64) -> bool {
    (now - RECENT..=now).contains(&seconds)
}

fn pieces(format: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut rest) = (Vec::new(), format);
    while let Some((text, after)) = rest.split_once('%') {
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        let letter = after.chars().next().filter(|letter| "YyCmdejHIMSpsaAbBhFTDRZznt%".contains(*letter));
        let letter = letter.ok_or_else(|| {
            let unknown: String = after.chars().take(1).collect();
            format!("\"%{}\" is not known in a time style; use strftime(3)'s %Y, %m, %d, %H, %M, %S, %s, %F, %T, %b, %e and others", unknown.escape_debug())
        })?;
        pieces.push(Piece::Field(letter));
        rest = &after[letter.len_utf8()..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

fn shown(pieces: &[Piece], moment: &Moment) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(constant) => text.push_str(constant),
            Piece::Field(letter) => push(*letter, moment, &mut text),
        }
    }
    text
}

/// Appends what `%` and `letter` stand for (strftime(3), in the C locale).
fn push(letter: char, moment: &Moment, text: &mut String) {
    let Moment { seconds, year, month, day, hour, minute, second } = *moment;
    let name = |names: &[&'static str], index: i64| usize::try_from(index).ok().and_then(|at| names.get(at)).copied();
    let hour_of_twelve = (hour + 11) % 12 + 1;
    let mut all = |letters: &str| {
        letters.chars().for_each(|letter| match letter {
            ' ' | '-' | ':' | '/' => text.push(letter),
            letter => push(letter, moment, text),
        });
    };
    match letter {
        'F' => return all("Y-m-d"),
        'T' => return all("H:M:S"),
        'D' => return all("m/d/y"),
        'R' => return all("H:M"),
        _ => {}
    }
    match letter {
        'Y' => moment.push_year(text),
        'y' => push_two(year.rem_euclid(100), text),
        'C' => drop(write!(text, "{:02}", year.div_euclid(100))),
        'm' => push_two(month, text),
        'd' => push_two(day, text),
        'e' => drop(write!(text, "{day:2}")),
        'j' => drop(write!(text, "{:03}", moment.day_of_year())),
        'H' => push_two(hour, text),
        'I' => push_two(hour_of_twelve, text),
        'M' => push_two(minute, text),
        'S' => push_two(second, text),
        'p' => text.push_str(if hour < 12 { "AM" } else { "PM" }),
        's' => drop(write!(text, "{seconds}")),
        'a' => text.push_str(name(&DAYS, moment.day_of_week()).unwrap_or_default()),
        'A' => {
            let names = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
            text.push_str(name(&names, moment.day_of_week()).unwrap_or_default());
        }
        'b' | 'h' => text.push_str(name(&MONTHS, month - 1).unwrap_or_default()),
        'B' => {
            let names = [
                "January",
                "February",
                "March",
                "April",
                "May",
                "June",
                "July",
                "August",
                "September",
                "October",
                "November",
                "December",
            ];
            text.push_str(name(&names, month - 1).unwrap_or_default());
        }
        'Z' => text.push_str("UTC"),
        'z' => text.push_str("+0000"),
        'n' => text.push('\n'),
        't' => text.push('\t'),
        letter => text.push(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_are_those_of_gnu_ls() {
        for (style, expected) in [
            ("utc", "2023-11-14T22:13:20Z"),
            ("full-iso", "2023-11-14 22:13:20.000000000 +0000"),
            ("long-iso", "2023-11-14 22:13"),
            ("iso", "2023-11-14 "),
            ("locale", "Nov 14  2023"),
            ("+%s", "1700000000"),
            ("+%F %T %Z%%", "2023-11-14 22:13:20 UTC%"),
            ("+%a %A %b %B %j %I%p %y %C %D %R", "Tue Tuesday Nov November 318 10PM 23 20 11/14/23 22:13"),
            ("+%Y\n%H", "2023"),
            ("+", ""),
        ] {
            assert_eq!(TimeStyle::parse(style).unwrap().show(1_700_000_000), expected, "{style}");
        }
        assert_eq!(TimeStyle::parse("locale").unwrap().show(0), "Jan  1  1970");
    }

    #[test]
    fn a_recent_time_is_shown_with_its_hour() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
        let shown = TimeStyle::parse("iso").unwrap().show(now - 60);
        assert_eq!(shown, shown_by("%m-%d %H:%M", now - 60));
        assert!(is_recent(now, now) && !is_recent(now + 1, now) && !is_recent(now - RECENT - 1, now));
    }

    fn shown_by(format: &str, seconds: i64) -> String {
        shown(&pieces(format).unwrap(), &Moment::of(seconds))
    }

    #[test]
    fn what_is_no_style_is_an_error_that_says_what_there_is() {
        assert!(TimeStyle::parse("posix").unwrap_err().contains("long-iso"));
        for format in ["+%", "+%q", "+%Y%\u{e9}"] {
            assert!(TimeStyle::parse(format).unwrap_err().contains("%Y"), "{format}");
        }
    }
}
