//! GGUF by itself: what is written comes back, every form of a file that may be read is read, and
//! every file that breaks a rule is refused by name, at once.

use crate::bench::{assert_same_content, bytes_of, check, said, written};
use crate::gguf_file::{GgufFile, Key, Tensor};
use crate::model::{certificate, content, metadata, new_tensors};
use apr_format::{Format, FormatError, open};
use apr_tensor::DType;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The model's file without certificates, taken apart, and a folder.
fn plain() -> (TempDir, GgufFile) {
    let (folder, path) = written();
    let file = GgufFile::read(&fs::read(path).unwrap());
    (folder, file.without_keys("apr."))
}

#[test]
fn keys_tensors_and_certificates_come_back() {
    let (_folder, path) = written();
    let container = check(&path).unwrap();
    let mut expected = metadata();
    expected.insert("general.alignment".to_owned(), json!(32));
    assert_eq!(container.metadata(), &expected);
    assert_same_content(&container);
    assert!(container.seal().is_some());
    for (at, new) in new_tensors().iter().enumerate() {
        let entry = container.entry(&new.name).unwrap();
        assert_eq!(entry.certificate, Some(certificate(at)));
        assert!(entry.hash.is_some());
    }
}

#[test]
fn a_tensor_in_parts_is_the_same_file_and_a_wrong_length_is_refused() {
    let (folder, path) = written();
    let parts = folder.path().join("parts.gguf");
    let format = Format::of_path(&parts).unwrap();
    let mut writer = format.create(&parts, &metadata(), new_tensors()).unwrap();
    for (at, new) in new_tensors().iter().enumerate() {
        content(new).chunks(7).for_each(|part| writer.append(part).unwrap());
        let too_long = writer.append(&[0]).unwrap_err().to_string();
        assert!(too_long.contains(&new.name), "{too_long}");
        writer.end_tensor(&certificate(at)).unwrap();
    }
    assert!(writer.append(&[0]).unwrap_err().to_string().contains("missing"));
    writer.commit(|_| Ok::<_, FormatError>(())).unwrap();
    assert!(fs::read(&parts).unwrap() == fs::read(&path).unwrap());

    let mut writer = format.create(&parts, &metadata(), new_tensors()).unwrap();
    writer.append(&[1, 2]).unwrap();
    assert!(writer.end_tensor(&certificate(0)).is_err());
    assert!(writer.commit(|_| Ok::<_, FormatError>(())).is_err());
}

#[test]
fn every_version_byte_order_and_alignment_is_the_same_model() {
    let (folder, plain) = plain();
    let path = folder.path().join("form.gguf");
    let mut count = 0;
    for (version, big_endian) in [(2, false), (3, false), (3, true)] {
        for (alignment, padded) in [(32, true), (32, false), (8, true), (256, false)] {
            let mut file = GgufFile { version, big_endian, alignment, padded, ..plain.clone() };
            file.keys.retain(|key| key.name != "general.alignment");
            if alignment != 32 {
                file.keys.push(Key::number("general.alignment", 4, alignment as u64));
            }
            fs::write(&path, file.write()).unwrap();
            let container = open(&path).unwrap();
            assert_same_content(&container);
            for (key, value) in metadata() {
                assert_eq!(container.metadata()[&key], value, "{key}");
            }
            assert!(container.seal().is_none());
            count += 1;
        }
    }
    assert_eq!(count, 12);
}

#[test]
fn keys_of_every_type_are_read() {
    let (folder, mut file) = plain();
    let list = |kind: u32, count: u64, values: &[u8]| {
        [&kind.to_le_bytes()[..], &count.to_le_bytes(), values].concat()
    };
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let nested = list(9, 2, &[list(0, 2, &[7, 8]), list(8, 1, &text("x"))].concat());
    let cases = [
        (0, vec![200], json!(200)),
        (1, vec![200], json!(-56)),
        (2, vec![0, 2], json!(512)),
        (3, vec![0, 0xfe], json!(-512)),
        (4, 7_u32.to_le_bytes().to_vec(), json!(7)),
        (5, (-7_i32).to_le_bytes().to_vec(), json!(-7)),
        (6, 1.5_f32.to_le_bytes().to_vec(), json!(1.5)),
        (7, vec![1], json!(true)),
        (8, text("tëxt"), json!("tëxt")),
        (9, nested, json!([[7, 8], ["x"]])),
        (10, u64::MAX.to_le_bytes().to_vec(), json!(u64::MAX)),
        (11, i64::MIN.to_le_bytes().to_vec(), json!(i64::MIN)),
        (12, 0.1_f64.to_le_bytes().to_vec(), json!(0.1)),
    ];
    for (kind, value, _) in &cases {
        file.keys.push(Key { name: format!("kind.{kind}"), kind: *kind, value: value.clone() });
    }
    let path = folder.path().join("kinds.gguf");
    for big_endian in [false, true] {
        file.big_endian = big_endian;
        fs::write(&path, file.write()).unwrap();
        let container = open(&path).unwrap();
        for (kind, _, value) in &cases {
            assert_eq!(&container.metadata()[&format!("kind.{kind}")], value);
        }
    }
}

