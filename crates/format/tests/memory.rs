//! What opening a file takes: at most twice its bytes and 64 MiB, whatever its header claims.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    reason = "an allocator that counts is the measurement; a failed unwrap is a failed test"
)]

mod counting;

use apr_format::{open_bytes, parse_json};
use counting::measured;
use std::path::Path;

/// Bytes that `work` takes at its peak, and whether it succeeds.
fn peak<T, E>(work: impl FnOnce() -> Result<T, E>) -> (usize, bool) {
    let (peak, _, result) = measured(work);
    (peak, result.is_ok())
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn gguf(tensors: usize, keys: usize) -> Vec<u8> {
    let counts = [(tensors as u64).to_le_bytes(), (keys as u64).to_le_bytes()].concat();
    [&b"GGUF\x03\0\0\0"[..], &counts].concat()
}

/// An array of so many values of a byte: the smallest values there are.
fn gguf_array(count: usize) -> Vec<u8> {
    let mut file = gguf(0, 1);
    text(&mut file, "k");
    file.extend([9_u32.to_le_bytes(), 0_u32.to_le_bytes()].concat());
    file.extend((count as u64).to_le_bytes());
    file.resize(file.len() + count, 1);
    file
}

fn gguf_keys(count: usize) -> Vec<u8> {
    let mut file = gguf(0, count);
    for at in 0..count {
        text(&mut file, &format!("{at:x}"));
        file.extend([7, 0, 0, 0, 1]);
    }
    file
}

/// Tensors without a byte of data.
fn gguf_tensors(count: usize) -> Vec<u8> {
    let mut file = gguf(count, 0);
    for at in 0..count {
        text(&mut file, &format!("{at:x}"));
        file.extend(1_u32.to_le_bytes());
        file.extend([0; 8 + 4 + 8]);
    }
    file.resize(file.len().next_multiple_of(32), 0);
    file
}

fn safetensors(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()
}

fn safetensors_tensors(count: usize) -> Vec<u8> {
    let entry = |at| format!(r#""{at:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#);
    safetensors(&format!("{{{}}}", (0..count).map(entry).collect::<Vec<_>>().join(",")))
}

fn safetensors_shape(count: usize) -> Vec<u8> {
    let shape = "1,".repeat(count);
    safetensors(&format!(r#"{{"a":{{"dtype":"U8","shape":[{shape}1],"data_offsets":[0,1]}}}}"#))
}

fn safetensors_names(count: usize) -> Vec<u8> {
    let entries: Vec<String> = (0..count).map(|at| format!(r#""{at:x}":0"#)).collect();
    safetensors(&format!("{{{}}}", entries.join(",")))
}

/// One test, because the peak is that of the process.
#[test]
fn twice_the_file_and_64_mib_are_enough() {
    type Make = fn(usize) -> Vec<u8>;
    let files: [(&str, Make, usize); 6] = [
        ("GGUF array", gguf_array, 300_000),
        ("GGUF keys", gguf_keys, 50_000),
        ("GGUF tensors", gguf_tensors, 30_000),
        ("SafeTensors tensors", safetensors_tensors, 20_000),
        ("SafeTensors shape", safetensors_shape, 0),
        ("SafeTensors names", safetensors_names, 0),
    ];
    for (what, make, accepted) in files {
        let mut refused = false;
        for count in [1_000, 10_000, 100_000, 1_000_000, 4_000_000].into_iter().chain([accepted]) {
            let file = make(count);
            let allowed = 2 * file.len() + (64 << 20);
            let (peak, opened) = peak(|| open_bytes(Path::new("file"), file));
            assert!(peak <= allowed, "{what}, {count}: {peak} of {allowed} bytes");
            assert!(opened || accepted == 0 || count != accepted, "{what}: {count} are refused");
            refused |= !opened;
        }
        assert!(refused, "{what}: 4,000,000 are accepted");
    }
    for json in [
        format!("[{}0]", "0,".repeat(4_000_000)),
        format!("{{{}\"a\":0}}", "\"a\":0,".repeat(1_000_000)),
        format!("[{}[]]", "[],".repeat(1_000_000)),
        "[".repeat(4_000_000),
        format!("[{}0]", "0,".repeat(200_000)),
    ] {
        let allowed = 2 * json.len() + (64 << 20);
        let read = || parse_json::<serde_json::Value>(json.as_bytes(), "text");
        let (peak, _) = peak(read);
        assert!(peak <= allowed, "JSON of {} bytes: {peak} of {allowed}", json.len());
    }
}
