//! Decimal numbers, as PAX records and the maps of sparse files write them.

/// A number of at most 63 bits, so that it is good for any offset.
pub(crate) fn decimal(value: &[u8]) -> Result<u64, &'static str> {
    let number = value.iter().try_fold(0_i64, |number, &digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add((digit - b'0').into()),
        _ => None,
    });
    match number {
        Some(number) if !value.is_empty() => Ok(number.unsigned_abs()),
        _ => Err("is no number"),
    }
}
