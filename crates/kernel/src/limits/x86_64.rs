//! Loops for the instruction sets of x86-64, handed out by [`detected`] alone.
#![allow(unsafe_code, reason = "a prefetch is compiled for an instruction set")]

use super::portable::read_with;
use super::{Arithmetic, Loop, Reader};
use std::arch::x86_64::{
    _MM_HINT_T0, _mm_prefetch, _mm256_add_epi32, _mm256_dpbusd_avx_epi32, _mm256_dpwssd_avx_epi32,
    _mm256_fmadd_ps, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_ps, _mm512_dpbusd_epi32, _mm512_dpwssd_epi32, _mm512_fmadd_ps, _mm512_set1_epi8,
    _mm512_set1_epi16, _mm512_set1_ps,
};
use std::hint::black_box;

/// Independent sums: enough to hide the latency of an operation, and registers are left for the
/// operands.
const SUMS: usize = 12;

/// How far ahead memory is asked for.
const PREFETCH_BYTES: usize = 2048;

pub(super) const READERS: [Reader; 1] = [read_with_prefetch];

/// Reads every byte, and asks for those that come later: a hint that reads nothing, so that its
/// address may lie past the memory.
fn read_with_prefetch(bytes: &[u8]) -> u64 {
    read_with(bytes, |run| {
        let ahead = run.as_ptr().wrapping_add(PREFETCH_BYTES).cast();
        // SAFETY: every x86-64 CPU has SSE.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(ahead);
            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64));
        }
    })
}

/// The loops that this CPU can run.
pub(super) fn detected() -> impl Iterator<Item = Loop> {
    let avx2 = is_x86_feature_detected!("avx2");
    let avxvnni = avx2 && is_x86_feature_detected!("avxvnni");
    let avx512 = is_x86_feature_detected!("avx512f");
    let avx512vnni = avx512 && is_x86_feature_detected!("avx512vnni");
    let all = [
        (avx2 && is_x86_feature_detected!("fma"), of(Arithmetic::Float32, "avx2", 8, avx2_floats)),
        (avx2, of(Arithmetic::Int16, "avx2", 16, avx2_int16)),
        (avx2, of(Arithmetic::Int8, "avx2", 32, avx2_int8)),
        (avxvnni, of(Arithmetic::Int16, "avxvnni", 16, avxvnni_int16)),
        (avxvnni, of(Arithmetic::Int8, "avxvnni", 32, avxvnni_int8)),
        (avx512, of(Arithmetic::Float32, "avx512", 16, avx512_floats)),
        (avx512vnni, of(Arithmetic::Int16, "avx512", 32, avx512_int16)),
        (avx512vnni, of(Arithmetic::Int8, "avx512", 64, avx512_int8)),
    ];
    all.into_iter().filter(|(has, _)| *has).map(|(_, of)| of)
}

/// A loop that adds so many products to each of its sums in a round.
const fn of(
    arithmetic: Arithmetic,
    instructions: &'static str,
    products: u64,
    run: unsafe fn(u64),
) -> Loop {
    Loop { arithmetic, instructions, operations: 2 * products * SUMS as u64, run }
}

/// A function that is compiled for some features and replaces independent sums again and again.
/// The compiler does not know the operands.
macro_rules! repeated {
    ($name:ident $features:literal [$($operand:ident = $value:expr),*] $sum:ident => $next:expr) => {
        #[target_feature(enable = $features)]
        fn $name(rounds: u64) {
            let operands = black_box([$($value),*]);
            let ([$($operand),*], mut sums) = (operands, [operands[0]; SUMS]);
            for _ in 0..rounds {
                for sum in &mut sums {
                    let $sum = *sum;
                    *sum = $next;
                }
            }
            black_box(sums);
        }
    };
}

repeated! { avx2_floats "avx2,fma" [factor = _mm256_set1_ps(0.5), term = _mm256_set1_ps(1.0)]
    sum => _mm256_fmadd_ps(sum, factor, term)
}

// Products are added in pairs. One factor is the sum, or else compilers multiply once, before the
// loop.
repeated! { avx2_int16 "avx2" [factor = _mm256_set1_epi16(3)]
    sum => _mm256_add_epi32(sum, _mm256_madd_epi16(sum, factor))
}

// Products are added in pairs to 16 bits, and those in pairs to 32 bits.
repeated! { avx2_int8 "avx2" [factor = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1)]
    sum => _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(sum, factor), ones))
}

repeated! { avxvnni_int8 "avxvnni" [a = _mm256_set1_epi8(1), b = _mm256_set1_epi8(2)]
    sum => _mm256_dpbusd_avx_epi32(sum, a, b)
}

repeated! { avx512_floats "avx512f" [factor = _mm512_set1_ps(0.5), term = _mm512_set1_ps(1.0)]
    sum => _mm512_fmadd_ps(sum, factor, term)
}

repeated! { avxvnni_int16 "avxvnni" [a = _mm256_set1_epi16(1), b = _mm256_set1_epi16(2)]
    sum => _mm256_dpwssd_avx_epi32(sum, a, b)
}

repeated! { avx512_int16 "avx512f,avx512vnni" [a = _mm512_set1_epi16(1), b = _mm512_set1_epi16(2)]
    sum => _mm512_dpwssd_epi32(sum, a, b)
}

repeated! { avx512_int8 "avx512f,avx512vnni" [a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(2)]
    sum => _mm512_dpbusd_epi32(sum, a, b)
}
