use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Authority, ClusterKey, Files, Identity, NodeKey, Token, TokenError, is_due};
use crate::state::NodeId;

const CLUSTER: [u8; 16] = [7; 16];

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

#[test]
fn a_signed_certificate_carries_the_id_and_chains_to_the_ca() {
    let authority = Authority::make(CLUSTER, now()).unwrap();
    let key = NodeKey::generate().unwrap();
    let request = key.signing_request().unwrap();
    let certificate = authority.sign_request(NodeId(42), &request, now()).unwrap();
    assert_eq!(Identity::id_in(&CLUSTER, &certificate), Some(NodeId(42)));
    assert_eq!(Identity::id_in(&[8; 16], &certificate), None);
    let (_, ca) = X509Certificate::from_der(authority.certificate()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&certificate).unwrap();
    leaf.verify_signature(Some(ca.public_key())).unwrap();
    let an_hour_ago = i64::try_from(1_800_000_000_u64 - 3600).unwrap();
    assert!(leaf.validity().not_before.timestamp() < an_hour_ago);
}

#[test]
fn a_tampered_request_is_refused() {
    let authority = Authority::make(CLUSTER, now()).unwrap();
    let mut request = NodeKey::generate().unwrap().signing_request().unwrap();
    let last = request.len() - 5;
    request[last] ^= 1;
    assert!(authority.sign_request(NodeId(3), &request, now()).is_err());
}

#[test]
fn the_ca_key_opens_only_with_its_cluster_key_and_for_its_cluster() {
    let authority = Authority::make(CLUSTER, now()).unwrap();
    let key = ClusterKey::generate().unwrap();
    let sealed = authority.key_sealed(&key).unwrap();
    let certificate = authority.certificate().to_vec();
    assert!(Authority::open(CLUSTER, &certificate, &sealed, &key).is_ok());
    let other = ClusterKey::generate().unwrap();
    assert!(Authority::open(CLUSTER, &certificate, &sealed, &other).is_err());
    assert!(Authority::open([8; 16], &certificate, &sealed, &key).is_err());
    assert!(Authority::open(CLUSTER, &certificate, &sealed[..5], &key).is_err());
}

#[test]
fn a_certificate_is_due_after_two_thirds_of_its_life() {
    let authority = Authority::make(CLUSTER, now()).unwrap();
    let certificate = authority
        .sign_own(NodeId(1), &NodeKey::generate().unwrap(), now())
        .unwrap();
    let days = |days: u64| now() + Duration::from_secs(days * 24 * 3600);
    assert!(!is_due(&certificate, days(1)));
    assert!(!is_due(&certificate, days(230)));
    assert!(is_due(&certificate, days(250)));
    assert!(is_due(&certificate, days(500)));
}

#[test]
fn tokens_survive_text_and_tell_what_is_wrong() {
    let token = Token::generate(vec!["a:1".into()], b"ca").unwrap();
    let text = token.text().unwrap();
    assert_eq!(Token::parse(&format!(" {text}\n")).unwrap(), token);
    for wrong in ["", "hello", &text[..text.len() - 3], "nearside-join-"] {
        assert!(matches!(Token::parse(wrong), Err(TokenError::Malformed(_))));
    }
}

#[test]
fn an_identity_is_there_once_its_certificate_is_and_secrets_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::open(dir.path().join("identity")).unwrap();
    assert!(files.load().unwrap().is_none());
    let key = files.node_key().unwrap();
    assert_eq!(files.node_key().unwrap().pkcs8(), key.pkcs8());
    assert_eq!(files.join_command().unwrap(), files.join_command().unwrap());
    assert!(files.load().unwrap().is_none());
    let authority = Authority::make(CLUSTER, now()).unwrap();
    let certificate = authority.sign_own(NodeId(9), &key, now()).unwrap();
    let cluster_key = ClusterKey::generate().unwrap();
    files
        .save(&certificate, authority.certificate(), &cluster_key)
        .unwrap();
    let (identity, read_key) = files.load().unwrap().unwrap();
    assert_eq!((identity.id, identity.cluster), (NodeId(9), CLUSTER));
    assert_eq!(read_key.bytes(), cluster_key.bytes());
    for secret in ["node.key", "cluster.key"] {
        let mode = dir.path().join("identity").join(secret).metadata().unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600, "{secret}");
    }
}
