//! A client of HTTP/2 that writes every frame by hand, right or wrong, over TLS.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Authority;

/// DATA.
pub const DATA: u8 = 0;
/// HEADERS.
pub const HEADERS: u8 = 1;
/// RST_STREAM.
pub const RST_STREAM: u8 = 3;
/// SETTINGS.
pub const SETTINGS: u8 = 4;
/// PING.
pub const PING: u8 = 6;
/// GOAWAY.
pub const GOAWAY: u8 = 7;
/// WINDOW_UPDATE.
pub const WINDOW_UPDATE: u8 = 8;
/// CONTINUATION.
pub const CONTINUATION: u8 = 9;
/// The flag of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// The flag of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// No answer comes later than this.
const PATIENCE: Duration = Duration::from_secs(8);

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What is in it.
    pub payload: Vec<u8>,
}

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// Answered, with these statuses, interim ones first, and this content.
    Answered(Vec<u16>, Vec<u8>),
    /// Reset, with this error code.
    Reset(u32),
    /// The connection was ended, with the error code of GOAWAY if one came.
    Closed(Option<u32>),
}

/// A connection.
#[derive(Debug)]
pub struct FrameClient {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl FrameClient {
    /// Opens a connection, up to and with the settings: no header table, so that every answer can be read by itself.
    ///
    /// # Errors
    /// The connection or TLS could not be made.
    pub async fn open(
        address: SocketAddr,
        name: &str,
        authority: &Authority,
    ) -> std::io::Result<Self> {
        let config = std::sync::Arc::new(authority.client_config(true));
        let name = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        let mut client = Self {
            stream,
            read: Vec::new(),
        };
        client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        client.send(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]).await;
        Ok(client)
    }

    /// Writes bytes. What a closed connection does not take is of no concern: its end says more.
    pub async fn write(&mut self, bytes: &[u8]) {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        drop(tokio::time::timeout(PATIENCE, writing).await);
    }

    /// Writes one frame.
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.write(&frame(kind, flags, stream, payload)).await;
    }

    /// Writes a header block in one frame.
    pub async fn headers(&mut self, stream: u32, end: bool, fields: &[(&str, &str)]) {
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.send(HEADERS, flags, stream, &block(fields)).await;
    }

    /// The next frame; none when the connection has ended. Settings and pings are acknowledged on the way.
    ///
    /// # Panics
    /// When nothing comes in time.
    pub async fn next(&mut self) -> Option<RawFrame> {
        let next = tokio::time::timeout(PATIENCE, self.read_frame()).await;
        let frame = next.expect("a frame, or the end of the connection")?;
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            self.send(SETTINGS, ACK, 0, &[]).await;
        }
        Some(frame)
    }

    async fn read_frame(&mut self) -> Option<RawFrame> {
        loop {
            if let Some(head) = self.read.first_chunk::<9>() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
                let (kind, flags) = (head[3], head[4]);
                if self.read.len() >= 9 + length {
                    let payload = self.read[9..9 + length].to_vec();
                    self.read.drain(..9 + length);
                    return Some(RawFrame {
                        kind,
                        flags,
                        stream,
                        payload,
                    });
                }
            }
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.read.extend_from_slice(&piece[..read]),
            }
        }
    }

    /// Reads until a stream has ended one way or another.
    pub async fn end_of(&mut self, stream: u32) -> StreamEnd {
        let (mut statuses, mut content, mut code) = (Vec::new(), Vec::new(), None);
        while let Some(frame) = self.next().await {
            let error = frame
                .payload
                .last_chunk::<4>()
                .map(|code| u32::from_be_bytes(*code));
            match frame.kind {
                GOAWAY => {
                    code = frame
                        .payload
                        .get(4..8)
                        .and_then(|code| Some(u32::from_be_bytes(code.try_into().ok()?)));
                    if code != Some(0) {
                        continue;
                    }
                }
                RST_STREAM if frame.stream == stream => {
                    return StreamEnd::Reset(error.unwrap_or_default());
                }
                HEADERS if frame.stream == stream => statuses.extend(status(&frame.payload)),
                DATA if frame.stream == stream => content.extend(&frame.payload),
                _ => {}
            }
            let ends = matches!(frame.kind, HEADERS | DATA) && frame.stream == stream;
            if ends && frame.flags & END_STREAM != 0 {
                return StreamEnd::Answered(statuses, content);
            }
        }
        StreamEnd::Closed(code)
    }
}

/// A frame's bytes.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block: every field literal, without indexing, byte for byte.
#[must_use]
pub fn block<T: AsRef<[u8]>>(fields: &[(T, T)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            string(text.as_ref(), &mut block);
        }
    }
    block
}

/// RFC 7541 §5.1, §5.2: a length of seven bits and more, and the bytes as they are.
fn string(text: &[u8], block: &mut Vec<u8>) {
    let mut length = text.len();
    if length < 127 {
        block.push(u8::try_from(length).unwrap_or_default());
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128).unwrap_or_default() | 0x80);
            length /= 128;
        }
        block.push(u8::try_from(length).unwrap_or_default());
    }
    block.extend_from_slice(text);
}

/// The status at the beginning of an answer's block; none of trailers.
fn status(block: &[u8]) -> Option<u16> {
    let sized = block
        .iter()
        .take_while(|byte| **byte & 0xe0 == 0x20)
        .count();
    let block = &block[sized..];
    // RFC 7541, appendix A.
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block.first()? {
        index @ 0x88..=0x8e => Some(INDEXED[usize::from(index - 0x88)]),
        0x48 | 0x08 | 0x18 => {
            let length = block.get(1)?;
            let text = block.get(2..2 + usize::from(length & 0x7f))?;
            match length & 0x80 {
                0 => std::str::from_utf8(text).ok()?.parse().ok(),
                _ => digits(text).parse().ok(),
            }
        }
        _ => None,
    }
}

/// RFC 7541, appendix B, as far as digits go: 0 to 2 in five bits, the others in six.
fn digits(text: &[u8]) -> String {
    let bits: Vec<u8> = text
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
        .collect();
    let (mut at, mut digits) = (0, String::new());
    let number = |bits: &[u8]| {
        bits.iter()
            .fold(0, |number, bit| number * 2 + u32::from(*bit))
    };
    while let Some(short) = bits.get(at..at + 5).map(number) {
        let digit = if short < 3 {
            at += 5;
            short
        } else {
            let Some(long) = bits.get(at..at + 6).map(number) else {
                break;
            };
            at += 6;
            // 011001 is 3; what is above 9 is padding.
            long.wrapping_sub(0x19) + 3
        };
        match char::from_digit(digit, 10) {
            Some(digit) => digits.push(digit),
            None => break,
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_in_every_form() {
        assert_eq!(status(&[0x88]), Some(200));
        assert_eq!(status(&[0x20, 0x8c, 0x00]), Some(400));
        assert_eq!(status(&[0x48, 3, b'4', b'2', b'1']), Some(421));
        // RFC 7541, C.6: 302 and 307.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
        assert_eq!(status(&[0x48, 0x83, 0x64, 0x0e, 0xff]), Some(307));
        assert_eq!(status(&[0x40, 1, b'x', 1, b'y']), None);
    }
}
