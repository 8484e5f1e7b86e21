//! Too much of everything: long headers, holes, zeros, depth, and entries of one name.

use super::{are_refused, come_out_as, comes_out_as, is_refused};
use crate::support::*;

#[test]
fn a_header_of_many_megabytes() {
    const TOO_LARGE: &str = "is larger than any name or list of records";
    is_refused([file("f", "x").pax("comment", &"x".repeat(8 << 20))], TOO_LARGE);
    is_refused([typed("././@LongLink", b'L', vec![b'a'; 8 << 20]), file("f", "x")], TOO_LARGE);
}

#[test]
fn a_sparse_file_of_eight_exabytes_is_not_filled_with_zeros() {
    for format in [SparseFormat::Pax00, SparseFormat::Pax01, SparseFormat::Pax10] {
        is_refused([sparse_file("f", format, 1 << 62, &[(0, &[1; 512])])], "it has holes of more than 2 TiB");
    }
}

#[test]
fn a_decompression_bomb_that_is_mostly_nothing() {
    // A thousand times what it is when compressed: read through, never held.
    comes_out_as([file("zeros", vec![0; 64 << 20])], &["zeros 644 67108864 bytes"]);
}

#[test]
fn directories_nested_a_thousand_deep() {
    let entries: Vec<Entry> = (1..1000).map(|depth| dir(vec!["d"; depth].join("/"))).collect();
    are_refused(vec![entries.into()], "directories nested deeper than 512 levels; fetch the inner ones by themselves");
}

#[test]
fn five_thousand_entries_of_one_name() {
    let entries: Vec<Entry> = (0..5_000).map(|i| if i % 2 == 0 { file("x", "file") } else { dir("x") }).collect();
    come_out_as(vec![entries.into()], &["x/ 755"]);
}
