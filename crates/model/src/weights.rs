//! The weights of a model, each in its place. Matrices stay as they are stored; only vectors
//! (norms and biases) are decoded.

use crate::arch::{Activation, Mlp, Norm, Param, Part, TensorRole};
use crate::{Census, ModelConfig, ModelError};
use apr_format::Container;
use apr_kernel::{KernelError, Kernels};
use apr_tensor::Tensor;
use std::collections::BTreeMap;
use std::ops::Range;

/// A matrix `[out, in]` and what is added to its product.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Vec<f32>>,
    pub(crate) name: String,
}

impl Linear {
    /// Some of its rows, in the same memory.
    fn rows(&self, rows: Range<usize>) -> Result<Self, ModelError> {
        let bias = self.bias.as_ref().map(|bias| bias[rows.clone()].to_vec());
        Ok(Self { weight: self.weight.rows(rows)?, bias, name: self.name.clone() })
    }
}

/// Scale and shift of a norm.
#[derive(Debug)]
pub(crate) struct NormWeights {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Option<Vec<f32>>,
}

/// Projections to queries, keys and values. Where they are stored as one matrix, parts of it.
#[derive(Debug)]
pub(crate) struct Qkv {
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: NormWeights,
    pub(crate) qkv: Qkv,
    pub(crate) query_norm: Option<NormWeights>,
    pub(crate) key_norm: Option<NormWeights>,
    pub(crate) attention_output: Linear,
    pub(crate) post_attention_norm: Option<NormWeights>,
    pub(crate) mlp_norm: NormWeights,
    pub(crate) mlp: MlpWeights,
    pub(crate) post_mlp_norm: Option<NormWeights>,
}

/// Projections of the MLP and its non-linearity.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one per layer, and never moved")]
pub(crate) enum MlpWeights {
    Gated(GatedMlp),
    Plain { activation: Activation, up: Linear, down: Linear },
    Experts { router: Linear, experts: Vec<GatedMlp> },
}

