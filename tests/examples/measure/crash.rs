//! Nodes are killed at random moments while origins break off at random places, and every body is checked.

use std::time::Duration;

use nearside_tests::{Lab, Load, Mode, Origin, Plan, Reply};
use rand::Rng;

/// True when no client got a wrong body, nor a short one that looked whole.
pub(crate) async fn measure(kills: usize) -> bool {
    let lab = Lab::start(Plan::three_regions().apart(Duration::from_millis(5))).await;
    let (first, second) = (Origin::start().await, Origin::start().await);
    let text = format!(
        "name = \"shop\"\nhosts = [\"shop.example\"]\n[[origin]]\nurl = \"{}\"\n[[origin]]\nurl = \"{}\"\n\
         [cache]\nstale_if_error = \"1m\"\n",
        first.url(),
        second.url()
    );
    lab.apply("site", "shop", &text).await;
    let mut paths: Vec<String> = (0..50)
        .map(|n| format!("/c/{}/p{n}", 1 + n * n * 500))
        .collect();
    for number in 0..20 {
        let path = format!("/torn{number}");
        for origin in [&first, &second] {
            let name = path.clone();
            origin.script(&path, move |_| torn(&name, number));
        }
        paths.push(path);
    }
    let targets: Vec<_> = lab.nodes().iter().map(|node| node.http()).collect();
    let load = Load::start(
        10,
        &targets,
        "shop.example",
        &paths,
        Duration::from_millis(1),
    );
    for number in 0..kills {
        let node = &lab.nodes()[number % lab.nodes().len()];
        pause(50, 800).await;
        if number % 5 == 4 {
            first.set_mode(Mode::Refusing);
        }
        node.kill();
        pause(0, 300).await;
        first.set_mode(Mode::Up);
        node.start().await;
    }
    let tally = load.stop().await;
    println!(
        "{kills} kills: {} right bodies, {} visible failures, {} wrong",
        tally.sound, tally.failed, tally.wrong
    );
    for words in tally
        .words
        .iter()
        .filter(|words| words.starts_with("WRONG"))
    {
        println!("{words}");
    }
    tally.wrong == 0 && tally.sound > 0
}

async fn pause(least_ms: u64, most_ms: u64) {
    let time = rand::rng().random_range(least_ms..=most_ms);
    tokio::time::sleep(Duration::from_millis(time)).await;
}

/// Short-lived content, one time in three broken off somewhere, with and without a length.
fn torn(path: &str, number: usize) -> Reply {
    let mut random = rand::rng();
    let length = 40_000 * (1 + number);
    let reply = Reply::content(path, 1, length)
        .cache_control("max-age=1")
        .in_pieces(8, Duration::from_millis(random.random_range(0..10)));
    let reply = if number.is_multiple_of(2) {
        reply.chunked()
    } else {
        reply
    };
    if random.random_range(0..3) == 0 {
        reply.break_after(random.random_range(0..length))
    } else {
        reply
    }
}
