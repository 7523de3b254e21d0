//! Arguments of every verb that runs a model.

use apr::{CacheType, Error, LoadOptions, Recipe};
use clap::Args;
use std::env;

/// Forces a kernel table, for comparing them.
const KERNELS: &str = "APR_KERNELS";

/// The kernel table that the environment forces.
pub(crate) fn forced_kernels() -> Option<String> {
    env::var(KERNELS).ok().filter(|name| !name.is_empty())
}

#[derive(Args)]
pub(crate) struct RecipeArgs {
    /// Quantize by this recipe: int4, int8, q4_k_m, q6_k, f16, … (an unknown one lists them all)
    #[arg(long, value_name = "RECIPE")]
    quantize: Option<String>,
    /// Store every matrix in the recipe's one type, embedding and head too
    #[arg(long, requires = "quantize")]
    pure: bool,
}

impl RecipeArgs {
    pub(crate) fn recipe(&self) -> Result<Option<Recipe>, Error> {
        let recipe = self.quantize.as_deref().map(Recipe::named).transpose()?;
        match recipe {
            Some(recipe) if self.pure => recipe.pure().map(Some),
            recipe => Ok(recipe),
        }
    }
}

#[derive(Args)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

impl LoadArgs {
    pub(crate) fn options(&self) -> Result<LoadOptions, Error> {
        Ok(LoadOptions { recipe: self.recipe.recipe()?, ..self.machine.options() })
    }
}

/// Of those that run a model as it is stored.
#[derive(Args)]
pub(crate) struct MachineArgs {
    /// Number of threads [default: one per processor]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Compare every tensor with the hash in the file before running; a file without hashes is
    /// refused
    #[arg(long)]
    verify: bool,
    /// How keys and values are stored: f32, f16 or q8_0; the shorter ones change the last digits
    #[arg(long, value_name = "TYPE", default_value = CacheType::F32.name(), value_parser = cache_type)]
    cache: CacheType,
}

impl MachineArgs {
    pub(crate) fn options(&self) -> LoadOptions {
        LoadOptions {
            recipe: None,
            threads: self.threads,
            kernels: forced_kernels(),
            verify: self.verify,
            cache: self.cache,
            profile: false,
        }
    }
}

fn cache_type(name: &str) -> Result<CacheType, String> {
    let known = || CacheType::ALL.map(CacheType::name).join(", ");
    CacheType::named(name).ok_or_else(|| format!("there are {}", known()))
}
