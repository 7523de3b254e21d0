//! Measuring how fast a model runs, and what share of the machine's limits that is.

mod report;
mod work;

use crate::generate::rate;
use crate::text_model::{Loaded, load};
use crate::{Checkpoint, Error, LoadOptions, Progress, memory, units};
use apr_kernel::{Limits, Pool};
use apr_model::{KvCache, Sampler, Sampling};
pub use report::{Bench, Limit, Rate, Shares};
use std::path::Path;
use std::time::Instant;
use work::Work;

/// Tokens of the prompt, where the model has so many positions.
const PROMPT_TOKENS: usize = 256;
/// Tokens that are generated, where the model has so many positions.
const GEN_TOKENS: usize = 64;

/// What to measure.
#[derive(Debug, Clone, Copy)]
pub struct BenchOptions {
    /// Tokens of the prompt; 256 or as many as the model has positions, if absent.
    pub prompt_tokens: Option<usize>,
    /// Tokens to generate, from an empty cache or after `depth` positions; 64 or as many as the
    /// model has positions, if absent.
    pub gen_tokens: Option<usize>,
    /// Positions in the cache before the first token is generated.
    pub depth: usize,
    /// Sequences that are generated together.
    pub batch: usize,
    /// Rounds that count.
    pub iterations: usize,
    /// Rounds before those.
    pub warmup: usize,
    /// Measure the limits of the machine as well.
    pub limits: bool,
    /// Keep each thread on a processor of its own.
    pub pin: bool,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            prompt_tokens: None,
            gen_tokens: None,
            depth: 0,
            batch: 1,
            iterations: 5,
            warmup: 1,
            limits: false,
            pin: false,
        }
    }
}

/// Opens a model and measures it. The tokens of the prompt are the same in every run, and the
/// model's own continue it; what they are makes no difference to the time.
///
/// # Errors
/// When the model cannot be run, or has not so many positions.
pub fn bench(
    source: &Path,
    load_options: &LoadOptions,
    options: BenchOptions,
    progress: &dyn Progress,
) -> Result<Bench, Error> {
    let numbers =
        [options.prompt_tokens, options.gen_tokens, Some(options.iterations), Some(options.batch)];
    if numbers.contains(&Some(0)) {
        return Err(Error::Argument("nothing to measure: a number is 0".to_owned()));
    }
    let start = Instant::now();
    let checkpoint = Checkpoint::open_with(source, progress)?;
    let loaded = load(&checkpoint, load_options, progress)?;
    if checkpoint.tokenizer_json()?.is_some() {
        // A text needs it before its first token; time that users wait belongs to the load.
        checkpoint.tokenizer()?;
    }
    if options.pin {
        loaded.decoder.pin()?;
    }
    let path = checkpoint.path().to_path_buf();
    // What a file says beside its weights is not needed any more.
    drop(checkpoint);
    let load_seconds = start.elapsed().as_secs_f64();
    let run = Run::new(&loaded, &path, options);
    run.prefill()?;
    let first_token_seconds = start.elapsed().as_secs_f64();
    let (prefill, decode) = run.rounds(options)?;
    let peak_memory_bytes = memory::peak();
    let work = Work::of(&loaded);
    // One reading of the weights serves all sequences.
    let weight_bytes = work.weight_bytes / units::size(options.batch);
    let cache_bytes = run.cache_bytes_per_token()?;
    let bytes_per_token = weight_bytes + cache_bytes;
    let limits = limits(&loaded, options)?;
    Ok(Bench {
        architecture: loaded.decoder.config().arch.name,
        types: work.types.clone(),
        kernels: loaded.kernels.name(),
        threads: loaded.decoder.threads(),
        prompt_tokens: run.prompt_tokens,
        gen_tokens: run.gen_tokens,
        depth: options.depth,
        batch: options.batch,
        iterations: options.iterations,
        warmup: options.warmup,
        prefill_tokens_per_second: prefill.median,
        prefill,
        tokens_per_second: decode.median,
        decode,
        load_seconds,
        first_token_seconds,
        peak_memory_bytes,
        weight_bytes_per_token: weight_bytes,
        cache: loaded.decoder.cache_type().name(),
        cache_bytes_per_token: cache_bytes,
        bytes_per_token,
        read_bytes_per_second: bytes_per_token as f64 * decode.median,
        limits: limits.map(|limits| {
            let least = work.least_prefill_seconds(run.prompt_tokens, &limits, loaded.kernels);
            let seconds = run.prompt_tokens as f64 / prefill.median;
            let read = bytes_per_token as f64 * decode.median / limits.read_bytes_per_second;
            Shares::new(&limits, read, least.map(|least| least / seconds))
        }),
    })
}

/// The limits of the machine with as many threads, if they are asked for.
fn limits(loaded: &Loaded, options: BenchOptions) -> Result<Option<Limits>, Error> {
    if !options.limits {
        return Ok(None);
    }
    let pool = Pool::new(loaded.decoder.threads());
    if options.pin {
        pool.pin()?;
    }
    Ok(Some(Limits::measure(&pool)))
}

