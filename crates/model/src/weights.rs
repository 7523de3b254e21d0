//! The weights of a model, each in its place. Matrices stay as they are stored; only vectors
//! (norms and biases) are decoded.

use crate::arch::{Activation, Mlp, Param, Part, TensorRole};
use crate::{Census, ModelConfig, ModelError};
use apr_format::Container;
use apr_kernel::{KernelError, Kernels, Pool, matmul};
use apr_tensor::Tensor;
use std::collections::BTreeMap;

/// A matrix `[out, in]` and what is added to its product.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Vec<f32>>,
    pub(crate) name: String,
}

impl Linear {
    /// `[tokens, in]` → `[tokens, out]`.
    pub(crate) fn apply(
        &self,
        kernels: &Kernels,
        pool: &Pool,
        input: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        let layout = self.weight.layout();
        let (rows, cols) = (layout.row_count(), layout.row_elems());
        let mut out = vec![0.0; input.len() / cols * rows];
        matmul(kernels, pool, self.weight.view(), input, &mut out)
            .map_err(|source| ModelError::Kernel { tensor: self.name.clone(), source })?;
        if let Some(bias) = &self.bias {
            out.chunks_exact_mut(rows).for_each(|row| crate::ops::add(row, bias));
        }
        Ok(out)
    }
}

/// Scale and shift of a norm.
#[derive(Debug)]
pub(crate) struct NormWeights {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Option<Vec<f32>>,
}

/// Projections to queries, keys and values.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one per layer, and never moved")]
pub(crate) enum Qkv {
    Split { query: Linear, key: Linear, value: Linear },
    Fused(Linear),
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: NormWeights,
    pub(crate) qkv: Qkv,
    pub(crate) attention_output: Linear,
    pub(crate) mlp_norm: NormWeights,
    pub(crate) mlp: MlpWeights,
}

/// Projections of the MLP and its non-linearity.
#[derive(Debug)]
pub(crate) enum MlpWeights {
    Gated { activation: Activation, gate: Linear, up: Linear, down: Linear },
    Plain { activation: Activation, up: Linear, down: Linear },
}

/// All weights.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) embedding: Tensor,
    pub(crate) positions: Option<Tensor>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) final_norm: NormWeights,
    pub(crate) head: Linear,
}

impl Weights {
    pub(crate) fn load(
        config: &ModelConfig,
        container: &Container,
        census: &Census,
        kernels: &Kernels,
    ) -> Result<Self, ModelError> {
        let mut loader = Loader { tensors: BTreeMap::new(), kernels, mlp: config.arch.mlp };
        for placed in &census.tensors {
            let tensor = container.tensor(&placed.source)?;
            loader.tensors.insert((placed.layer, placed.role), (placed.source.clone(), tensor));
        }
        let embedding = loader.matrix(None, Part::TokenEmbedding)?;
        let head = if config.tied { Part::TokenEmbedding } else { Part::Head };
        Ok(Self {
            positions: loader.get(None, Part::PositionEmbedding, Param::Weight).map(|(_, t)| t),
            layers: (0..config.layers)
                .map(|layer| loader.layer(Some(layer)))
                .collect::<Result<_, _>>()?,
            final_norm: loader.norm(None, Part::FinalNorm)?,
            head: loader.matrix(None, head)?,
            embedding: embedding.weight,
        })
    }
}

struct Loader<'a> {
    tensors: BTreeMap<(Option<usize>, TensorRole), (String, Tensor)>,
    kernels: &'a Kernels,
    mlp: Mlp,
}

impl Loader<'_> {
    fn layer(&self, layer: Option<usize>) -> Result<Layer, ModelError> {
        let fused = self.get(layer, Part::QueryKeyValue, Param::Weight).is_some();
        Ok(Layer {
            attention_norm: self.norm(layer, Part::AttentionNorm)?,
            qkv: if fused {
                Qkv::Fused(self.matrix(layer, Part::QueryKeyValue)?)
            } else {
                Qkv::Split {
                    query: self.matrix(layer, Part::Query)?,
                    key: self.matrix(layer, Part::Key)?,
                    value: self.matrix(layer, Part::Value)?,
                }
            },
            attention_output: self.matrix(layer, Part::AttentionOutput)?,
            mlp_norm: self.norm(layer, Part::MlpNorm)?,
            mlp: match self.mlp {
                Mlp::Gated(activation) => MlpWeights::Gated {
                    activation,
                    gate: self.matrix(layer, Part::MlpGate)?,
                    up: self.matrix(layer, Part::MlpUp)?,
                    down: self.matrix(layer, Part::MlpDown)?,
                },
                Mlp::Plain(activation) => MlpWeights::Plain {
                    activation,
                    up: self.matrix(layer, Part::MlpUp)?,
                    down: self.matrix(layer, Part::MlpDown)?,
                },
            },
        })
    }

    fn get(&self, layer: Option<usize>, part: Part, param: Param) -> Option<(String, Tensor)> {
        self.tensors.get(&(layer, TensorRole { part, param })).cloned()
    }

    fn need(&self, layer: Option<usize>, part: Part) -> Result<(String, Tensor), ModelError> {
        self.get(layer, part, Param::Weight)
            .ok_or_else(|| ModelError::MissingTensor { tensor: part.name().to_owned() })
    }

    fn matrix(&self, layer: Option<usize>, part: Part) -> Result<Linear, ModelError> {
        let (name, weight) = self.need(layer, part)?;
        let dtype = weight.layout().dtype();
        if !self.kernels.supports(dtype) {
            let source = KernelError::Unsupported { dtype };
            return Err(ModelError::Kernel { tensor: name, source });
        }
        Ok(Linear { weight, bias: self.bias(layer, part), name })
    }

    fn norm(&self, layer: Option<usize>, part: Part) -> Result<NormWeights, ModelError> {
        let (_, weight) = self.need(layer, part)?;
        Ok(NormWeights { weight: weight.view().to_f32(), bias: self.bias(layer, part) })
    }

    fn bias(&self, layer: Option<usize>, part: Part) -> Option<Vec<f32>> {
        self.get(layer, part, Param::Bias).map(|(_, tensor)| tensor.view().to_f32())
    }
}
