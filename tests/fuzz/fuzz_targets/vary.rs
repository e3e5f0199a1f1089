#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nearside_node::proxy::fuzzing::vary(data));
