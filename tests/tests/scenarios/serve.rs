//! One process in front of an application, and its store across restarts.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use nearside_tests::{Mode, Origin, Serve, eventually, patience, run};

/// Bodies that fill more than one of the store's write buffers.
fn paths(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("/c/400000/p{number}"))
        .collect()
}

#[test]
fn serve_caches_for_any_host_and_says_hit() {
    run(async {
        let origin = Origin::start().await;
        let port = origin.address.port().to_string();
        let serve = Serve::start(&[&port], &["--access-log", "human"]).await;
        let path = "/c/5000/page";
        let first = serve.get(path).send().await.sound(path);
        assert!(!first.is_hit(), "{}", first.cache_status());
        let second = serve.get(path).send().await.sound(path);
        assert!(second.is_hit(), "{}", second.cache_status());
        let elsewhere = nearside_tests::Request::get("another.example", path);
        elsewhere.to(serve.address).send().await.sound(path);
        eventually("the log says hit", patience(), async || {
            let log = serve.log();
            if log.contains("hit") {
                Ok(())
            } else {
                Err(log)
            }
        })
        .await;
    });
}

#[test]
fn serve_on_loopback_takes_what_a_proxy_in_front_brings() {
    run(async {
        let origin = Origin::start().await;
        let serve = Serve::start(&[&origin.url()], &[]).await;
        let mut connections = Vec::new();
        for _ in 0..400 {
            connections.push(TcpStream::connect(serve.address).await.unwrap());
        }
        for mut connection in connections {
            let request = b"GET /c/100/page HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            connection.write_all(request).await.unwrap();
            let mut answer = Vec::new();
            connection.read_to_end(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    });
}

#[test]
fn serve_takes_a_url_and_a_second_origin_stands_in() {
    run(async {
        let (first, second) = (Origin::start().await, Origin::start().await);
        let serve = Serve::start(&[&first.url(), &second.url()], &[]).await;
        first.set_mode(Mode::Refusing);
        for path in ["/c/100/a", "/c/100/b", "/c/100/c"] {
            serve.get(path).send().await.sound(path);
        }
    });
}

#[test]
fn serve_says_in_one_line_what_is_wrong() {
    run(async {
        for (arguments, word) in [
            (&["serve"][..], "origin"),
            (&["serve", "--origin", "ftp://x"][..], "ftp"),
            (&["serve", "--origin", "99999"][..], "99999"),
        ] {
            let said = nearside_tests::run_program(arguments).await;
            assert!(matches!(said.code, Some(1 | 2)), "{}", said.told());
            assert!(said.stderr.contains(word), "{}", said.told());
        }
    });
}

#[test]
fn the_cache_is_warm_after_a_restart() {
    run(async {
        let origin = Origin::start().await;
        let serve = Serve::start(&[&origin.url()], &[]).await;
        let paths = paths(30);
        for path in &paths {
            serve.get(path).send().await.sound(path);
        }
        serve.terminate().await;
        serve.again().await;
        for path in &paths {
            let got = serve.get(path).send().await.sound(path);
            assert!(got.is_hit(), "{path}: {}", got.cache_status());
        }
        assert_eq!(origin.asked(), paths.len() as u64);
    });
}

#[test]
fn the_cache_is_warm_after_kill_9_but_for_the_last_seconds() {
    run(async {
        let origin = Origin::start().await;
        let serve = Serve::start(&[&origin.url()], &[]).await;
        // A write buffer is a sixty-fourth of the folder's bound, at most 64 MiB: this is more than two.
        let paths = paths(450);
        for path in &paths {
            serve.get(path).send().await.sound(path);
        }
        serve.kill();
        serve.again().await;
        let mut hits = 0;
        for path in &paths {
            hits += usize::from(serve.get(path).send().await.sound(path).is_hit());
        }
        assert!(hits * 10 >= paths.len(), "{hits} hits of {}", paths.len());
    });
}

#[test]
fn a_corrupt_body_is_a_miss() {
    run(async {
        let origin = Origin::start().await;
        let serve = Serve::start(&[&origin.url()], &[]).await;
        let paths = paths(20);
        for path in &paths {
            serve.get(path).send().await.sound(path);
        }
        serve.terminate().await;
        let damaged = damage(&serve.data());
        assert!(damaged > 0, "no file with bodies under {:?}", serve.data());
        serve.again().await;
        let mut misses = 0;
        for path in &paths {
            misses += usize::from(!serve.get(path).send().await.sound(path).is_hit());
        }
        assert!(misses > 0, "every body was damaged and none was missed");
        for path in &paths {
            assert!(
                serve.get(path).send().await.sound(path).is_hit(),
                "not stored again"
            );
        }
    });
}

/// Flips a byte in every eight kilobytes of every file that holds bodies.
fn damage(folder: &std::path::Path) -> usize {
    let mut damaged = 0;
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "blob") {
                let mut bytes = std::fs::read(&path).unwrap();
                let end = bytes.len().saturating_sub(4096);
                for at in (4096..end).step_by(8192) {
                    bytes[at] ^= 0xff;
                }
                std::fs::write(&path, bytes).unwrap();
                damaged += 1;
            }
        }
    }
    damaged
}
