//! The tour a newcomer takes.

use std::time::Duration;

use nearside_tests::{lab, run, run_program_for};

#[test]
fn the_demo_ends_well() {
    run(async {
        let _turn = lab::turn().await;
        let said = run_program_for(&["demo", "--once"], Duration::from_secs(240))
            .await
            .ok();
        for country in ["Germany", "Japan", "United States"] {
            assert!(said.stdout.contains(country), "{}", said.told());
        }
    });
}
