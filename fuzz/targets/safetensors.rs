//! A file of this format, whatever its bytes. Sums and sizes are corrected once it was tried as it is.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| apr_fuzz::model_file(bytes));
