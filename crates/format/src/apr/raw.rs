//! The fixed-size parts of an `.apr` file, byte by byte as in docs/format.md.

use super::{ALIGNMENT, HEADER_BYTES, MAX_SECTION_BYTES};
use crate::certificate::{RawCertificate, zero};
use crate::size::{to_u64, to_usize};
use crate::writer::Written;
use crate::{Hash128, Malformed, NewTensor, TensorEntry};
use apr_tensor::{DType, MAX_RANK, TensorLayout};
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const MAGIC: [u8; 4] = *b"APR\0";
pub(super) const VERSION: u32 = 3;
/// Bytes of the header under the seal.
const SEALED_BYTES: usize = 40;
/// Bytes of the header under the checksum.
const CHECKED_BYTES: usize = 60;

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawHeader {
    magic: [u8; 4],
    version: U32,
    pub(super) metadata_len: U64,
    pub(super) index_len: U64,
    pub(super) data_len: U64,
    pub(super) tensor_count: U32,
    reserved: U32,
    seal: U128,
    reserved_too: U32,
    crc: U32,
}
const _: () = assert!(size_of::<RawHeader>() == 64);

impl RawHeader {
    /// A header over these sections, sealed and checksummed.
    pub(super) fn new(metadata: &[u8], index: &[u8], data_len: u64, tensor_count: u32) -> Self {
        let len = |bytes: &[u8]| U64::new(to_u64(bytes.len()));
        let mut header = Self {
            magic: MAGIC,
            version: U32::new(VERSION),
            metadata_len: len(metadata),
            index_len: len(index),
            data_len: U64::new(data_len),
            tensor_count: U32::new(tensor_count),
            reserved: U32::ZERO,
            seal: U128::ZERO,
            reserved_too: U32::ZERO,
            crc: U32::ZERO,
        };
        header.seal = U128::new(header.expected_seal(metadata, index).0);
        header.crc = U32::new(header.expected_crc());
        header
    }

    /// The header at the start of `bytes`, with everything checked that it can be checked for alone.
    pub(super) fn check(bytes: &[u8]) -> Result<&Self, Malformed> {
        let (header, _) = Self::ref_from_prefix(bytes).map_err(|_| short_header(bytes))?;
        let version = header.version.get();
        if version != VERSION {
            return Err(Malformed::Version { expected: VERSION, found: version });
        }
        let (expected, found) = (header.expected_crc(), header.crc.get());
        if expected != found {
            return Err(Malformed::HeaderChecksum { expected, found });
        }
        for (what, len) in
            [("metadata_len", header.metadata_len.get()), ("index_len", header.index_len.get())]
        {
            if len > MAX_SECTION_BYTES {
                return Err(Malformed::TooLarge { what, len, limit: MAX_SECTION_BYTES });
            }
            if !len.is_multiple_of(ALIGNMENT) {
                return Err(Malformed::Field { what, expected: "a multiple of 64", found: len });
            }
        }
        for reserved in [header.reserved, header.reserved_too] {
            zero("reserved field of the header", u64::from(reserved.get()))?;
        }
        Ok(header)
    }

    pub(super) fn check_seal(&self, metadata: &[u8], index: &[u8]) -> Result<(), Malformed> {
        let (expected, found) = (self.expected_seal(metadata, index), self.seal());
        if expected == found { Ok(()) } else { Err(Malformed::Seal { expected, found }) }
    }

    pub(super) fn seal(&self) -> Hash128 {
        Hash128(self.seal.get())
    }

    fn expected_seal(&self, metadata: &[u8], index: &[u8]) -> Hash128 {
        let sealed = self.as_bytes().get(..SEALED_BYTES).unwrap_or_default();
        Hash128::of_parts(&[sealed, metadata, index])
    }

    fn expected_crc(&self) -> u32 {
        crc32fast::hash(self.as_bytes().get(..CHECKED_BYTES).unwrap_or_default())
    }
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawEntry {
    dtype: U32,
    name_len: U16,
    rank: u8,
    source_flags: u8,
    pub(super) offset: U64,
    pub(super) byte_len: U64,
    /// Its flags are zero: they stand in `source_flags`.
    certificate: RawCertificate,
}
const _: () = assert!(size_of::<RawEntry>() == 120);

impl RawEntry {
    /// Bytes that the entry of a tensor takes in the index.
    pub(super) fn byte_len(name: &str, layout: &TensorLayout) -> usize {
        layout
            .shape()
            .len()
            .saturating_mul(size_of::<U64>())
            .saturating_add(size_of::<Self>())
            .saturating_add(name.len())
    }

