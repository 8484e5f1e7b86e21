//! How much one name is like another.

/// Names longer than this many bytes are not compared.
const MAX_COMPARED: usize = 128;

/// How far `candidate` is from the `wanted` name, or `None` where a person would not take one for the other.
pub fn likeness(wanted: &[u8], candidate: &[u8]) -> Option<usize> {
    if wanted.len() > MAX_COMPARED || candidate.len() > MAX_COMPARED {
        return None;
    }
    if wanted.eq_ignore_ascii_case(candidate) {
        return Some(0);
    }
    // A version or a suffix left out: `python` for `python3.11`, `app` for `app.jar`.
    if wanted.len() >= 3 && candidate.starts_with(wanted) {
        return Some(1);
    }
    let allowed = (wanted.len() / 3).clamp(1, 3);
    if wanted.len() < 2 || wanted.len().abs_diff(candidate.len()) > allowed {
        return None;
    }
    edit_distance(wanted, candidate, allowed)
}

/// The Levenshtein distance, unless it is more than `most`: cells further than that from the diagonal are not looked at, as an image
/// may have a million names for which it is to be told.
fn edit_distance<T: PartialEq>(a: &[T], b: &[T], most: usize) -> Option<usize> {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let (first, end) = (i.saturating_sub(most), b.len().min(i + most + 1));
        let mut diagonal = *row.get(first)?;
        row[first] = if first == 0 { i + 1 } else { most + 1 };
        let mut least = row[first];
        for j in first..end {
            let substituted = diagonal + usize::from(*x != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
            least = least.min(row[j + 1]);
        }
        if least > most {
            return None;
        }
    }
    row.last().copied().filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::support::random::Random;

    #[test]
    fn a_distance_is_the_usual_one_as_far_as_it_is_wanted() {
        let mut random = Random::new(11);
        for _ in 0..5_000 {
            let mut word = || -> Vec<u8> { (0..random.below(9)).map(|_| random.below(3) as u8).collect() };
            let (a, b) = (word(), word());
            let whole = edit_distance(&a, &b, 100);
            for most in 0..6 {
                assert_eq!(edit_distance(&a, &b, most), whole.filter(|whole| *whole <= most), "{a:?} {b:?} {most}");
            }
        }
        assert_eq!(edit_distance(b"kitten", b"sitting", 3), Some(3));
        assert_eq!(edit_distance(b"", b"ab", 2), Some(2));
        assert_eq!(edit_distance(b"ab", b"", 1), None);
    }

    #[test]
    fn long_names_are_compared_in_steps_for_each_byte_not_for_each_two() {
        struct Counting<'a>(u8, &'a Cell<usize>);
        impl PartialEq for Counting<'_> {
            fn eq(&self, other: &Self) -> bool {
                self.1.set(self.1.get() + 1);
                self.0 == other.0
            }
        }
        let steps = Cell::new(0);
        let name = |last: u8| -> Vec<Counting<'_>> {
            (0..128).map(|at| Counting(if at < 127 { at % 10 } else { last }, &steps)).collect()
        };
        assert_eq!(edit_distance(&name(1), &name(2), 3), Some(1));
        assert!(steps.get() <= 128 * 7, "{} steps", steps.get());
    }
}
