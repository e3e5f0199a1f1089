//! HTTP/2 for clients, on the h2 library itself (decision 0411): hyper's server over it can send no interim response,
//! and takes content that a client resets with NO_ERROR for whole.
//!
//! One task per connection reads frames and begins one task per stream. A stream makes its answer, sends what interim
//! responses come meanwhile, then the head and the pieces of the body, each as the client has room for it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::server::{Connection, Handshake, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, EXPECT, HeaderName, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::service::Reply;
use crate::config::settings::Limits;
use crate::exchange::{Interim, InterimLine, InterimTicket};

/// Content in flight per stream and per connection, both ways.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
const FRAME_BYTES: u32 = 16 * 1024;
const SEND_BUFFER_BYTES: usize = 256 * 1024;
const HEADER_TABLE_BYTES: u32 = 4096;
/// Interim responses of all streams of a connection that may wait at a time.
const INTERIMS_MAX: usize = 64;

static CONNECTION_FIELDS: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// A connection, polled to its end. `answer` makes a response out of each request.
pub(super) struct Streams<S, A> {
    state: State<S>,
    answer: A,
    post: Rc<Post>,
    parting: bool,
}

enum State<S> {
    Handshaking(Handshake<S, Bytes>),
    Serving(Connection<S, Bytes>),
}

impl<S, A> Streams<S, A>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(stream: S, limits: &Limits, post: Rc<Post>, answer: A) -> Self {
        let mut builder = h2::server::Builder::new();
        builder
            .max_concurrent_streams(limits.h2_streams)
            .max_pending_accept_reset_streams(limits.h2_resets)
            .max_local_error_reset_streams(Some(limits.h2_resets))
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .max_frame_size(FRAME_BYTES)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .header_table_size(HEADER_TABLE_BYTES);
        Self {
            state: State::Handshaking(builder.handshake(stream)),
            answer,
            post,
            parting: false,
        }
    }

    /// GOAWAY: open streams may end, new ones are not taken.
    pub(super) fn goodbye(&mut self) {
        self.parting = true;
        if let State::Serving(connection) = &mut self.state {
            connection.graceful_shutdown();
        }
    }
}

impl<S, A, F> Future for Streams<S, A>
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: FnMut(Request<Content>) -> F + Unpin,
    F: Future<Output = Response<Reply>> + 'static,
{
    type Output = Result<(), h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let State::Handshaking(handshake) = &mut this.state {
            let mut connection = ready!(Pin::new(handshake).poll(cx))?;
            if this.parting {
                connection.graceful_shutdown();
            }
            this.state = State::Serving(connection);
        }
        let State::Serving(connection) = &mut this.state else {
            return Poll::Pending;
        };
        this.post.sort(cx);
        loop {
            match ready!(connection.poll_accept(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(accepted) => {
                    let (request, reply) = accepted?;
                    let number = u64::from(reply.stream_id().as_u32());
                    this.post.line.resume(number);
                    let post = Rc::clone(&this.post);
                    let request = request_with_content(request, &post.line);
                    let stream = serve((this.answer)(request), reply, number, post);
                    // Owned by its connection, whose end every stream is told of.
                    drop(tokio::task::spawn_local(stream));
                }
            }
        }
    }
}

fn request_with_content(request: Request<RecvStream>, line: &Arc<InterimLine>) -> Request<Content> {
    let (parts, stream) = request.into_parts();
    // The library has seen to it that there is one number, and holds the content to it.
    let declared = parts.headers.get(CONTENT_LENGTH);
    let left = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    let expects = !stream.is_end_stream()
        && parts
            .headers
            .get(EXPECT)
            .is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let content = Content {
        stream,
        left,
        data_done: false,
        expects: expects.then(|| line.ticket()),
    };
    Request::from_parts(parts, content)
}

