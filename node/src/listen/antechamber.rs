//! Before a node serves: its client ports are taken, and whoever comes is told so instead of being left to wait.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::sockets::Sockets;

/// Clients that are being answered at once, per socket; more are hung up on.
const CLIENTS_MAX: usize = 64;
/// For a client to say something and to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a socket rests when the system has no descriptor for another connection.
const REST: Duration = Duration::from_millis(100);

const ANSWER: &str = "HTTP/1.1 503 Service Unavailable\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    cache-control: no-store\r\n\
    retry-after: 5\r\n\
    content-length: 24\r\n\
    connection: close\r\n\r\n\
    503 Service Unavailable\n";

/// Sockets whose clients are turned away, until it is closed.
pub struct Antechamber {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Antechamber {
    /// Turns away whoever comes to these sockets: plain HTTP gets a 503, TLS is closed, because a node that belongs to
    /// no cluster knows no site whose certificate it could show.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub fn open(sockets: &Sockets) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for worker in &sockets.workers {
            let plain = worker.http.iter().map(|listener| (listener, true));
            let tls = worker.https.iter().map(|listener| (listener, false));
            for (listener, plain) in plain.chain(tls) {
                let listener = TcpListener::from_std(listener.try_clone()?)?;
                tasks.spawn(turn_away(listener, plain, stop.clone()));
            }
        }
        Ok(Self { stop, tasks })
    }

    /// Lets go of the sockets; who comes from now on waits for the node itself.
    pub async fn close(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a listener that turns clients away panicked");
            }
        }
    }
}

async fn turn_away(listener: TcpListener, plain: bool, stop: CancellationToken) {
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = clients.join_next() => continue,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) if plain && clients.len() < CLIENTS_MAX => {
                // Whether the client took the answer is its own affair.
                clients.spawn(async move {
                    drop(tokio::time::timeout(PATIENCE, answer(stream)).await);
                });
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(REST).await,
        }
    }
}

/// Reads something first: closing a socket with unread bytes would take the answer back.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut heard = [0; 4096];
    if stream.read(&mut heard).await? == 0 {
        return Ok(());
    }
    stream.write_all(ANSWER.as_bytes()).await?;
    stream.shutdown().await?;
    while stream.read(&mut heard).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[tokio::test]
    async fn clients_are_told_and_the_port_is_kept() {
        let any = "127.0.0.1:0".parse().unwrap();
        let sockets = Sockets::bind(&[any], &[any], NonZeroUsize::MIN).unwrap();
        let (http, https) = (sockets.http()[0], sockets.https()[0]);
        let antechamber = Antechamber::open(&sockets).unwrap();

        let mut client = TcpStream::connect(http).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, ANSWER);
        let mut client = TcpStream::connect(https).await.unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);

        antechamber.close().await;
        // The node itself takes over what comes now.
        let _waits = TcpStream::connect(http).await.unwrap();
        let own = &sockets.workers[0].http[0];
        let own = TcpListener::from_std(own.try_clone().unwrap()).unwrap();
        own.accept().await.unwrap();
    }
}
