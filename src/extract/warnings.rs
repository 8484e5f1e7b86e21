//! What a person should know although the writing goes on, bounded, as an image can cause any number of warnings.

const MOST: usize = 50;

/// The first warnings, and how many came after them.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    lines: Vec<String>,
    beyond: usize,
}

impl Warnings {
    pub(super) fn add(&mut self, line: impl FnOnce() -> String) {
        if self.lines.len() < MOST {
            self.lines.push(line());
        } else {
            self.beyond += 1;
        }
    }

    pub(super) fn into_lines(mut self) -> Vec<String> {
        if self.beyond > 0 {
            self.lines.push(format!("and {} more warnings like these", self.beyond));
        }
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_beyond_the_limit_are_counted_not_kept() {
        let mut warnings = Warnings::default();
        for number in 0..1000 {
            warnings.add(|| number.to_string());
        }
        let lines = warnings.into_lines();
        assert_eq!(lines.len(), MOST + 1);
        assert_eq!(lines.last().map(String::as_str), Some("and 950 more warnings like these"));
    }
}