/// A request's content.
pub(super) struct Content {
    stream: RecvStream,
    /// What is left of a declared length.
    left: Option<u64>,
    data_done: bool,
    /// The client waits to hear that its content is wanted.
    expects: Option<InterimTicket>,
}

impl http_body::Body for Content {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = self.get_mut();
        if !this.data_done {
            let polled = this.stream.poll_data(cx);
            if polled.is_pending()
                && let Some(ticket) = this.expects.take()
            {
                ticket.tell(StatusCode::CONTINUE, HeaderMap::new());
            }
            // Whatever the reason, content that was reset is not whole.
            if let Some(data) = ready!(polled).transpose()? {
                // Fails for a stream that is gone, which the next poll says.
                this.stream.flow_control().release_capacity(data.len()).ok();
                if let Some(left) = &mut this.left {
                    *left = left.saturating_sub(data.len() as u64);
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            this.data_done = true;
        }
        let trailers = ready!(this.stream.poll_trailers(cx))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}

/// Interim responses of a connection on their way to its streams. Handlers put them into the connection's line, the
/// connection sorts them, and wakes the stream that each is for.
pub(super) struct Post {
    line: Arc<InterimLine>,
    sorting: RefCell<Sorting>,
}

struct Sorting {
    receiver: mpsc::Receiver<Interim>,
    /// Sorted and not fetched yet.
    waiting: Vec<Interim>,
    /// Streams whose answer is being made.
    streams: Vec<(u64, Waker)>,
}

impl Post {
    pub(super) fn new() -> (Rc<Self>, Arc<InterimLine>) {
        let (line, receiver) = InterimLine::with_room(INTERIMS_MAX);
        let sorting = RefCell::new(Sorting {
            receiver,
            waiting: Vec::new(),
            streams: Vec::new(),
        });
        let post = Self {
            line: Arc::clone(&line),
            sorting,
        };
        (Rc::new(post), line)
    }

    fn sort(&self, cx: &mut Context<'_>) {
        let sorting = &mut *self.sorting.borrow_mut();
        while let Poll::Ready(Some(interim)) = sorting.receiver.poll_recv(cx) {
            // One for a stream that has its answer comes too late.
            let stream = sorting.streams.iter();
            let stream = stream
                .clone()
                .find(|(number, _)| *number == interim.exchange);
            if let Some((_, waker)) = stream
                && sorting.waiting.len() < INTERIMS_MAX
            {
                waker.wake_by_ref();
                sorting.waiting.push(interim);
            }
        }
    }

    /// Sends what has come for a stream, and has its task woken for more.
    fn fetch(&self, number: u64, reply: &mut SendResponse<Bytes>, cx: &mut Context<'_>) {
        let sorting = &mut *self.sorting.borrow_mut();
        for interim in sorting
            .waiting
            .extract_if(.., |interim| interim.exchange == number)
        {
            let mut response = Response::new(());
            *response.status_mut() = interim.status;
            *response.headers_mut() = interim.headers;
            remove_connection_fields(response.headers_mut());
            if let Err(error) = reply.send_informational(response) {
                tracing::debug!(%error, "interim response not sent");
            }
        }
        let known = sorting.streams.iter_mut();
        match known.into_iter().find(|(stream, _)| *stream == number) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => sorting.streams.push((number, cx.waker().clone())),
        }
    }

    fn leave(&self, number: u64) {
        let sorting = &mut *self.sorting.borrow_mut();
        sorting.streams.retain(|(stream, _)| *stream != number);
        sorting.waiting.retain(|interim| interim.exchange != number);
    }
}

/// A stream's place in the post while its answer is being made.
struct Waiting<'a>(&'a Post, u64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

/// One stream, from its head to the end of its answer.
async fn serve(
    answering: impl Future<Output = Response<Reply>>,
    mut reply: SendResponse<Bytes>,
    number: u64,
    post: Rc<Post>,
) {
    let response = {
        let mut answering = pin!(answering);
        let mut waiting = None;
        poll_fn(|cx| {
            // Whoever asks on behalf of the open exchange asks on behalf of this one.
            post.line.resume(number);
            if let Poll::Ready(response) = answering.as_mut().poll(cx) {
                if waiting.is_some() {
                    post.fetch(number, &mut reply, cx);
                }
                return Poll::Ready(Some(response));
            }
            waiting.get_or_insert_with(|| Waiting(&post, number));
            post.fetch(number, &mut reply, cx);
            // Reset by the client, or the connection is gone: nobody wants the answer.
            reply.poll_reset(cx).map(|_| None)
        })
        .await
    };
    let Some(response) = response else {
        return;
    };
    if let Err(error) = send(response, &mut reply).await {
        tracing::debug!(%error, "stream ended");
    }
}

async fn send(response: Response<Reply>, reply: &mut SendResponse<Bytes>) -> Result<(), h2::Error> {
    let (head, body) = response.into_parts();
    let mut response = Response::from_parts(head, ());
    let headers = response.headers_mut();
    remove_connection_fields(headers);
    if !headers.contains_key(DATE) {
        headers.insert(DATE, now());
    }
    let last = body.is_end_stream();
    if !last
        && !headers.contains_key(CONTENT_LENGTH)
        && let Some(length) = body.size_hint().exact()
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let stream = reply.send_response(response, last).inspect_err(|_| {
        reply.send_reset(Reason::INTERNAL_ERROR);
    })?;
    if last {
        return Ok(());
    }
    send_body(body, stream).await
}

async fn send_body(mut body: Reply, mut stream: SendStream<Bytes>) -> Result<(), h2::Error> {
    loop {
        let frame = poll_fn(|cx| {
            if let Poll::Ready(reset) = stream.poll_reset(cx) {
                return Poll::Ready(Err(h2::Error::from(reset?)));
            }
            Pin::new(&mut body).poll_frame(cx).map(Ok)
        });
        let frame = match frame.await? {
            None => return stream.send_data(Bytes::new(), true),
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                tracing::debug!(%error, "response broke off");
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                if let Ok(mut trailers) = frame.into_trailers() {
                    // No more content: what was reserved is for others.
                    stream.reserve_capacity(0);
                    remove_connection_fields(&mut trailers);
                    return stream.send_trailers(trailers);
                }
                continue;
            }
        };
        let last = body.is_end_stream();
        if !data.is_empty() {
            // One byte of room is waited for; the library asks for the rest, and keeps what does not fit. More would
            // hold back other streams of the connection.
            stream.reserve_capacity(1);
            poll_fn(|cx| poll_room(&mut stream, cx)).await?;
        }
        stream.send_data(data, last)?;
        if last {
            return Ok(());
        }
    }
}

fn poll_room(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
    if let Poll::Ready(reset) = stream.poll_reset(cx) {
        return Poll::Ready(Err(h2::Error::from(reset?)));
    }
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(cx)) {
            Some(room) => {
                room?;
            }
            None => return Poll::Ready(Err(Reason::CANCEL.into())),
        }
    }
    Poll::Ready(Ok(()))
}

fn remove_connection_fields(headers: &mut HeaderMap) {
    for name in &CONNECTION_FIELDS {
        headers.remove(name);
    }
}

/// The time of day for `Date`, written once per second and core.
fn now() -> HeaderValue {
    thread_local! {
        static WRITTEN: RefCell<(u64, HeaderValue)> =
            const { RefCell::new((0, HeaderValue::from_static(""))) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(SystemTime::UNIX_EPOCH);
    let second = second.unwrap_or(Duration::ZERO).as_secs();
    WRITTEN.with_borrow_mut(|(written, value)| {
        if *written != second
            && let Ok(text) = HeaderValue::from_str(&httpdate::fmt_http_date(now))
        {
            (*written, *value) = (second, text);
        }
        value.clone()
    })
}
