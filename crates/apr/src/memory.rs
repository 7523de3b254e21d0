//! How much memory this process took and this machine has; unknown where the system does not tell.

use std::fs;

/// Bytes that were resident at the peak, of files that are mapped as well: Linux's proc(5).
pub(crate) fn peak() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Bytes that the machine has, and bytes that a process could take now without swapping.
pub(crate) fn of_machine() -> Option<(u64, u64)> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    Some((field(&info, "MemTotal:")?, field(&info, "MemAvailable:")?))
}

/// A line of a file in /proc that counts kB.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_where_the_system_has_them() {
        let text = "Name:\tapr\nVmHWM:\t    1234 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(field(text, "VmHWM:"), Some(1234 * 1024));
        assert_eq!(field("Name:\tapr\n", "VmHWM:"), None);
        assert_eq!(field("VmHWM:\t1234 MB\n", "VmHWM:"), None);
        assert_eq!(peak().is_some(), cfg!(target_os = "linux"));
        assert!(peak().is_none_or(|peak| peak > 100_000));
        assert!(of_machine().is_none_or(|(total, available)| total >= available));
        assert_eq!(of_machine().is_some(), cfg!(target_os = "linux"));
    }
}
