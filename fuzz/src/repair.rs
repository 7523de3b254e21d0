//! Files whose sums, sizes and seals were made true again, so that what lies behind them is reached.

use apr_format::{FormatError, Hash128, Malformed, open_bytes};
use std::path::Path;

/// Repairs of one input.
const REPAIRS: usize = 6;
/// Largest file that is made.
const MAX_BYTES: u64 = 1 << 20;

/// The input, and what becomes of it by correcting the field that each error names.
pub fn variants(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut variants = vec![bytes.to_vec()];
    for _ in 0..REPAIRS {
        let Some(last) = variants.last() else { break };
        let Err(FormatError::Malformed { cause, .. }) = open_bytes(Path::new("fuzz"), last.clone())
        else {
            break;
        };
        let Some(repaired) = repaired(last, &cause) else { break };
        variants.push(repaired);
    }
    // The first as it came, the last as far as it could be repaired.
    let len = variants.len();
    if len > 2 {
        variants.drain(1..len - 1);
    }
    variants
}

fn repaired(bytes: &[u8], cause: &Malformed) -> Option<Vec<u8>> {
    let mut repaired = bytes.to_vec();
    match cause {
        Malformed::HeaderChecksum { expected, .. } => {
            repaired.get_mut(60..64)?.copy_from_slice(&expected.to_le_bytes());
        }
        Malformed::Seal { expected, .. } => seal(&mut repaired, *expected)?,
        Malformed::Truncated { what: "tensor data", needed, .. } if *needed <= MAX_BYTES => {
            repaired.resize(usize::try_from(*needed).ok()?, 0x3c);
        }
        Malformed::TrailingBytes { expected, .. } => {
            repaired.truncate(usize::try_from(*expected).ok()?);
        }
        Malformed::Truncated { .. } | Malformed::Json { .. } if bytes.get(8) == Some(&b'{') => {
            let json = bytes.get(8..)?;
            let mut values =
                serde_json::Deserializer::from_slice(json).into_iter::<serde::de::IgnoredAny>();
            values.next()?.ok()?;
            let len = u64::try_from(values.byte_offset()).ok()?;
            repaired.get_mut(..8)?.copy_from_slice(&len.to_le_bytes());
        }
        _ => return None,
    }
    (repaired != bytes).then_some(repaired)
}

fn seal(bytes: &mut [u8], seal: Hash128) -> Option<()> {
    if bytes.starts_with(b"GGUF") {
        const KEY: &[u8] = b"apr.seal";
        let at = bytes.windows(KEY.len()).position(|window| window == KEY)?;
        let digits = at.checked_add(KEY.len() + 4 + 8)?;
        bytes.get_mut(digits..)?.get_mut(..32)?.copy_from_slice(seal.to_string().as_bytes());
    } else {
        bytes.get_mut(40..56)?.copy_from_slice(&seal.0.to_le_bytes());
    }
    Some(())
}
