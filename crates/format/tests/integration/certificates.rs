//! Certificates in GGUF: no byte of a certified file changes unnoticed.

use crate::bench::{assert_same_content, bytes_of, check, said, written};
use crate::gguf_file::GgufFile;
use apr_format::open;
use std::fs;

#[test]
fn no_byte_of_a_certified_file_changes_unnoticed() {
    let (_folder, path) = written();
    let good = fs::read(&path).unwrap();
    let mut put = bytes_of(&path);
    for (at, &byte) in good.iter().enumerate() {
        for flip in [0x01, 0x20, 0x80] {
            put(at, byte ^ flip);
            assert!(check(&path).is_err(), "byte {at} ^ {flip:#x} of {}", good.len());
        }
        put(at, byte);
    }
    assert!(check(&path).is_ok());
    for len in [good.len() - 1, good.len() - 32] {
        fs::write(&path, &good[..len]).unwrap();
        assert!(check(&path).is_err(), "{len} bytes of {}", good.len());
    }
}

#[test]
fn the_keys_of_a_certificate_stand_together_and_fit() {
    let (folder, path) = written();
    let good = GgufFile::read(&fs::read(path).unwrap());
    let key = |name: &str| good.keys.iter().position(|key| key.name == name).unwrap();
    let (records, seal) = (key("apr.certificates"), key("apr.seal"));
    let changed = |change: &dyn Fn(&mut GgufFile)| {
        let mut file = good.clone();
        change(&mut file);
        file.write()
    };
    // The seal is checked first, so that what is behind it needs one that holds.
    let resealed = |change: &dyn Fn(&mut GgufFile)| {
        let mut file = good.clone();
        change(&mut file);
        file.keys[seal].value[8..].fill(b'0');
        let bytes = file.write();
        let header = bytes.len()
            - file.tensors.iter().map(|t| t.data.len().next_multiple_of(32)).sum::<usize>();
        let digest = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes[..header]));
        file.keys[seal].value[8..].copy_from_slice(digest.as_bytes());
        file.write()
    };
    assert_eq!(said(folder.path(), &resealed(&|_| ())), "it opens");
    for (what, bytes, words) in [
        ("no seal", changed(&|file| drop(file.keys.remove(seal))), "without apr.seal"),
        ("no records", changed(&|file| drop(file.keys.remove(records))), "without apr.cert"),
        ("another key", changed(&|file| file.keys[1].value[8] ^= 1), "seal is"),
        ("a renamed tensor", changed(&|file| file.tensors[0].name = "b".into()), "seal is"),
        ("no digits", changed(&|file| file.keys[seal].value[9] = b'x'), "no number"),
        ("seal of another type", changed(&|file| file.keys[seal].kind = 4), "no text of 32"),
        ("records of another type", changed(&|file| file.keys[records].value[0] = 1), "no array"),
        (
            "records of fewer tensors",
            resealed(&|file| {
                let value = &mut file.keys[records].value;
                value.truncate(value.len() - 96);
                let len = value.len() as u64 - 12;
                value[4..12].copy_from_slice(&len.to_le_bytes());
            }),
            "one record of 96 bytes for each tensor",
        ),
        (
            "unknown flags",
            resealed(&|file| file.keys[records].value[12 + 20] = 2),
            "unknown source flags",
        ),
        (
            "unknown source type",
            resealed(&|file| file.keys[records].value[12 + 16] = 99),
            "99 of the source",
        ),
        (
            "twice",
            changed(&|file| file.keys.push(file.keys[seal].clone())),
            "\"apr.seal\" occurs twice",
        ),
    ] {
        let said = said(folder.path(), &bytes);
        assert!(said.contains(words) && said.contains("broken.gguf"), "{what}: {said}");
    }
}

#[test]
fn a_seal_holds_in_the_other_byte_order() {
    let (folder, path) = written();
    let mut file = GgufFile::read(&fs::read(&path).unwrap());
    file.big_endian = true;
    let turned = folder.path().join("turned.gguf");
    fs::write(&turned, file.write()).unwrap();
    let (container, original) = (check(&turned).unwrap(), open(&path).unwrap());
    assert_eq!(container.seal(), original.seal());
    assert_same_content(&container);
    file.keys[1].value[8] ^= 1;
    assert!(said(folder.path(), &file.write()).contains("seal is"));
}
