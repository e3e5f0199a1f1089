//! The encoders themselves: bytes in, encoded bytes out, flushed when they must not wait.
//!
//! What an encoder holds is bounded by its window: at most 1 MiB for Brotli and zstd, far under what a decoder must be
//! ready for (RFC 9659 §3: 8 MiB).

use std::io::{self, Write as _};

use bytes::Bytes;

use crate::config::compression::Coding;

/// Encoded bytes are handed on once there are so many, and at each flush.
const HAND_ON_BYTES: usize = 32 << 10;
/// Windows are no larger than this power of two.
const WINDOW_LOG_MAX: u32 = 20;
/// Nor smaller, for the libraries' sake.
const WINDOW_LOG_MIN: u32 = 10;
/// Brotli's own buffer for input.
const BROTLI_BUFFER_BYTES: usize = 16 << 10;

enum Kind {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Br(Box<brotli::CompressorWriter<Vec<u8>>>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
}

/// One body on its way through an encoder.
pub(super) struct Encoder {
    kind: Kind,
    /// Bytes went in since the last flush.
    unflushed: bool,
}

impl Encoder {
    /// An encoder for a body of that length, if it is known.
    ///
    /// # Errors
    /// When zstd refuses a parameter; levels are checked where they are configured.
    pub(super) fn new(coding: Coding, level: u8, length: Option<u64>) -> io::Result<Self> {
        let window_log = window_log(length);
        let kind = match coding {
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), i32::from(level))?;
                encoder.window_log(window_log)?;
                encoder.include_checksum(false)?;
                Kind::Zstd(encoder)
            }
            Coding::Br => {
                let parameters = brotli::enc::BrotliEncoderParams {
                    quality: i32::from(level),
                    lgwin: i32::try_from(window_log).unwrap_or(20),
                    size_hint: length
                        .and_then(|length| usize::try_from(length).ok())
                        .unwrap_or(0),
                    ..Default::default()
                };
                Kind::Br(Box::new(brotli::CompressorWriter::with_params(
                    Vec::new(),
                    BROTLI_BUFFER_BYTES,
                    &parameters,
                )))
            }
            Coding::Gzip => Kind::Gzip(flate2::write::GzEncoder::new(
                Vec::new(),
                flate2::Compression::new(u32::from(level)),
            )),
        };
        Ok(Self {
            kind,
            unflushed: false,
        })
    }

    /// Takes bytes of the body; gives encoded ones when there are enough to hand on.
    ///
    /// # Errors
    /// What the library says; into memory there is nothing that could fail.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Option<Bytes>> {
        match &mut self.kind {
            Kind::Zstd(encoder) => encoder.write_all(bytes)?,
            Kind::Br(encoder) => encoder.write_all(bytes)?,
            Kind::Gzip(encoder) => encoder.write_all(bytes)?,
        }
        self.unflushed |= !bytes.is_empty();
        let enough = self.out().len() >= HAND_ON_BYTES;
        Ok(if enough { self.take() } else { None })
    }

    /// Gives all that a decoder needs for the bytes taken so far; nothing when it has that.
    ///
    /// # Errors
    /// As [`Encoder::write`].
    pub(super) fn flush(&mut self) -> io::Result<Option<Bytes>> {
        if !self.unflushed {
            return Ok(self.take());
        }
        self.unflushed = false;
        match &mut self.kind {
            Kind::Zstd(encoder) => encoder.flush()?,
            Kind::Br(encoder) => encoder.flush()?,
            Kind::Gzip(encoder) => encoder.flush()?,
        }
        Ok(self.take())
    }

    /// Ends the body; gives what is left of it.
    ///
    /// # Errors
    /// As [`Encoder::write`].
    pub(super) fn finish(self) -> io::Result<Bytes> {
        Ok(match self.kind {
            Kind::Zstd(encoder) => encoder.finish()?,
            Kind::Br(encoder) => encoder.into_inner(),
            Kind::Gzip(encoder) => encoder.finish()?,
        }
        .into())
    }

    fn out(&mut self) -> &mut Vec<u8> {
        match &mut self.kind {
            Kind::Zstd(encoder) => encoder.get_mut(),
            Kind::Br(encoder) => encoder.get_mut(),
            Kind::Gzip(encoder) => encoder.get_mut(),
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let bytes = std::mem::take(self.out());
        (!bytes.is_empty()).then(|| bytes.into())
    }
}

