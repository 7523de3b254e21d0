//! A GGUF file taken apart by the specification, to be changed and put together again: as another
//! version, in the other byte order, in parts, without keys, or with things that no writer writes.

use apr_tensor::DType;

/// Keys and tensors of a file.
#[derive(Clone)]
pub(crate) struct GgufFile {
    pub(crate) version: u32,
    pub(crate) big_endian: bool,
    pub(crate) alignment: usize,
    /// Whether the last tensor is padded.
    pub(crate) padded: bool,
    pub(crate) keys: Vec<Key>,
    pub(crate) tensors: Vec<Tensor>,
}

/// A key; its value as in a little-endian file.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) kind: u32,
    pub(crate) value: Vec<u8>,
}

/// A tensor; its data as in a little-endian file.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dims: Vec<u64>,
    pub(crate) dtype: u32,
    pub(crate) data: Vec<u8>,
}

impl Key {
    pub(crate) fn number(name: &str, kind: u32, value: u64) -> Self {
        let value = value.to_le_bytes()[..width(kind)].to_vec();
        Self { name: name.to_owned(), kind, value }
    }
}

impl GgufFile {
    /// Of a little-endian file with alignment 32.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut at = 4;
        let mut take = |len: usize| {
            at += len;
            &bytes[at - len..at]
        };
        let u32_of = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        let u64_of = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let version = u32_of(take(4));
        let (tensor_count, key_count) = (u64_of(take(8)), u64_of(take(8)));
        let mut keys = Vec::new();
        for _ in 0..key_count {
            let len = u64_of(take(8)) as usize;
            let name = String::from_utf8(take(len).to_vec()).unwrap();
            let kind = u32_of(take(4));
            let rest = take(0).as_ptr() as usize - bytes.as_ptr() as usize;
            let len = walk(kind, &mut bytes[rest..].to_vec(), false);
            keys.push(Key { name, kind, value: take(len).to_vec() });
        }
        let mut infos = Vec::new();
        for _ in 0..tensor_count {
            let len = u64_of(take(8)) as usize;
            let name = String::from_utf8(take(len).to_vec()).unwrap();
            let rank = u32_of(take(4));
            let dims: Vec<u64> = (0..rank).map(|_| u64_of(take(8))).collect();
            infos.push((name, dims, u32_of(take(4)), u64_of(take(8)) as usize));
        }
        let data = at.next_multiple_of(32);
        let tensors = infos.into_iter().map(|(name, dims, dtype, offset)| {
            let kind = DType::from_id(dtype).unwrap();
            let elems: u64 = dims.iter().product();
            let len = elems as usize / kind.block_elems() * kind.block_bytes();
            let data = bytes[data + offset..data + offset + len].to_vec();
            Tensor { name, dims, dtype, data }
        });
        let tensors = tensors.collect();
        Self { version, big_endian: false, alignment: 32, padded: true, keys, tensors }
    }

    pub(crate) fn without_keys(mut self, prefix: &str) -> Self {
        self.keys.retain(|key| !key.name.starts_with(prefix));
        self
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        let mut offset = 0;
        self.number(&mut out, &self.version.to_le_bytes());
        self.number(&mut out, &(self.tensors.len() as u64).to_le_bytes());
        self.number(&mut out, &(self.keys.len() as u64).to_le_bytes());
        for Key { name, kind, value } in &self.keys {
            self.text(&mut out, name);
            self.number(&mut out, &kind.to_le_bytes());
            let mut value = value.clone();
            walk(*kind, &mut value, self.big_endian);
            out.extend(value);
        }
        for tensor in &self.tensors {
            self.text(&mut out, &tensor.name);
            self.number(&mut out, &(tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|dim| self.number(&mut out, &dim.to_le_bytes()));
            self.number(&mut out, &tensor.dtype.to_le_bytes());
            self.number(&mut out, &(offset as u64).to_le_bytes());
            offset = (offset + tensor.data.len()).next_multiple_of(self.alignment);
        }
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(self.alignment), 0);
            let mut data = tensor.data.clone();
            if self.big_endian {
                DType::from_id(tensor.dtype).unwrap().swap_bytes(&mut data).unwrap();
            }
            out.extend(data);
        }
        if self.padded {
            out.resize(out.len().next_multiple_of(self.alignment), 0);
        }
        out
    }

    fn number(&self, out: &mut Vec<u8>, little_endian: &[u8]) {
        let mut number = little_endian.to_vec();
        if self.big_endian {
            number.reverse();
        }
        out.extend(number);
    }

    fn text(&self, out: &mut Vec<u8>, text: &str) {
        self.number(out, &(text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }
}

/// Bytes of a number of this type.
fn width(kind: u32) -> usize {
    [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][kind as usize]
}

/// Length of the little-endian value at the start of `bytes`; turns its numbers around if asked.
fn walk(kind: u32, bytes: &mut [u8], turn: bool) -> usize {
    let length = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    match kind {
        8 => {
            let len = length(bytes);
            if turn {
                bytes[..8].reverse();
            }
            8 + len
        }
        9 => {
            let (kind, count) =
                (u32::from_le_bytes(bytes[..4].try_into().unwrap()), length(&bytes[4..]));
            if turn {
                bytes[..4].reverse();
                bytes[4..12].reverse();
            }
            (0..count).fold(12, |at, _| at + walk(kind, &mut bytes[at..], turn))
        }
        number => {
            let width = width(number);
            if turn {
                bytes[..width].reverse();
            }
            width
        }
    }
}