    /// Appends the entry of a tensor. `name_len` and `rank` were checked by the writer.
    pub(super) fn append(index: &mut Vec<u8>, tensor: &NewTensor, written: &Written) {
        let NewTensor { name, layout } = tensor;
        let record = RawCertificate::new(written.hash, &written.certificate);
        let (certificate, flags) = record.without_flags();
        let raw = Self {
            dtype: U32::new(layout.dtype().id()),
            name_len: U16::new(u16::try_from(name.len()).unwrap_or(u16::MAX)),
            rank: u8::try_from(layout.shape().len()).unwrap_or(u8::MAX),
            source_flags: u8::try_from(flags).unwrap_or(u8::MAX),
            offset: U64::new(written.offset),
            byte_len: U64::new(to_u64(layout.byte_len())),
            certificate,
        };
        index.extend_from_slice(raw.as_bytes());
        for &dim in layout.shape() {
            let dim = U64::new(to_u64(dim));
            index.extend_from_slice(dim.as_bytes());
        }
        index.extend_from_slice(name.as_bytes());
    }

    /// The first entry of the index, and the bytes behind it.
    pub(super) fn split(index: &[u8]) -> Result<(IndexEntry<'_>, &[u8]), Malformed> {
        let short = || {
            let found = to_u64(index.len());
            let expected = "another whole entry";
            Malformed::Field { what: "bytes left in the index", expected, found }
        };
        let (raw, rest) = Self::ref_from_prefix(index).map_err(|_| short())?;
        let rank = usize::from(raw.rank);
        if rank > MAX_RANK {
            let found = u64::from(raw.rank);
            return Err(Malformed::Field {
                what: "rank in the index",
                expected: "at most 8",
                found,
            });
        }
        let (dims, rest) = <[U64]>::ref_from_prefix_with_elems(rest, rank).map_err(|_| short())?;
        let shape = dims.iter().map(|dim| to_usize(dim.get())).collect();
        let (name, rest) =
            rest.split_at_checked(usize::from(raw.name_len.get())).ok_or_else(short)?;
        let tensor = || String::from_utf8_lossy(name).into_owned();
        let name = std::str::from_utf8(name)
            .map_err(|_| Malformed::Name { tensor: tensor(), cause: "the name is not UTF-8" })?;
        if name.is_empty() {
            return Err(Malformed::Name { tensor: tensor(), cause: "the name is empty" });
        }
        Ok((IndexEntry { raw, shape, name }, rest))
    }
}

/// An entry of the index, split into its parts.
pub(super) struct IndexEntry<'a> {
    pub(super) raw: &'a RawEntry,
    pub(super) shape: Vec<usize>,
    pub(super) name: &'a str,
}

impl IndexEntry<'_> {
    /// The tensor, its type, shape, size and reserved fields checked.
    pub(super) fn check(&self, data_start: u64) -> Result<TensorEntry, Malformed> {
        let Self { raw, shape, name } = self;
        let as_layout = |source| Malformed::Layout { tensor: (*name).to_owned(), source };
        let dtype = stored_type(name, raw.dtype.get())?;
        let layout = TensorLayout::new(dtype, shape).map_err(as_layout)?;
        let byte_len = to_usize(raw.byte_len.get());
        if byte_len != layout.byte_len() {
            return Err(as_layout(apr_tensor::TensorError::ByteLength {
                dtype,
                shape: shape.clone(),
                expected: layout.byte_len(),
                found: byte_len,
            }));
        }
        let record = raw.certificate.with_flags(u32::from(raw.source_flags))?;
        let (hash, certificate) = record.check(name)?;
        let start = to_usize(data_start.saturating_add(raw.offset.get()));
        Ok(TensorEntry {
            name: (*name).to_owned(),
            layout,
            hash: Some(hash),
            certificate: Some(certificate),
            file: 0,
            range: start..start.saturating_add(byte_len),
        })
    }
}

/// The type of this number, if it is one that `.apr` may contain.
fn stored_type(name: &str, id: u32) -> Result<DType, Malformed> {
    DType::from_id(id)
        .filter(|dtype| dtype.is_ggml())
        .ok_or_else(|| Malformed::UnknownType { tensor: name.to_owned(), dtype: id.to_string() })
}

pub(super) fn short_header(bytes: &[u8]) -> Malformed {
    let found = to_u64(bytes.len());
    Malformed::Truncated { what: "header", needed: HEADER_BYTES, found }
}