/// A window that holds the whole body, within bounds.
fn window_log(length: Option<u64>) -> u32 {
    length.map_or(WINDOW_LOG_MAX, |length| {
        let holds_all = u64::BITS - length.saturating_sub(1).leading_zeros();
        holds_all.clamp(WINDOW_LOG_MIN, WINDOW_LOG_MAX)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Read as _;

    use proptest::prelude::*;

    /// Decodes as a client would.
    pub(crate) fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            "zstd" => out = zstd::stream::decode_all(bytes).unwrap(),
            "br" => {
                brotli::Decompressor::new(bytes, 4096)
                    .read_to_end(&mut out)
                    .unwrap();
            }
            "gzip" => {
                flate2::read::GzDecoder::new(bytes)
                    .read_to_end(&mut out)
                    .unwrap();
            }
            other => panic!("{other}"),
        }
        out
    }

    /// What a decoder makes of the beginning of an encoded body.
    fn decoded_so_far(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut buffer = [0; 512];
        let mut reader: Box<dyn io::Read> = match coding {
            Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
            Coding::Br => Box::new(brotli::Decompressor::new(bytes, 4096)),
            Coding::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
        };
        // It ends in an error: the rest is missing.
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            out.extend_from_slice(&buffer[..count]);
        }
        out
    }

    #[test]
    fn a_flush_gives_all_that_was_taken() {
        for coding in Coding::ALL {
            let mut encoder = Encoder::new(coding, 5, None).unwrap();
            let mut out = Vec::new();
            out.extend(encoder.write(b"begin ").unwrap().unwrap_or_default());
            out.extend(encoder.flush().unwrap().unwrap());
            assert_eq!(encoder.flush().unwrap(), None);
            assert_eq!(decoded_so_far(coding, &out), b"begin ", "{coding:?}");
            out.extend(encoder.write(b"end").unwrap().unwrap_or_default());
            out.extend(encoder.finish().unwrap());
            assert_eq!(decoded(coding.name(), &out), b"begin end", "{coding:?}");
        }
    }

    #[test]
    fn windows_hold_the_body_within_bounds() {
        for (length, log) in [
            (None, 20),
            (Some(0), 10),
            (Some(1024), 10),
            (Some(1025), 11),
            (Some(1 << 20), 20),
            (Some(1 << 40), 20),
        ] {
            assert_eq!(window_log(length), log, "{length:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_went_in_comes_out(
            pieces in prop::collection::vec(
                (prop::collection::vec(prop::sample::select(b"abcdefgh \n<>".to_vec()), 0..3000), any::<bool>()),
                0..12,
            ),
            noise in prop::collection::vec(any::<u8>(), 0..2000),
            level in 1_u8..=9,
            knows_length in any::<bool>(),
        ) {
            let mut whole: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.clone()).collect();
            whole.extend(&noise);
            let length = knows_length.then_some(whole.len() as u64);
            for coding in Coding::ALL {
                let mut encoder = Encoder::new(coding, level, length).unwrap();
                let mut out = Vec::new();
                for (piece, flushes) in &pieces {
                    out.extend(encoder.write(piece).unwrap().unwrap_or_default());
                    if *flushes {
                        out.extend(encoder.flush().unwrap().unwrap_or_default());
                    }
                }
                out.extend(encoder.write(&noise).unwrap().unwrap_or_default());
                out.extend(encoder.finish().unwrap());
                prop_assert_eq!(&decoded(coding.name(), &out), &whole);
            }
        }
    }
}
