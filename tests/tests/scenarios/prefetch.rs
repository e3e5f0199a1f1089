//! What the operator has fetched before clients ask for it.

use nearside_tests::{Mode, Reply, run};

use crate::stage::Stage;

#[test]
fn a_list_of_urls_is_fetched_and_found_by_the_next_clients() {
    run(async {
        let stage = Stage::new().await;
        stage
            .origin
            .on("/private", Reply::new("x").cache_control("private"));
        let paths: Vec<String> = (0..40).map(|n| format!("/c/{}/p{n}", 2000 + n)).collect();
        stage.fetch(&paths[7]).await;
        let mut list = String::from("# what the front page needs\n\n");
        for path in &paths {
            list.push_str(&format!("  {}\n", stage.url(path)));
        }
        list.push_str(&stage.url("/private"));
        let file = stage.node().home().join(format!("{}.txt", stage.site));
        std::fs::write(&file, list).unwrap();
        let file = file.to_str().unwrap();
        let prefetch = [
            "prefetch",
            "--site",
            &stage.site,
            file,
            "--concurrency",
            "4",
        ];
        let said = stage.node().run_plain(&prefetch).await.ok();
        for words in [
            "39 stored, 1 already fresh, 1 not storable, 0 failed",
            "not storable (private): http",
        ] {
            assert!(said.stdout.contains(words), "{}", said.told());
        }
        for path in &paths {
            let got = stage.fetch(path).await;
            assert!(got.is_hit(), "{path}: {}", got.cache_status());
            assert_eq!(stage.origin.asked_for(path), 1);
        }
        // At that node only.
        let other = stage.lab.node("sin1");
        assert!(!other.fetch(&stage.host, &paths[0]).await.is_hit());
    });
}

#[test]
fn what_could_not_be_fetched_is_named_and_the_command_fails() {
    run(async {
        let stage = Stage::new().await;
        stage.origin.on("/broken", Reply::new("x").status(500));
        stage.origin.on(
            "/gone",
            Reply::new("x").status(404).cache_control("max-age=60"),
        );
        let urls = ["/broken", "/gone", "/c/10/x"].map(|path| stage.url(path));
        let [broken, gone, good] = &urls;
        let ask = async |urls: &[&str]| {
            let prefetch = [&["prefetch", "--site", &stage.site], urls].concat();
            stage.node().run(&prefetch).await
        };
        let said = ask(&[broken, gone, good]).await;
        assert_eq!(said.code, Some(1), "{}", said.told());
        let told: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!((&told["stored"], &told["failed"]), (&2.into(), &1.into()));
        assert_eq!(told["missing"][0]["url"], **broken);
        stage.origin.set_mode(Mode::Refusing);
        let fresh = ask(&[good]).await.ok();
        assert!(fresh.stdout.contains("\"fresh\": 1"), "{}", fresh.told());
        let new = stage.url("/c/10/new");
        assert_eq!(ask(&[&new]).await.code, Some(1));
        let elsewhere = ask(&["http://nobody.example/x"]).await;
        assert_eq!(elsewhere.code, Some(1), "{}", elsewhere.told());
        let node = stage.node();
        node.run(&["prefetch", "--site", "no-such-site", good])
            .await
            .refused(&["no-such-site"]);
        node.run(&["prefetch", "--site", &stage.site, "no-such-file"])
            .await
            .refused(&["no-such-file"]);
    });
}
