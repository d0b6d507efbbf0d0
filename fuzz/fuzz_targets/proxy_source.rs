#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agent_vault_fuzz::proxy::source(data));
