//! Logits of a reference in a file, at two bytes a value (docs/evaluation.md).

use crate::{Error, units};
use apr_format::{AtomicFile, Hash128, SystemDisk};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"aprlogit";
const VERSION: u32 = 1;
const HEADER: usize = 48;
/// Smallest logit, step and digest of a position.
const PREFIX: usize = 4 + 4 + 16;
/// Steps between the smallest and the largest logit of a position.
const STEPS: f32 = 65_535.0;

/// What the logits were computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) vocab: usize,
    pub(super) window: usize,
    pub(super) positions: usize,
    pub(super) tokens: Hash128,
}

impl Subject {
    pub(super) fn new(vocab: usize, window: usize, tokens: &[u32]) -> Self {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        let positions = tokens.chunks(window).map(|window| window.len().saturating_sub(1)).sum();
        Self { vocab, window, positions, tokens: Hash128::of(&bytes) }
    }

    fn header(&self) -> Vec<u8> {
        let number = |number: usize| units::size(number).to_le_bytes();
        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        header.extend(u32::try_from(self.vocab).unwrap_or(u32::MAX).to_le_bytes());
        header.extend(number(self.window));
        header.extend(number(self.positions));
        header.extend(self.tokens.0.to_le_bytes());
        header
    }

    fn file_len(&self) -> u64 {
        units::size(HEADER + self.positions * (PREFIX + 2 * self.vocab))
    }
}

/// Rounds the logits of a position: each is the smallest and a whole number of steps of
/// (largest − smallest) / 65,535, so that none changes by more than half a step.
fn pack(logits: &[f32], out: &mut Vec<u8>) {
    let least = logits.iter().copied().fold(f32::INFINITY, f32::min);
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let step = (most - least) / STEPS;
    out.clear();
    out.extend(least.to_le_bytes());
    out.extend(step.to_le_bytes());
    let inverse = if step > 0.0 { 1.0 / f64::from(step) } else { 0.0 };
    for logit in logits {
        let steps = ((f64::from(*logit) - f64::from(least)) * inverse).round();
        #[allow(clippy::cast_possible_truncation, reason = "the cast clamps to what a u16 holds")]
        out.extend((steps as u16).to_le_bytes());
    }
}

/// What [`pack`] made of logits.
fn unpack(packed: &[u8], logits: &mut Vec<f32>) {
    let Some((prefix, values)) = packed.split_first_chunk::<8>() else { return };
    let [a, b, c, d, e, f, g, h] = *prefix;
    let (least, step) = (f32::from_le_bytes([a, b, c, d]), f32::from_le_bytes([e, f, g, h]));
    let value = |&[a, b]: &[u8; 2]| f32::from(u16::from_le_bytes([a, b])) * step + least;
    logits.extend(values.as_chunks::<2>().0.iter().map(value));
}

/// The logits as they come back from a file.
pub(super) fn rounded(logits: &[f32]) -> Vec<f32> {
    let (mut packed, mut out) = (Vec::new(), Vec::new());
    pack(logits, &mut packed);
    unpack(&packed, &mut out);
    out
}

/// A file that is being written.
pub(super) struct Writer {
    file: AtomicFile,
    subject: Subject,
    packed: Vec<u8>,
}

impl Writer {
    pub(super) fn create(path: &Path, subject: Subject) -> Result<Self, Error> {
        let mut file = AtomicFile::create(&SystemDisk, path)?;
        file.write(&subject.header())?;
        Ok(Self { file, subject, packed: Vec::new() })
    }

    /// Appends the logits of a position.
    pub(super) fn push(&mut self, logits: &[f32]) -> Result<(), Error> {
        pack(logits, &mut self.packed);
        self.file.write(&Hash128::of(&self.packed).0.to_le_bytes())?;
        Ok(self.file.write(&self.packed)?)
    }

    /// Gives the file its name, once every position reads back.
    pub(super) fn finish(self) -> Result<(), Error> {
        let subject = self.subject;
        self.file.commit(|path| {
            let mut reader = Reader::open(path, subject)?;
            let mut logits = Vec::new();
            for _ in 0..subject.positions {
                logits.clear();
                reader.next(&mut logits)?;
            }
            Ok(())
        })
    }
}

/// A file that is being read, position by position.
pub(super) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    packed: Vec<u8>,
}

impl Reader {
    /// Opens logits of this subject.
    pub(super) fn open(path: &Path, subject: Subject) -> Result<Self, Error> {
        let bad =
            |cause: &str| Error::BadPart { path: path.to_path_buf(), cause: cause.to_owned() };
        let file = File::open(path).map_err(Error::io(path))?;
        let len = file.metadata().map_err(Error::io(path))?.len();
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut header = Vec::new();
        file.by_ref()
            .take(units::size(HEADER))
            .read_to_end(&mut header)
            .map_err(Error::io(path))?;
        let expected = subject.header();
        if header.get(..MAGIC.len()) != Some(&MAGIC[..]) {
            return Err(bad("not a file of logits; --save-logits writes one"));
        }
        let other =
            |range: std::ops::Range<usize>| header.get(range.clone()) != expected.get(range);
        if other(8..12) {
            return Err(bad("written by another version of apr; write it again"));
        }
        if other(12..16) {
            return Err(bad("logits of another vocabulary"));
        }
        if other(16..24) {
            return Err(bad("logits of another window; give the same --window"));
        }
        if other(24..HEADER) {
            return Err(bad("logits of another text, or by another tokenizer"));
        }
        if len != subject.file_len() {
            let cause = format!("{len} bytes, expected {}; write it again", subject.file_len());
            return Err(bad(&cause));
        }
        let packed = vec![0; PREFIX + 2 * subject.vocab];
        Ok(Self { path: path.to_path_buf(), file, packed })
    }

    /// Appends the logits of the next position.
    pub(super) fn next(&mut self, logits: &mut Vec<f32>) -> Result<(), Error> {
        self.file.read_exact(&mut self.packed).map_err(Error::io(&self.path))?;
        let (digest, packed) = self.packed.split_at(16);
        if digest != Hash128::of(packed).0.to_le_bytes() {
            let cause = "damaged; write it again with --save-logits".to_owned();
            return Err(Error::BadPart { path: self.path.clone(), cause });
        }
        unpack(packed, logits);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_logit_changes_by_more_than_half_a_step() {
        let logits: Vec<f32> = (0..5000_u16).map(|i| (f32::from(i) * 0.7).sin() * 17.0).collect();
        let step = 34.0 / STEPS;
        for (before, after) in logits.iter().zip(rounded(&logits)) {
            assert!((before - after).abs() <= 0.51 * step, "{before} {after}");
        }
        assert_eq!(rounded(&[2.5; 3]), [2.5; 3]);
    }
}
