//! Products of activations with packed weights, attention over a cache, and the threads that
//! compute them.
//!
//! Weights stay as they lie in the file; they are unpacked in registers or in small panels.
//! [`Kernels`] is a table of functions for one instruction set, [`Pool`] the threads, [`matmul`] the
//! product. This crate knows blocks, not models.
//!
//! A new instruction set is a table: the scalar one with some entries replaced. A new type can be
//! multiplied with at once, through its decoder; it becomes fast by saying what its integers are
//! (`integer.rs`) and how an instruction set unpacks them.
//!
//! ```
//! use apr_kernel::{Kernels, Pool, matmul};
//! use apr_tensor::{DType, Tensor, TensorLayout};
//! let mut bytes = vec![0; 16];
//! DType::F32.encode(&[1.0, 2.0, 3.0, 4.0], &mut bytes)?;
//! let weights = Tensor::owned(TensorLayout::new(DType::F32, &[2, 2])?, bytes)?;
//! let mut output = [0.0; 2];
//! matmul(Kernels::best(), &Pool::new(1), weights.view(), &[1.0, 10.0], &mut output)?;
//! assert_eq!(output, [21.0, 43.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activations;
mod attention;
mod cpu;
mod error;
mod float;
mod integer;
mod kernels;
mod limits;
mod matmul;
mod pool;
mod scalar;
mod task;
#[cfg(test)]
mod test_data;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use attention::{Attention, CacheRows};
pub use cpu::cpu_features;
pub use error::KernelError;
pub use kernels::Kernels;
pub use limits::{Arithmetic, Limits, Peak};
pub use matmul::{Product, matmul, matmul_many};
pub use pool::Pool;
pub use task::Task;