/// The model in three files, as gguf-split makes them; the first may be without tensors.
fn split(folder: &Path, plain: &GgufFile, first: usize) -> Vec<(PathBuf, GgufFile)> {
    let ends = [first, first + 1, plain.tensors.len()];
    let mut begin = 0;
    (0_u64..)
        .zip(ends)
        .map(|(number, end)| {
            let mut file = plain.clone();
            if number > 0 {
                file.keys.clear();
            }
            file.keys.push(Key::number("split.no", 2, number));
            file.keys.push(Key::number("split.count", 2, 3));
            file.keys.push(Key::number("split.tensors.count", 5, plain.tensors.len() as u64));
            file.tensors = plain.tensors[begin..end].to_vec();
            begin = end;
            let path = folder.join(format!("model-{:05}-of-00003.gguf", number + 1));
            fs::write(&path, file.write()).unwrap();
            (path, file)
        })
        .collect()
}

#[test]
fn any_part_of_a_split_model_opens_all() {
    for first in [0, 2] {
        let (folder, plain) = plain();
        let parts = split(folder.path(), &plain, first);
        for (path, _) in &parts {
            let container = open(path).unwrap();
            assert_same_content(&container);
            assert_eq!(container.files().len(), 3);
            assert_eq!(container.path(), parts[0].0);
            assert_eq!(container.metadata()["general.architecture"], json!("test"));
        }
    }
}

#[test]
fn parts_that_are_missing_or_disagree_are_named() {
    let (folder, plain) = plain();
    let folder = folder.path();
    let parts = split(folder, &plain, 1);
    let open_first = || match open(&parts[0].0) {
        Ok(_) => "it opens".to_owned(),
        Err(error) => error.to_string(),
    };
    let second = |change: &dyn Fn(&mut GgufFile)| {
        let mut file = parts[1].1.clone();
        change(&mut file);
        fs::write(&parts[1].0, file.write()).unwrap();
        let said = open_first();
        fs::write(&parts[1].0, parts[1].1.write()).unwrap();
        said
    };
    for (what, said, words) in [
        ("number", second(&|file| file.keys[0].value[0] = 2), "split.no is 2"),
        ("count", second(&|file| file.keys[1].value[0] = 4), "split.count is 4"),
        ("total", second(&|file| file.keys[2].value[0] += 1), "split.tensors.count is"),
        ("no number", second(&|file| drop(file.keys.remove(0))), "\"split.no\" is missing"),
        ("a tensor twice", second(&|file| file.tensors[0] = plain.tensors[0].clone()), "twice"),
        ("a tensor too few", second(&|file| file.tensors.clear()), "split.tensors.count is"),
    ] {
        assert!(said.contains(words) && said.contains("model-0000"), "{what}: {said}");
    }
    let other = folder.join("other.gguf");
    fs::copy(&parts[1].0, &other).unwrap();
    let said = open(&other).err().unwrap().to_string();
    assert!(said.contains("is not NAME-00001-of-0000N.gguf"), "{said}");
    fs::remove_file(&parts[2].0).unwrap();
    assert!(open_first().contains("model-00003-of-00003.gguf"), "{}", open_first());
}

/// Refused, by name, before any loop believed a count.
fn assert_refused(folder: &Path, what: &str, bytes: &[u8], words: &str) {
    let begun = Instant::now();
    let said = said(folder, bytes);
    assert!(said.contains(words) && said.contains("broken.gguf"), "{what}: {said}");
    assert!(begun.elapsed() < Duration::from_secs(1), "{what}: {:?}", begun.elapsed());
}

#[test]
fn arrays_beyond_their_bounds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let array = |kind: u32, count: u64, depth: usize| {
        let mut value = Vec::new();
        for _ in 1..depth {
            value.extend(9_u32.to_le_bytes());
            value.extend(1_u64.to_le_bytes());
        }
        value.extend(kind.to_le_bytes());
        value.extend(count.to_le_bytes());
        value
    };
    // The helper cannot walk what is beyond all bounds, so that these are put together by hand.
    let raw = |value: Vec<u8>| {
        let start = [&b"GGUF\x03\0\0\0"[..], &0_u64.to_le_bytes(), &1_u64.to_le_bytes()].concat();
        [start, 1_u64.to_le_bytes().to_vec(), b"k".to_vec(), 9_u32.to_le_bytes().to_vec(), value]
            .concat()
    };
    for (what, bytes, words) in [
        ("array count", raw(array(4, u64::MAX, 1)), "GGUF array needs"),
        ("array of 2^40", raw([array(0, 1 << 40, 1), vec![0; 64]].concat()), "GGUF array needs"),
        (
            "too many values",
            raw([array(0, 5 << 20, 1), vec![0; 5 << 20]].concat()),
            "5242880 values in GGUF arrays",
        ),
        ("depth", raw(array(0, 0, 6)), "depth of a GGUF array"),
        ("kind", raw([array(13, 1, 1), vec![0; 9]].concat()), "type of a GGUF value"),
    ] {
        assert_refused(folder.path(), what, &bytes, words);
    }
}

