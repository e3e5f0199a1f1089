//! The PROXY protocol, versions 1 and 2: how a proxy that only passes bytes on says whose they are.
//!
//! Its header comes before everything else, TLS included. With `[listen] proxy_protocol` every connection from one of
//! `trusted_proxies` must begin with it, and no other may: nothing is guessed from what comes, so that a client cannot
//! introduce itself. One who is not trusted and tries has sent a malformed request.
//!
//! Written after the protocol's specification (HAProxy project, section 2).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// Version 1: a line of at most so many bytes.
const LINE_BYTES_MAX: usize = 107;
/// As short as either version can be: `PROXY UNKNOWN` and the line's end.
const BYTES_MIN: usize = 15;
/// Version 2: addresses and what is said beside them. The format allows 64 KiB; nobody says as much.
const SAID_BYTES_MAX: usize = 8 * 1024;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What was said of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Introduction {
    /// The client's end and the end it connected to. None: the proxy speaks for itself (a health check), or does not
    /// know, or came by a Unix socket.
    pub(super) ends: Option<(SocketAddr, SocketAddr)>,
    /// The client came to the proxy by TLS.
    pub(super) tls: bool,
}

/// Why a header was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum IntroductionError {
    #[error("the connection broke off in the PROXY header")]
    Broken(#[from] std::io::Error),
    #[error("the PROXY header {0}")]
    Malformed(&'static str),
}

use IntroductionError::Malformed;

/// Reads the header, and not a byte more.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Introduction, IntroductionError> {
    let mut begin = [0; BYTES_MIN];
    stream.read_exact(&mut begin).await?;
    if begin.starts_with(SIGNATURE) {
        let mut rest = [0; 1];
        stream.read_exact(&mut rest).await?;
        let length = usize::from(u16::from_be_bytes([begin[14], rest[0]]));
        if length > SAID_BYTES_MAX {
            return Err(Malformed("is too long"));
        }
        let mut header = vec![0; 16 + length];
        header[..15].copy_from_slice(&begin);
        header[15] = rest[0];
        stream.read_exact(&mut header[16..]).await?;
        return version_2(&header);
    }
    if !begin.starts_with(b"PROXY ") {
        return Err(Malformed("is missing"));
    }
    let mut line = begin.to_vec();
    while !line.ends_with(b"\n") {
        let mut ahead = [0; LINE_BYTES_MAX];
        let room = LINE_BYTES_MAX - line.len();
        if room == 0 {
            return Err(Malformed("has a line that does not end"));
        }
        // What is looked at and holds no line end is of the header; then it may be taken.
        let seen = stream.peek(&mut ahead[..room]).await?;
        if seen == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        let take = memchr::memchr(b'\n', &ahead[..seen]).map_or(seen, |at| at + 1);
        stream.read_exact(&mut ahead[..take]).await?;
        line.extend_from_slice(&ahead[..take]);
    }
    version_1(&line)
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443`, with CR and LF at its end.
fn version_1(line: &[u8]) -> Result<Introduction, IntroductionError> {
    let text = line
        .strip_suffix(b"\r\n")
        .ok_or(Malformed("has a line without CR"))?;
    let text = std::str::from_utf8(text).map_err(|_| Malformed("is not text"))?;
    let mut words = text.split(' ');
    let (proxy, family) = (words.next(), words.next());
    if proxy != Some("PROXY") {
        return Err(Malformed("is missing"));
    }
    let rest: Vec<&str> = words.collect();
    let v4 = match family {
        // What follows is to be ignored.
        Some("UNKNOWN") => return Ok(Introduction::default()),
        Some("TCP4") => true,
        Some("TCP6") => false,
        _ => return Err(Malformed("names a family that is none")),
    };
    let &[source, destination, source_port, destination_port] = rest.as_slice() else {
        return Err(Malformed("has not two addresses and two ports"));
    };
    let end = |address: &str, port: &str| {
        let ip = if v4 {
            address.parse::<Ipv4Addr>().map(std::net::IpAddr::from)
        } else {
            address.parse::<Ipv6Addr>().map(std::net::IpAddr::from)
        };
        let plain = port.bytes().all(|byte| byte.is_ascii_digit())
            && (port == "0" || !port.starts_with('0'));
        match (ip, port.parse::<u16>()) {
            (Ok(ip), Ok(port)) if plain => Ok(SocketAddr::new(ip, port)),
            _ => Err(Malformed("has an address or a port that is none")),
        }
    };
    Ok(Introduction {
        ends: Some((
            end(source, source_port)?,
            end(destination, destination_port)?,
        )),
        tls: false,
    })
}

/// The binary form: 16 bytes, addresses, then values by type.
fn version_2(header: &[u8]) -> Result<Introduction, IntroductionError> {
    let (version, command) = (header[12] >> 4, header[12] & 0xf);
    if version != 2 {
        return Err(Malformed("has a version that is not known"));
    }
    let local = match command {
        0 => true,
        1 => false,
        _ => return Err(Malformed("has a command that is not known")),
    };
    let (family, transport) = (header[13] >> 4, header[13] & 0xf);
    let addresses_bytes = match family {
        0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Err(Malformed("names a family that is none")),
    };
    if transport > 2 {
        return Err(Malformed("names a transport that is none"));
    }
    let said = &header[16..];
    if local {
        // The proxy's own connection; whatever else is there is to be skipped.
        return Ok(Introduction::default());
    }
    let Some((addresses, values)) = said.split_at_checked(addresses_bytes) else {
        return Err(Malformed("is too short for its addresses"));
    };
    let tls = values_say_tls(values, header)?;
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    let ends = match (family, transport) {
        (1, 1) => {
            let ip = |at: usize| {
                let bytes: [u8; 4] = addresses[at..at + 4].try_into().unwrap_or_default();
                Ipv4Addr::from(bytes)
            };
            Some(((ip(0), port(8)).into(), (ip(4), port(10)).into()))
        }
        (2, 1) => {
            let ip = |at: usize| {
                let bytes: [u8; 16] = addresses[at..at + 16].try_into().unwrap_or_default();
                Ipv6Addr::from(bytes)
            };
            Some(((ip(0), port(32)).into(), (ip(16), port(34)).into()))
        }
        // Unspecified, datagrams, Unix sockets: no address of a client of ours.
        _ => None,
    };
    Ok(Introduction { ends, tls })
}

/// Walks the values; the checksum is verified where there is one.
fn values_say_tls(mut values: &[u8], header: &[u8]) -> Result<bool, IntroductionError> {
    const CRC32C: u8 = 0x03;
    const SSL: u8 = 0x20;
    const BY_SSL: u8 = 0x01;
    let mut tls = false;
    while !values.is_empty() {
        let &[kind, high, low, ..] = values else {
            return Err(Malformed("breaks off in a value"));
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((value, rest)) = values[3..].split_at_checked(length) else {
            return Err(Malformed("has a value that is longer than itself"));
        };
        match kind {
            CRC32C => {
                let sum: [u8; 4] = value
                    .try_into()
                    .map_err(|_| Malformed("has a checksum that is none"))?;
                let at = header.len() - rest.len() - sum.len();
                let mut blank = header.to_vec();
                blank[at..at + sum.len()].fill(0);
                if crc32c(&blank) != u32::from_be_bytes(sum) {
                    return Err(Malformed("does not match its checksum"));
                }
            }
            SSL => {
                let client = value.first().ok_or(Malformed("has an empty SSL value"))?;
                if value.len() < 5 {
                    return Err(Malformed("has an SSL value that breaks off"));
                }
                tls |= client & BY_SSL != 0;
            }
            _ => {}
        }
        values = rest;
    }
    Ok(tls)
}

/// Castagnoli's polynomial, bit by bit: some hundred bytes per connection.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = sum & 1;
            sum >>= 1;
            if carry == 1 {
                sum ^= 0x82f6_3b78;
            }
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Option<Introduction> {
        version_1(text.as_bytes()).ok()
    }

    #[test]
    fn version_1_is_read_to_the_letter() {
        let read = line("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n").unwrap();
        let ends = ("192.0.2.1:56324", "198.51.100.2:443");
        assert_eq!(
            read.ends,
            Some((ends.0.parse().unwrap(), ends.1.parse().unwrap()))
        );
        let read = line("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n").unwrap();
        assert_eq!(read.ends.unwrap().0, "[2001:db8::1]:1".parse().unwrap());
        for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ff:f 1 any thing\r\n"] {
            assert_eq!(line(unknown), Some(Introduction::default()));
        }
        for bad in [
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n",
            "PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 01 443\r\n",
            "PROXY TCP4 192.0.2.999 198.51.100.2 1 443\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.2 1 443\r\n",
            "proxy TCP4 192.0.2.1 198.51.100.2 1 443\r\n",
        ] {
            assert_eq!(line(bad), None, "{bad:?}");
        }
    }

    fn binary(command: u8, family: u8, said: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(said.len()).unwrap().to_be_bytes());
        header.extend(said);
        header
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0x01, 0xbb];

    #[test]
    fn version_2_gives_addresses_where_there_are_some() {
        let read = |header: &[u8]| version_2(header).ok();
        let ends = ("192.0.2.1:56324", "198.51.100.2:443");
        let ends = Some((ends.0.parse().unwrap(), ends.1.parse().unwrap()));
        assert_eq!(read(&binary(1, 0x11, &V4)).unwrap().ends, ends);
        let mut v6 = [0; 36];
        (v6[0], v6[15], v6[31], v6[33]) = (0x20, 9, 1, 80);
        let source = read(&binary(1, 0x21, &v6)).unwrap().ends.unwrap().0;
        assert_eq!(source, "[2000::9]:80".parse().unwrap());
        for (command, family, said) in [
            (0, 0x00, &[][..]),
            (0, 0x11, &V4[..]),
            // A local one may say anything.
            (0, 0x11, &[1, 2, 3][..]),
            (1, 0x00, &[][..]),
            (1, 0x12, &V4[..]),
            (1, 0x31, &[0; 216][..]),
        ] {
            let read = read(&binary(command, family, said));
            assert_eq!(read, Some(Introduction::default()), "{command} {family:x}");
        }
        for (command, family, said) in [
            (2, 0x11, &V4[..]),
            (1, 0x41, &V4[..]),
            (1, 0x13, &V4[..]),
            (1, 0x11, &V4[..11]),
            (1, 0x21, &[0; 35][..]),
        ] {
            assert_eq!(read(&binary(command, family, said)), None, "{family:x}");
        }
        let mut older = binary(1, 0x11, &V4);
        older[12] = 0x11;
        assert_eq!(read(&older), None);
    }

    #[test]
    fn values_are_walked_and_the_checksum_is_checked() {
        let with = |values: &[u8]| binary(1, 0x11, &[&V4[..], values].concat());
        let tls = |values: &[u8]| version_2(&with(values)).map(|read| read.tls).ok();
        assert_eq!(tls(&[0x04, 0, 2, 0, 0]), Some(false));
        assert_eq!(tls(&[0x20, 0, 5, 0x01, 0, 0, 0, 0]), Some(true));
        assert_eq!(tls(&[0x20, 0, 5, 0x00, 0, 0, 0, 0]), Some(false));
        // An authority, then one that breaks off.
        assert_eq!(tls(&[0x02, 0, 1, b'a', 0x04, 0]), None);
        assert_eq!(tls(&[0x04, 0, 3, 0]), None);
        assert_eq!(tls(&[0x20, 0, 0]), None);
        assert_eq!(tls(&[0x20, 0, 1, 1]), None);

        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let mut header = with(&[0x03, 0, 4, 0, 0, 0, 0, 0x04, 0, 1, 7]);
        let sum = crc32c(&header);
        let at = header.len() - 8;
        header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
        assert!(version_2(&header).is_ok());
        header[17] ^= 1;
        assert!(version_2(&header).is_err());
        assert_eq!(tls(&[0x03, 0, 2, 0, 0]), None);
    }
}
