//! The raw bytes of an HTTP/1 head, looked at as they pass, for what the parsed head no longer shows.

use std::cell::Cell;

/// Whether the head that is being received names its length twice, `Content-Length` and `Transfer-Encoding`.
///
/// hyper drops `Content-Length` from such a head and reads it as chunked, so the parsed head no longer shows it, and a
/// proxy in front of us may have read it the other way: request smuggling (RFC 9112 §6.1, §11.2). So the raw bytes
/// are looked at as they pass. A head that came in one read is known for certain; for one in several reads, or behind
/// another request in one read, we stay unsure, and then do what the RFC allows: read it as chunked, answer, close.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    seen: Cell<Seen>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Nothing,
    NoLength,
    Length,
    Unsure,
}

impl HeadScan {
    /// Bytes of a head; `continued` when they are not its first.
    pub(super) fn look(&self, bytes: &[u8], continued: bool) {
        // Empty lines may come before a request (RFC 9112 §2.2).
        let begin = bytes.iter().position(|byte| !b"\r\n".contains(byte));
        let bytes = &bytes[begin.unwrap_or_default()..];
        let whole =
            bytes.ends_with(b"\r\n\r\n") || memchr::memmem::find(bytes, b"\r\n\r\n").is_some();
        self.seen.set(if continued || !whole {
            Seen::Unsure
        } else if names_length(bytes) {
            Seen::Length
        } else {
            Seen::NoLength
        });
    }

    /// Bytes came that may hold the beginning of a next head.
    pub(super) fn unsure(&self) {
        self.seen.set(Seen::Unsure);
    }

    /// A request without transfer coding was taken. What was seen says nothing of one behind it in the same read.
    pub(super) fn forget(&self) {
        self.seen.set(Seen::Nothing);
    }

    /// What to do about a request that says `Transfer-Encoding`. Forgets what was seen.
    pub(super) fn chunked(&self) -> Chunked {
        match self.seen.take() {
            Seen::Length => Chunked::Refuse,
            Seen::NoLength => Chunked::Fine,
            Seen::Nothing | Seen::Unsure => Chunked::AnswerAndClose,
        }
    }
}

/// What to do about a chunked request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunked {
    Fine,
    AnswerAndClose,
    Refuse,
}

/// Is there a line that begins with `content-length`, before the empty line?
fn names_length(bytes: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length";
    for end in memchr::memchr_iter(b'\n', bytes) {
        let next = &bytes[end + 1..];
        match next {
            [] | [b'\n', ..] | [b'\r', b'\n', ..] => return false,
            [b'c' | b'C', ..] => {}
            _ => continue,
        }
        if next.len() > NAME.len() && next[..NAME.len()].eq_ignore_ascii_case(NAME) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beside_chunked_is_seen_however_it_is_spelt() {
        let scan = |bytes: &[u8]| {
            let scan = HeadScan::default();
            scan.look(bytes, false);
            scan.chunked()
        };
        let head = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        assert_eq!(
            scan(head("cOnTeNt-LeNgTh: 3\r\nTransfer-Encoding: chunked").as_bytes()),
            Chunked::Refuse
        );
        assert_eq!(
            scan(head("Transfer-Encoding: chunked").as_bytes()),
            Chunked::Fine
        );
        // Content that looks like a field is content.
        let mut with_content = head("Transfer-Encoding: chunked");
        with_content.push_str("content-length: 3\r\n");
        assert_eq!(scan(with_content.as_bytes()), Chunked::Fine);
        assert_eq!(scan(b"POST / HTTP/1.1\r\nHo"), Chunked::AnswerAndClose);
        let behind_lines = format!(
            "\r\n\r\n{}",
            head("Content-Length: 3\r\nTransfer-Encoding: chunked")
        );
        assert_eq!(scan(behind_lines.as_bytes()), Chunked::Refuse);
    }

    #[test]
    fn what_was_seen_of_one_request_is_not_taken_for_the_next() {
        let scan = HeadScan::default();
        scan.look(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", false);
        scan.forget();
        assert_eq!(scan.chunked(), Chunked::AnswerAndClose);
    }
}