/// A model and the lengths that are measured.
struct Run<'a> {
    loaded: &'a Loaded,
    path: &'a Path,
    prompt_tokens: usize,
    gen_tokens: usize,
    depth: usize,
    batch: usize,
}

impl<'a> Run<'a> {
    fn new(loaded: &'a Loaded, path: &'a Path, options: BenchOptions) -> Self {
        let positions = loaded.decoder.config().max_positions;
        let after = positions.saturating_sub(options.depth).max(1);
        Self {
            loaded,
            path,
            prompt_tokens: options.prompt_tokens.unwrap_or(PROMPT_TOKENS.min(positions)),
            gen_tokens: options.gen_tokens.unwrap_or(GEN_TOKENS.min(after)),
            depth: options.depth,
            batch: options.batch,
        }
    }

    /// The rates of prefill and decoding over the rounds that count.
    fn rounds(&self, options: BenchOptions) -> Result<(Rate, Rate), Error> {
        let (mut prefill, mut decode) = (Vec::new(), Vec::new());
        for round in 0..options.warmup.saturating_add(options.iterations) {
            let rates = (self.prefill()?, self.decode()?);
            if round >= options.warmup {
                prefill.push(rates.0);
                decode.push(rates.1);
            }
        }
        Ok((Rate::of(prefill), Rate::of(decode)))
    }

    /// Fixed numbers below the size of the vocabulary, spread by Knuth's multiplicative hash.
    fn tokens(&self, count: usize) -> Vec<u32> {
        let vocab = u32::try_from(self.loaded.decoder.config().vocab_size).unwrap_or(u32::MAX);
        let spread = |i: u32| i.wrapping_mul(0x9e37_79b1) % vocab.max(1);
        (1..).take(count).map(spread).collect()
    }

    /// Prompt tokens per second until the first token is known, from an empty cache.
    fn prefill(&self) -> Result<f64, Error> {
        let prompt = self.tokens(self.prompt_tokens);
        let mut session = self.session(1, 0, prompt.len())?;
        let start = Instant::now();
        session.next(&prompt)?;
        Ok(rate(prompt.len(), start.elapsed()))
    }

    /// Generated tokens per second, of all sequences together.
    fn decode(&self) -> Result<f64, Error> {
        let mut session = self.session(self.batch, self.depth, self.gen_tokens)?;
        let mut tokens = self.tokens(self.batch);
        let start = Instant::now();
        for _ in 0..self.gen_tokens {
            session.step(&mut tokens)?;
        }
        Ok(rate(self.batch * self.gen_tokens, start.elapsed()))
    }

    /// Greedy generations with `depth` positions behind them and `count` to come.
    fn session(&self, sequences: usize, depth: usize, count: usize) -> Result<Session<'_>, Error> {
        let (decoder, behind) = (&self.loaded.decoder, self.tokens(depth));
        let caches = (0..sequences).map(|_| {
            let mut cache = decoder.cache(depth.saturating_add(count))?;
            decoder.forward(&mut cache, &behind)?;
            Ok(cache)
        });
        Ok(Session {
            run: self,
            caches: caches.collect::<Result<_, _>>().map_err(Error::model(self.path))?,
            sampler: Sampler::new(Sampling::default()),
        })
    }

    /// Bytes of the cache that a generated token reads, on average.
    fn cache_bytes_per_token(&self) -> Result<u64, Error> {
        let cache = self.loaded.decoder.cache(0).map_err(Error::model(self.path))?;
        // The first reads depth + 1 positions, the last depth + gen_tokens.
        let twice = 2 * self.depth + self.gen_tokens + 1;
        Ok(units::size(cache.bytes_per_position() * twice / 2))
    }
}

/// Generations that are timed.
struct Session<'a> {
    run: &'a Run<'a>,
    caches: Vec<KvCache>,
    sampler: Sampler,
}

impl Session<'_> {
    /// The token that follows these in the first sequence.
    fn next(&mut self, tokens: &[u32]) -> Result<u32, Error> {
        let Run { loaded, path, .. } = self.run;
        let logits = loaded.decoder.next_logits(&mut self.caches[0], tokens);
        Ok(self.sampler.next(&logits.map_err(Error::model(path))?, &[]))
    }

    /// Replaces the token of each sequence by the one that follows it.
    fn step(&mut self, tokens: &mut [u32]) -> Result<(), Error> {
        let Run { loaded: Loaded { decoder, .. }, path, .. } = self.run;
        let mut caches: Vec<&mut KvCache> = self.caches.iter_mut().collect();
        let logits = decoder.step(&mut caches, tokens).map_err(Error::model(path))?;
        for (token, logits) in
            tokens.iter_mut().zip(logits.chunks_exact(decoder.config().vocab_size))
        {
            *token = self.sampler.next(logits, &[]);
        }
        Ok(())
    }
}