/// down(act(gate(x)) · up(x)). Where gate and up are stored as one matrix, parts of it.
#[derive(Debug)]
pub(crate) struct GatedMlp {
    pub(crate) activation: Activation,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
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
        let mut loader = Loader { tensors: BTreeMap::new(), kernels, config };
        for placed in &census.tensors {
            let tensor = container.tensor(placed.source())?;
            let stored =
                Stored { name: placed.source().to_owned(), tensor, offset: placed.form.offset };
            loader.tensors.insert((placed.layer, placed.role), stored);
        }
        let embedding = loader.matrix(None, Part::TokenEmbedding)?;
        let head = if config.tied { Part::TokenEmbedding } else { Part::Head };
        let positions = loader.get(None, Part::PositionEmbedding, Param::Weight);
        Ok(Self {
            positions: positions.map(|stored| stored.tensor.clone()),
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
    tensors: BTreeMap<(Option<usize>, TensorRole), Stored>,
    kernels: &'a Kernels,
    config: &'a ModelConfig,
}

/// A tensor as the file has it.
struct Stored {
    name: String,
    tensor: Tensor,
    /// What has been added to its values.
    offset: f32,
}

impl Loader<'_> {
    fn layer(&self, layer: Option<usize>) -> Result<Layer, ModelError> {
        Ok(Layer {
            attention_norm: self.norm(layer, Part::AttentionNorm)?,
            qkv: self.qkv(layer)?,
            query_norm: self.optional_norm(layer, Part::QueryNorm)?,
            key_norm: self.optional_norm(layer, Part::KeyNorm)?,
            attention_output: self.matrix(layer, Part::AttentionOutput)?,
            post_attention_norm: self.optional_norm(layer, Part::PostAttentionNorm)?,
            mlp_norm: self.norm(layer, Part::MlpNorm)?,
            mlp: self.mlp(layer)?,
            post_mlp_norm: self.optional_norm(layer, Part::PostMlpNorm)?,
        })
    }

    fn qkv(&self, layer: Option<usize>) -> Result<Qkv, ModelError> {
        if !self.has(layer, Part::QueryKeyValue) {
            return Ok(Qkv {
                query: self.matrix(layer, Part::Query)?,
                key: self.matrix(layer, Part::Key)?,
                value: self.matrix(layer, Part::Value)?,
            });
        }
        let all = self.matrix(layer, Part::QueryKeyValue)?;
        let keys = self.config.heads * self.config.head_dim;
        let (values, end) = (keys + self.config.kv_size(), keys + 2 * self.config.kv_size());
        Ok(Qkv {
            query: all.rows(0..keys)?,
            key: all.rows(keys..values)?,
            value: all.rows(values..end)?,
        })
    }

    fn mlp(&self, layer: Option<usize>) -> Result<MlpWeights, ModelError> {
        match self.config.arch.mlp {
            Mlp::Plain(activation) => Ok(MlpWeights::Plain {
                activation,
                up: self.matrix(layer, Part::MlpUp)?,
                down: self.matrix(layer, Part::MlpDown)?,
            }),
            Mlp::Gated(activation) => {
                let (gate, up) = if self.has(layer, Part::MlpGateUp) {
                    let both = self.matrix(layer, Part::MlpGateUp)?;
                    let width = both.weight.layout().row_count() / 2;
                    (both.rows(0..width)?, both.rows(width..2 * width)?)
                } else {
                    (self.matrix(layer, Part::MlpGate)?, self.matrix(layer, Part::MlpUp)?)
                };
                let down = self.matrix(layer, Part::MlpDown)?;
                Ok(MlpWeights::Gated(GatedMlp { activation, gate, up, down }))
            }
            Mlp::Experts(activation) => {
                let all = |part| self.experts(layer, part);
                let (gate, up) = (all(Part::ExpertGate)?, all(Part::ExpertUp)?);
                let matrices = gate.into_iter().zip(up).zip(all(Part::ExpertDown)?);
                let expert = |((gate, up), down)| GatedMlp { activation, gate, up, down };
                let router = self.matrix(layer, Part::Router)?;
                Ok(MlpWeights::Experts { router, experts: matrices.map(expert).collect() })
            }
        }
    }

    fn get(&self, layer: Option<usize>, part: Part, param: Param) -> Option<&Stored> {
        self.tensors.get(&(layer, TensorRole { part, param }))
    }

    fn has(&self, layer: Option<usize>, part: Part) -> bool {
        self.get(layer, part, Param::Weight).is_some()
    }

    fn need(&self, layer: Option<usize>, part: Part) -> Result<&Stored, ModelError> {
        self.get(layer, part, Param::Weight)
            .ok_or_else(|| ModelError::MissingTensor { tensor: part.name().to_owned() })
    }

    fn matrix(&self, layer: Option<usize>, part: Part) -> Result<Linear, ModelError> {
        let Stored { name, tensor, .. } = self.need(layer, part)?;
        let dtype = tensor.layout().dtype();
        if !self.kernels.supports(dtype) {
            let source = KernelError::Unsupported { dtype };
            return Err(ModelError::Kernel { tensor: name.clone(), source });
        }
        let bias = self.bias(layer, part);
        Ok(Linear { weight: tensor.clone(), bias, name: name.clone() })
    }

    /// The matrices of all experts, each a part of the one tensor that holds them.
    fn experts(&self, layer: Option<usize>, part: Part) -> Result<Vec<Linear>, ModelError> {
        let all = self.matrix(layer, part)?;
        let count = self.config.experts.map_or(0, |experts| experts.count);
        let rows = all.weight.layout().row_count() / count.max(1);
        (0..count).map(|expert| all.rows(expert * rows..(expert + 1) * rows)).collect()
    }

    fn norm(&self, layer: Option<usize>, part: Part) -> Result<NormWeights, ModelError> {
        let stored = self.need(layer, part)?;
        let missing = match self.config.arch.norm {
            Norm::RmsPlusOne => 1.0 - stored.offset,
            Norm::Rms | Norm::Layer => 0.0,
        };
        let values = stored.tensor.view().to_f32();
        let weight = values.into_iter().map(|value| value + missing).collect();
        Ok(NormWeights { weight, bias: self.bias(layer, part) })
    }

    fn optional_norm(
        &self,
        layer: Option<usize>,
        part: Part,
    ) -> Result<Option<NormWeights>, ModelError> {
        self.has(layer, part).then(|| self.norm(layer, part)).transpose()
    }

    fn bias(&self, layer: Option<usize>, part: Part) -> Option<Vec<f32>> {
        self.get(layer, part, Param::Bias).map(|stored| stored.tensor.view().to_f32())
    }
}
