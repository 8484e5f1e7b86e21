//! Deflate (RFC 1951) by zlib-rs, which stops where a block begins, says at which bit that is, and starts at one.
//!
//! zlib-rs offers this through zlib's C interface alone, so this is the one file that calls it, and the only one with `unsafe`.
//! Everything that it gives is safe to use with any input, and in any order.

#![expect(unsafe_code, reason = "zlib's interface takes pointers; each call says why its own are good")]

use std::ffi::{CStr, c_int};

use libz_rs_sys as zlib;

/// How far back a deflate block may refer, in bytes (RFC 1951, section 2).
pub(super) const WINDOW: usize = 32 * 1024;

/// What a stream is wrapped in. zlib's `windowBits`: the largest window, negative without a wrapper, and 16 more for gzip.
#[derive(Clone, Copy)]
pub(super) enum Wrapper {
    /// Nothing.
    None = -15,
    /// One gzip member (RFC 1952), whose header and checksums are checked.
    Gzip = 15 + 16,
}

/// What one call of [`Inflate::step`] did.
pub(super) struct Inflated {
    /// Bytes taken from the input.
    pub(super) consumed: usize,
    /// Bytes written to the output.
    pub(super) produced: usize,
    /// Where it stopped.
    pub(super) at: At,
}

/// Where a decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Anywhere.
    Inside,
    /// In front of a block, whose first bits are this many (0 to 7) highest bits of the last byte taken.
    Block(u8),
    /// Behind the last block, and behind the wrapper's end if it has one.
    End,
}

/// A decoder of one deflate stream.
pub(super) struct Inflate {
    /// Made by `inflateInit2_` and ended by `drop` alone. Its pointers to input and output are null between calls. In a box, as
    /// zlib does not promise that a stream may be moved.
    stream: Box<zlib::z_stream>,
}

// SAFETY: the stream's state and memory are its own, reachable from nowhere else, and not bound to a thread: zlib-rs allocates with
// Rust's allocator, and declares its own form of the stream, which it reads this one as, `Send` too.
unsafe impl Send for Inflate {}

impl Inflate {
    pub(super) fn new(wrapper: Wrapper) -> Result<Self, String> {
        let mut stream = Box::new(zlib::z_stream::default());
        let size = size_of::<zlib::z_stream>() as c_int;
        // SAFETY: the stream is a valid one whose allocator `default` has set; the version is the library's own string.
        let code = unsafe { zlib::inflateInit2_(&mut *stream, wrapper as c_int, zlib::zlibVersion(), size) };
        match code {
            zlib::Z_OK => Ok(Inflate { stream }),
            zlib::Z_MEM_ERROR => Err("there is not enough memory for a gzip decoder".to_owned()),
            code => Err(format!("a gzip decoder cannot be made (zlib's error {code})")),
        }
    }

    /// Goes to the start of another stream.
    pub(super) fn reset(&mut self, wrapper: Wrapper) -> Result<(), String> {
        // SAFETY: `new` has initialised the stream.
        let code = unsafe { zlib::inflateReset2(&mut *self.stream, wrapper as c_int) };
        self.checked(code)
    }

    /// Takes `bits` (0 to 7) bits, the lowest ones of `value`, as if they came in front of the input. At the start of a stream
    /// without a wrapper only.
    pub(super) fn prime(&mut self, bits: u8, value: u8) -> Result<(), String> {
        // SAFETY: `new` has initialised the stream.
        let code = unsafe { zlib::inflatePrime(&mut *self.stream, bits.into(), value.into()) };
        self.checked(code)
    }

    /// Lets what comes refer back to the last [`WINDOW`] bytes of `window`. At the start of a stream without a wrapper only.
    pub(super) fn set_window(&mut self, window: &[u8]) -> Result<(), String> {
        let window = &window[window.len().saturating_sub(WINDOW)..];
        // SAFETY: `new` has initialised the stream. The pointer and the length, which is far below 2^32, are those of one slice,
        // which is copied before the call returns.
        let code =
            unsafe { zlib::inflateSetDictionary(&mut *self.stream, window.as_ptr(), window.len() as zlib::uInt) };
        self.checked(code)
    }

    /// The last bytes decoded of this stream, [`WINDOW`] at most: what comes may refer back to them.
    pub(super) fn window(&self) -> Result<Vec<u8>, String> {
        let (mut window, mut length) = (vec![0; WINDOW], 0);
        // SAFETY: `new` has initialised the stream, which is only read. There is room for the largest window, of which no more than its
        // length is written, and the length is written to a variable of its type.
        let code = unsafe { zlib::inflateGetDictionary(&*self.stream, window.as_mut_ptr(), &mut length) };
        self.checked(code)?;
        window.truncate(length as usize);
        Ok(window)
    }

    /// Decodes until the input is used up, the output full or the stream at its end, or, if `stops`, a block begins.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8], stops: bool) -> Result<Inflated, String> {
        // What is more than zlib can count is left for another call.
        let (given, room) = (clamped(input.len()), clamped(output.len()));
        let stream = &mut *self.stream;
        (stream.next_in, stream.avail_in) = (input.as_ptr(), given);
        (stream.next_out, stream.avail_out) = (output.as_mut_ptr(), room);
        // SAFETY: `new` has initialised the stream. The input's pointer and count are within `input`, from which is only read, the
        // output's within `output`, which nobody else can reach; both outlive the call, and are forgotten after it.
        let code = unsafe { zlib::inflate(stream, if stops { zlib::Z_BLOCK } else { zlib::Z_NO_FLUSH }) };
        let (consumed, produced) = ((given - stream.avail_in) as usize, (room - stream.avail_out) as usize);
        (stream.next_in, stream.avail_in) = (std::ptr::null(), 0);
        (stream.next_out, stream.avail_out) = (std::ptr::null_mut(), 0);
        let at = match code {
            zlib::Z_STREAM_END => At::End,
            // zlib.h, at inflate(): the number of unused bits in the last byte, plus 64 in the last block, plus 128 right behind
            // a block or the wrapper's header.
            zlib::Z_OK if stops && stream.data_type & !7 == 128 => At::Block((stream.data_type & 7) as u8),
            // A call that can neither take nor give anything is no fault.
            zlib::Z_OK | zlib::Z_BUF_ERROR => At::Inside,
            code => return Err(self.problem(code)),
        };
        Ok(Inflated { consumed, produced, at })
    }

    fn checked(&self, code: c_int) -> Result<(), String> {
        if code == zlib::Z_OK { Ok(()) } else { Err(self.problem(code)) }
    }

    fn problem(&self, code: c_int) -> String {
        if self.stream.msg.is_null() {
            return format!("its deflate data cannot be decoded (zlib's error {code})");
        }
        // SAFETY: zlib sets `msg` to null or to one of its own string literals, which end with a zero byte.
        unsafe { CStr::from_ptr(self.stream.msg) }.to_string_lossy().into_owned()
    }
}

impl Drop for Inflate {
    fn drop(&mut self) {
        // SAFETY: `new` has initialised the stream, and nothing uses it after this.
        unsafe { zlib::inflateEnd(&mut *self.stream) };
    }
}

fn clamped(length: usize) -> zlib::uInt {
    zlib::uInt::try_from(length).unwrap_or(zlib::uInt::MAX)
}

#[cfg(test)]
mod tests;
