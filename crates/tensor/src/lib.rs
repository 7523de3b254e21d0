//! What a tensor is: its type, its layout and its bytes.
//!
//! This crate owns the one table of types ([`DType`]) and the only arithmetic between elements and
//! bytes ([`TensorLayout`]). A [`TensorView`] exists only with exactly the bytes of its layout.
//! It does no I/O and knows nothing of containers, kernels or models.

mod block;
mod dtype;
mod error;
mod lanes;
mod layout;
mod plane;
mod scale_search;
mod single_block;
mod super_block;
mod table_search;
mod view;

pub use block::{Block, BlockTask, Codec, Number, Words};
pub use dtype::DType;
pub use dtype::float::{BlockBF16, BlockF16, BlockF32};
pub use dtype::iq1::{BlockIQ1_M, BlockIQ1_S};
pub use dtype::iq2::{BlockIQ2_S, BlockIQ2_XS, BlockIQ2_XXS, PartIQ2_XXS};
pub use dtype::iq3::{BlockIQ3_S, BlockIQ3_XXS};
pub use dtype::iq4_nl::BlockIQ4_NL;
pub use dtype::iq4_xs::BlockIQ4_XS;
pub use dtype::mxfp4::BlockMXFP4;
pub use dtype::q2_k::BlockQ2_K;
pub use dtype::q3_k::BlockQ3_K;
pub use dtype::q4_0::BlockQ4_0;
pub use dtype::q4_1::BlockQ4_1;
pub use dtype::q4_k::BlockQ4_K;
pub use dtype::q5_0::BlockQ5_0;
pub use dtype::q5_1::BlockQ5_1;
pub use dtype::q5_k::BlockQ5_K;
pub use dtype::q6_k::BlockQ6_K;
pub use dtype::q8_0::BlockQ8_0;
pub use dtype::tq::{BlockTQ1_0, BlockTQ2_0};
pub use error::{EncodeError, TensorError};
pub use layout::{MAX_RANK, TensorLayout};
pub use view::{SharedBytes, Tensor, TensorView};
