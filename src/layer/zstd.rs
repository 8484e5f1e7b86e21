//! Zstandard (RFC 8878) as layers have it: frames and skippable frames one behind another, checksums checked, in bounded memory.

use zstd::stream::raw::{DParameter, InBuffer, OutBuffer};
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{DCtx, get_error_name};

use super::decoded::{Boundary, Decoded};

/// The largest window that is accepted, as its logarithm: 32 MiB, what `zstd --ultra -20` makes. Every level below needs 8 MiB
/// at most, and so does every image builder's default.
const MAX_WINDOW_LOG: u32 = 25;

/// Functions of libzstd return error codes negated.
const WINDOW_TOO_LARGE: usize = (ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge as usize).wrapping_neg();

/// A decoder for a sequence of zstd frames.
pub(super) struct Zstd {
    context: DCtx<'static>,
    between_frames: bool,
}

impl Zstd {
    pub(super) fn new() -> Result<Self, String> {
        let mut context = DCtx::try_create().ok_or("there is not enough memory for a zstd decoder")?;
        context
            .set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))
            .map_err(|code| get_error_name(code).to_owned())?;
        Ok(Zstd { context, between_frames: false })
    }

    /// Whether the stream may end here.
    pub(super) fn may_end(&self) -> bool {
        self.between_frames
    }

    /// Decodes some of `input`, and never past the end of a frame.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Decoded, String> {
        // Asked with no input, a decoder between two frames would say that it waits for the next one.
        if input.is_empty() && self.between_frames {
            return Ok(Decoded::default());
        }
        let mut input = InBuffer::around(input);
        let mut output = OutBuffer::around(output);
        let wanted = self.context.decompress_stream(&mut output, &mut input).map_err(|code| match code {
            WINDOW_TOO_LARGE => format!(
                "it needs a window of more than {} MiB, which is more memory than is given to it; \
                 recompress the image below zstd level 21 and without --long",
                (1_u32 << MAX_WINDOW_LOG) >> 20
            ),
            code => get_error_name(code).to_owned(),
        })?;
        self.between_frames = wanted == 0;
        let boundary = self.between_frames.then_some(Boundary::ZstdFrame);
        Ok(Decoded { consumed: input.pos(), produced: output.pos(), boundary })
    }
}
