//! What is written today must be read by every later version: one file of each kind, kept in `golden/`.
//!
//! `GOLDEN=write cargo test` writes missing ones. A file that is there is never rewritten: a difference means that a
//! cluster being upgraded would not understand itself, so the codec's version has to change, or the change has to go.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::raft::{decode, encode};

/// The value must be written as the file says, and what is read from the file must be written the same again.
pub(crate) fn check<T: Serialize + DeserializeOwned>(name: &str, value: &T) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(format!("{name}.msgpack"));
    let written = encode(value).unwrap();
    if !path.exists() && std::env::var_os("GOLDEN").is_some_and(|how| how == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &written).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|_| panic!("{} is missing", path.display()));
    assert_eq!(
        hex::encode(&written),
        hex::encode(&golden),
        "{name} is written in another way than before"
    );
    let read: T = decode(&golden).unwrap();
    assert_eq!(encode(&read).unwrap(), golden, "{name} lost something");
}