#[test]
fn headers_that_break_a_rule_are_refused() {
    let (folder, plain) = plain();
    let with_key = |key: Key| {
        let mut file = plain.clone();
        file.keys.push(key);
        file.write()
    };
    let with_tensor = |change: &dyn Fn(&mut Tensor)| {
        let mut file = plain.clone();
        change(&mut file.tensors[1]);
        file.write()
    };
    let with_alignment = |alignment: u64| {
        let mut file = plain.clone();
        file.keys[0] = Key::number("general.alignment", 4, alignment);
        file.write()
    };
    let name = &plain.tensors[1].name;
    let good = plain.write();
    let huge = |at: usize| [&good[..at], &u64::MAX.to_le_bytes(), &good[at + 8..]].concat();
    for (what, bytes, words) in [
        ("tensor count", huge(8), "list of tensors needs"),
        ("key count", huge(16), "list of keys needs"),
        ("key twice", with_key(plain.keys[1].clone()), "occurs twice"),
        ("alignment", with_alignment(3), "power of two"),
        ("huge alignment", with_alignment(1 << 21), "power of two"),
        (
            "text",
            with_key(Key {
                name: "x".into(),
                kind: 8,
                value: [&[1; 1][..], &[0; 7], &[0xff]].concat(),
            }),
            "not UTF-8",
        ),
        ("name twice", with_tensor(&|t| t.name = plain.tensors[0].name.clone()), "occurs twice"),
        ("type", with_tensor(&|t| t.dtype = 0x1001), "unknown type 4097"),
        ("rank", with_tensor(&|t| t.dims = vec![1; 9]), "rank"),
        ("overflow", with_tensor(&|t| t.dims = vec![1 << 40; 3]), name),
        ("rows", with_tensor(&|t| t.dims[0] += 1), name),
        ("overlap", with_tensor(&|t| t.dims[1] *= 8), "begins at byte"),
        ("hole", with_tensor(&|t| t.dims[1] = 0), "begins at byte"),
        ("trailing", [&good[..], &[0; 32]].concat(), "the header accounts for"),
        ("truncated", good[..good.len() - 64].to_vec(), "truncated"),
    ] {
        assert_refused(folder.path(), what, &bytes, words);
    }
    for len in 0..good.len() {
        let said = said(folder.path(), &good[..len]);
        assert!(!said.contains("it opens") || len + 32 > good.len(), "{len} bytes: {said}");
    }
}

#[test]
fn no_damage_makes_it_panic() {
    // Without the seal's key, so that it is the rules that refuse, or not.
    let (folder, plain) = plain();
    let (good, path) = (plain.write(), folder.path().join("broken.gguf"));
    fs::write(&path, &good).unwrap();
    let mut put = bytes_of(&path);
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut opened = 0;
    for round in 0..3000 {
        let places: Vec<usize> = (0..1 + round % 4).map(|_| random(good.len())).collect();
        for &at in &places {
            put(at, [0, 1, 0x7f, 0xff, random(256) as u8][random(5)]);
        }
        if let Ok(container) = open(&path) {
            opened += 1;
            for entry in container.tensors() {
                container.tensor(&entry.name).unwrap();
            }
        }
        places.iter().for_each(|&at| put(at, good[at]));
    }
    assert!(opened > 100 && opened < 2900, "{opened}");
}

#[test]
fn what_llama_cpp_would_not_load_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    let refused = |change: &dyn Fn(&mut apr_format::Metadata, &mut Vec<apr_format::NewTensor>)| {
        let (mut keys, mut tensors) = (metadata(), new_tensors());
        change(&mut keys, &mut tensors);
        let created = Format::of_path(&path).unwrap().create(&path, &keys, tensors);
        created.err().map_or("it is begun".to_owned(), |error| error.to_string())
    };
    let layout = |dtype, shape: &[usize]| apr_tensor::TensorLayout::new(dtype, shape).unwrap();
    for (said, words) in [
        (refused(&|_, tensors| tensors[0].name = "n".repeat(64)), "1 to 63 bytes"),
        (refused(&|_, tensors| tensors[0].name = String::new()), "1 to 63 bytes"),
        (refused(&|_, tensors| tensors.push(tensors[0].clone())), "occurs twice"),
        (refused(&|_, t| t[0].layout = layout(DType::F32, &[1; 5])), "at most 4 dimensions"),
        (refused(&|_, t| t[0].layout = layout(DType::U8, &[4])), "unknown type U8"),
        (refused(&|k, _| drop(k.insert("apr.seal".into(), json!("x")))), "the writer's own"),
        (refused(&|k, _| drop(k.insert("x".into(), json!({})))), "\"x\" has a value without"),
    ] {
        assert!(said.contains(words) && said.contains("x.gguf"), "{said}");
    }
    assert!(!path.exists());
}
