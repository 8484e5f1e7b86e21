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
    Some(edit_distance(wanted, candidate)).filter(|distance| *distance <= allowed)
}

/// The Levenshtein distance in bytes.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
