//! What an unfinished file holds already: a record for each tensor that was written whole, so that
//! a later run can go on behind the last one.
//!
//! A record counts only with the bytes that it describes: whoever continues reads them again and
//! compares their hash. So nothing here has to be durable, and in no order.

use crate::atomic_file::{Place, Unfinished};
use crate::certificate::RawCertificate;
use crate::size::to_u64;
use crate::{Certificate, Disk, DiskFile, FormatError, Hash128};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use zerocopy::little_endian::U128;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A tensor in the journal.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Record {
    certificate: RawCertificate,
    /// XXH3-128 of the key of the file and the certificate.
    check: U128,
}

impl Record {
    fn new(key: Hash128, certificate: RawCertificate) -> Self {
        let check = Hash128::of_parts(&[&key.0.to_le_bytes(), certificate.as_bytes()]);
        Self { certificate, check: U128::new(check.0) }
    }

    /// Hash and certificate, if this is a record of the file with this key.
    fn check(self, key: Hash128) -> Option<(Hash128, Certificate)> {
        let again = Self::new(key, self.certificate);
        (again.check == self.check).then(|| self.certificate.check("journal").ok()).flatten()
    }
}

/// Hashes and certificates of the first tensors of a file.
type Records = Vec<(Hash128, Certificate)>;

/// The journal of a file that is being written.
pub(crate) struct Journal {
    target: PathBuf,
    key: Hash128,
    file: Box<dyn DiskFile>,
    unfinished: Unfinished,
}

impl Journal {
    /// A new journal. `key` is a digest of all that the file's content follows from, but for the
    /// sources of its tensors.
    pub(crate) fn create(
        disk: &'static dyn Disk,
        target: &Path,
        key: Hash128,
    ) -> Result<Self, FormatError> {
        let (file, unfinished) = Place::beside(disk, target, "journal")?.create()?;
        Ok(Self { target: target.to_path_buf(), key, file, unfinished })
    }

    /// The journal that an interrupted run left, and its records of a file with this key.
    pub(crate) fn resume(
        disk: &'static dyn Disk,
        target: &Path,
        key: Hash128,
    ) -> Result<Option<(Self, Records)>, FormatError> {
        let Some((mut file, unfinished)) = Place::beside(disk, target, "journal")?.reopen()? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(FormatError::io(target))?;
        let records = bytes.chunks_exact(size_of::<Record>());
        let records = records.map_while(|bytes| Record::read_from_bytes(bytes).ok()?.check(key));
        let records = records.collect();
        Ok(Some((Self { target: target.to_path_buf(), key, file, unfinished }, records)))
    }

    /// Forgets all records but the first.
    pub(crate) fn cut(&mut self, records: usize) -> Result<(), FormatError> {
        let len = to_u64(records.saturating_mul(size_of::<Record>()));
        self.file
            .set_len(len)
            .and_then(|()| self.file.seek(SeekFrom::Start(len)))
            .map(drop)
            .map_err(FormatError::io(&self.target))
    }

    /// Notes a tensor that was written whole.
    pub(crate) fn note(
        &mut self,
        hash: Hash128,
        certificate: &Certificate,
    ) -> Result<(), FormatError> {
        let record = Record::new(self.key, RawCertificate::new(hash, certificate));
        self.file.write_all(record.as_bytes()).map_err(FormatError::io(&self.target))
    }

    /// Keeps the journal when this run fails.
    pub(crate) const fn keep(&mut self) {
        self.unfinished.keep();
    }

    /// Ends the journal of a complete file.
    pub(crate) fn end(self) -> Result<(), FormatError> {
        self.unfinished.remove()
    }
}
