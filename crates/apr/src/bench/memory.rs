//! How much memory this process took.

use std::fs;

/// Bytes that were resident at the peak, of files that are mapped as well; unknown where the
/// system does not tell.
pub(super) fn peak() -> Option<u64> {
    parse(&fs::read_to_string("/proc/self/status").ok()?)
}

/// The line `VmHWM` of Linux's proc(5).
fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_where_the_system_tells_it() {
        assert_eq!(parse("Name:\tapr\nVmHWM:\t    1234 kB\nVmRSS:\t 1 kB\n"), Some(1234 * 1024));
        assert_eq!(parse("Name:\tapr\n"), None);
        assert_eq!(parse("VmHWM:\t1234 MB\n"), None);
        assert_eq!(peak().is_some(), cfg!(target_os = "linux"));
        assert!(peak().is_none_or(|peak| peak > 100_000));
    }
}
