//! Which instructions this processor has, of those that matter to kernels.

/// Names of the features that are there, among those that a kernel uses or could use.
#[must_use]
pub fn cpu_features() -> Vec<&'static str> {
    detected().into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect()
}

macro_rules! features {
    ($detect:ident: $($name:tt)*) => {
        vec![$(($name, std::arch::$detect!($name))),*]
    };
}

#[cfg(target_arch = "x86_64")]
fn detected() -> Vec<(&'static str, bool)> {
    features!(is_x86_feature_detected:
        "sse4.2" "avx" "f16c" "fma" "avx2" "avxvnni" "avx512f" "avx512bw" "avx512dq" "avx512vl"
        "avx512vbmi" "avx512vnni" "avx512bf16" "avx512fp16")
}

#[cfg(target_arch = "aarch64")]
fn detected() -> Vec<(&'static str, bool)> {
    features!(is_aarch64_feature_detected: "neon" "fp16" "dotprod" "i8mm" "bf16" "sve" "sve2")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detected() -> Vec<(&'static str, bool)> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kernels;

    #[test]
    fn a_table_is_only_there_with_its_instructions() {
        let features = cpu_features();
        for table in Kernels::available() {
            let needed: &[&str] = match table.name() {
                "avx2" => &["avx2", "fma", "f16c"],
                "avx512" => &["avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"],
                _ => &[],
            };
            let missing = needed.iter().find(|name| !features.contains(name));
            assert_eq!(missing, None, "{}", table.name());
        }
    }
}
