//! Encodings of answers that are not stored: made on the way, for one client.

use http::header::CONTENT_LENGTH;
use http::{Method, Response};
use http_body::Body as _;
use http_body_util::StreamBody;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::super::Proxy;
use super::super::admit::Ask;
use super::form::{encodable, encode_head, mark};
use super::run::into_pieces;
use super::stored::BUSY;
use crate::exchange::Body;

/// Encoded pieces that may wait for the client, each of at most some 32 KiB.
const PIECES_MAX: usize = 4;

impl Proxy {
    /// Encodes an answer if the client and the site want it. Says why not, where that is ours to say.
    pub(in super::super) fn encode_on_the_way(
        &self,
        ask: &Ask,
        response: &mut Response<Body>,
    ) -> Option<&'static str> {
        let site = &ask.site.compression;
        let is_head = ask.method == Method::HEAD;
        let length = match is_head {
            true => None,
            false => response.body().size_hint().exact(),
        };
        let declared = || {
            response
                .headers()
                .get(CONTENT_LENGTH)?
                .to_str()
                .ok()?
                .parse()
                .ok()
        };
        let length = length.or_else(declared);
        let (status, head) = (response.status(), response.headers());
        let may = encodable(site, ask.codings_for(status, head), status, head, length);
        if may.is_empty() {
            return None;
        }
        let Some(coding) = ask.coding_among(may) else {
            mark(response.headers_mut());
            return None;
        };
        if !is_head && !response.body().is_end_stream() {
            let Some(permit) = self.encoders.permit(site, coding, length) else {
                mark(response.headers_mut());
                return Some(BUSY);
            };
            let (pieces, encoded) = mpsc::channel(PIECES_MAX);
            let body = std::mem::take(response.body_mut());
            // Not among the fills that a drain waits for one by one: it ends with its client.
            self.fills.spawn(into_pieces(permit, body, pieces));
            *response.body_mut() = Body::stream(StreamBody::new(ReceiverStream::new(encoded)));
        }
        encode_head(response.headers_mut(), coding);
        response.headers_mut().remove(CONTENT_LENGTH);
        None
    }
}
