use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;
use crate::config::site::{ProtectSettings, Rate, Site};

fn site(protect: ProtectSettings) -> Arc<Site> {
    Arc::new(Site {
        name: "shop".into(),
        hosts: vec!["shop.example".into()],
        protect,
        revision: 1,
        ..Site::default()
    })
}

fn protect() -> (Protect, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let country: LocateCountry = Arc::new(move |address: IpAddr| {
        count.fetch_add(1, Ordering::Relaxed);
        (address == "192.0.2.66".parse::<IpAddr>().ok()?).then_some(*b"XX")
    });
    (Protect::new(country, ProtectMetrics::default()), asked)
}

#[test]
fn lists_deny_and_rates_slow_down() {
    let (protect, asked) = protect();
    let now = Instant::now();
    let verdict =
        |site: &Arc<Site>, client: &str| protect.verdict(site, client.parse().unwrap(), now);
    let open = site(ProtectSettings::default());
    assert_eq!(verdict(&open, "192.0.2.66"), Verdict::Pass);
    assert_eq!(asked.load(Ordering::Relaxed), 0);

    let fenced = site(ProtectSettings {
        deny_networks: vec![
            "198.51.100.7/24".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ],
        deny_countries: vec![*b"XX"],
        rate: Some(Rate {
            per_second: 1.0,
            burst: 1,
        }),
        ..ProtectSettings::default()
    });
    assert_eq!(
        verdict(&fenced, "198.51.100.200"),
        Verdict::Deny(Denied::Network)
    );
    assert_eq!(
        verdict(&fenced, "::ffff:198.51.100.1"),
        Verdict::Deny(Denied::Network)
    );
    assert_eq!(
        verdict(&fenced, "2001:db8:5::1"),
        Verdict::Deny(Denied::Network)
    );
    assert_eq!(
        verdict(&fenced, "192.0.2.66"),
        Verdict::Deny(Denied::Country)
    );
    assert_eq!(verdict(&fenced, "198.51.101.1"), Verdict::Pass);
    let retry_after = Duration::from_secs(1);
    assert_eq!(
        verdict(&fenced, "198.51.101.1"),
        Verdict::Slow { retry_after }
    );

    // A new version of the site is compiled anew.
    let opened = site(ProtectSettings {
        deny_networks: vec!["203.0.113.0/24".parse().unwrap()],
        ..ProtectSettings::default()
    });
    assert_eq!(verdict(&opened, "198.51.100.200"), Verdict::Pass);
    assert_eq!(
        verdict(&opened, "203.0.113.1"),
        Verdict::Deny(Denied::Network)
    );
}
