//! Several tokens in one pass: guesses that are checked, and sequences that are decoded together,
//! give what decoding one by one gives.

use crate::harness::{Golden, Imported, MODELS, PROMPTS, failure, json, model, text};
use apr::{
    Checkpoint, Generate, Generation, Length, LoadOptions, Recipe, Sampling, Speculation, TextModel,
};

/// A text that repeats itself, as code does when it is edited.
const REPETITIVE: &str = "def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return a - b\n\n\
                          def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return";

fn load(name: &str, recipe: Option<&str>) -> TextModel {
    let recipe = recipe.map(|recipe| Recipe::named(recipe).unwrap());
    let options = LoadOptions { recipe, ..LoadOptions::default() };
    TextModel::open(&Checkpoint::open(model(name)).unwrap(), &options, &()).unwrap()
}

fn generate(model: &TextModel, prompt: &str, options: &Generate) -> Generation {
    let mut printed = String::new();
    let mut print = |text: &str| {
        printed.push_str(text);
        Ok(())
    };
    let generation = model.generate(prompt, options, &mut print).unwrap();
    assert_eq!(printed, generation.text);
    generation
}

/// Generates with and without guesses from the text and compares. Returns guessed and right tokens.
fn compare(model: &TextModel, prompt: &str, options: &Generate) -> (usize, usize) {
    compare_with(Speculation::Lookup, model, prompt, options)
}

fn compare_with(
    guesses: fn(usize) -> Speculation,
    model: &TextModel,
    prompt: &str,
    options: &Generate,
) -> (usize, usize) {
    let plain = generate(model, prompt, options);
    assert_eq!((plain.drafted, plain.accepted), (0, 0));
    assert_eq!(plain.passes, plain.tokens.len());
    let mut sums = (0, 0);
    for most in [1, 3, 8] {
        let speculation = guesses(most);
        let found = generate(model, prompt, &Generate { speculation, ..options.clone() });
        assert_eq!(found.tokens, plain.tokens, "{speculation:?} after {prompt:?}, {options:?}");
        assert_eq!(found.text, plain.text);
        assert_eq!(found.stop_reason, plain.stop_reason);
        assert!(found.accepted <= found.drafted, "{found:?}");
        // Every pass gives a token of its own, but the last one when the text ends at a guess.
        let of_guesses = found.tokens.len() - found.accepted;
        assert!(found.passes == of_guesses || found.passes == of_guesses + 1, "{found:?}");
        sums = (sums.0 + found.drafted, sums.1 + found.accepted);
    }
    sums
}

#[test]
fn lookup_gives_the_tokens_of_plain_decoding() {
    let mut sums = (0, 0);
    for (name, recipe) in
        MODELS.iter().flat_map(|name| [None, Some("int8"), Some("int4")].map(|r| (name, r)))
    {
        let model = load(name, recipe);
        let prompts = PROMPTS.map(|prompt| Golden::load(name, prompt).prompt);
        for prompt in prompts.iter().map(String::as_str).chain([REPETITIVE]) {
            let options = Generate { length: Length::Exactly(48), ..Generate::default() };
            let (drafted, accepted) = compare(&model, prompt, &options);
            sums = (sums.0 + drafted, sums.1 + accepted);
        }
    }
    println!("{} tokens guessed, {} right", sums.0, sums.1);
    assert!(sums.1 > 0 && sums.1 < sums.0, "{sums:?}: both kinds of guesses must occur");
}

/// What makes guessing exact: several tokens at once have the logits of one at a time.
#[test]
fn logits_do_not_depend_on_the_tokens_beside() {
    let recipes = [None, Some("int8"), Some("int4")];
    for (name, recipe) in MODELS.iter().flat_map(|name| recipes.map(|recipe| (name, recipe))) {
        let model = load(name, recipe);
        let decoder = model.decoder();
        let tokens = Golden::load(name, "unicode").all_tokens();
        let mut cache = decoder.cache(tokens.len()).unwrap();
        let mut one_by_one = Vec::new();
        for token in &tokens {
            one_by_one.extend(decoder.next_logits(&mut cache, &[*token]).unwrap());
        }
        for length in [2, 3, 5, 16, 40] {
            cache.truncate(4);
            let hidden = tokens[4..]
                .chunks(length)
                .flat_map(|tokens| decoder.forward(&mut cache, tokens).unwrap());
            let logits = decoder.logits(&hidden.collect::<Vec<_>>()).unwrap();
            let expected = &one_by_one[4 * decoder.config().vocab_size..];
            let same = logits.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same && logits.len() == expected.len(), "{name} {recipe:?}, {length} tokens");
        }
    }
}

/// Sequences of different lengths, each with the logits that it has alone.
#[test]
fn sequences_that_are_decoded_together_do_not_see_each_other() {
    for name in MODELS {
        let model = load(name, Some("int8"));
        let decoder = model.decoder();
        let prompts = PROMPTS.map(|prompt| Golden::load(name, prompt).prompt_tokens);
        let start = || {
            let caches = prompts.iter().map(|prompt| {
                let mut cache = decoder.cache(prompt.len() + 8).unwrap();
                decoder.forward(&mut cache, prompt).unwrap();
                cache
            });
            caches.collect::<Vec<_>>()
        };
        let (mut alone, mut together) = (start(), start());
        for round in 0..8 {
            let tokens: Vec<u32> = (0..6).map(|sequence| 7 * round + sequence).collect();
            let mut caches: Vec<_> = together.iter_mut().collect();
            let logits = decoder.step(&mut caches, &tokens).unwrap();
            let rows = logits.chunks_exact(decoder.config().vocab_size);
            assert_eq!(rows.len(), 6);
            for ((found, token), cache) in rows.zip(tokens).zip(&mut alone) {
                let expected = decoder.next_logits(cache, &[token]).unwrap();
                assert!(found == expected, "{name}: round {round}");
            }
        }
        let full = decoder.step(&mut [&mut together[0]], &[1]).unwrap_err().to_string();
        assert!(full.contains("the cache holds"), "{full}");
        let unequal = decoder.step(&mut [&mut together[0]], &[1, 2]).unwrap_err().to_string();
        assert!(unequal.contains("2 tokens for 1 caches"), "{unequal}");
    }
}

#[test]
fn lookup_draws_the_tokens_that_a_seed_gives_without_it() {
    let model = load("tiny-qwen2", Some("int8"));
    let warm = Sampling { temperature: 0.8, top_p: 0.95, ..Sampling::default() };
    let penalised = Sampling { repetition_penalty: 1.3, ..Sampling::default() };
    let seeds = (1..6).map(|seed| Sampling { seed, ..warm });
    for sampling in seeds.chain([penalised]) {
        let options = Generate { length: Length::Exactly(48), sampling, ..Generate::default() };
        compare(&model, REPETITIVE, &options);
    }
}

#[test]
fn a_text_ends_at_the_same_place_with_lookup() {
    let model = load("tiny-llama", None);
    let prompt = Golden::load("tiny-llama", "completion").prompt;
    let free = generate(&model, &prompt, &Generate::default());
    let stop: String = free.text.chars().skip(20).take(5).collect();
    for stop in [vec![], vec![stop]] {
        for length in [Length::AtMost(256), Length::AtMost(1), Length::Exactly(0)] {
            let options = Generate { length, stop: stop.clone(), ..Generate::default() };
            compare(&model, &prompt, &options);
        }
    }
}

#[test]
fn run_reports_what_was_guessed() {
    let folder = model("tiny-llama");
    let run = |extra: &[&str]| {
        json(&[&["run", text(&folder), "-p", REPETITIVE, "-n", "64"], extra].concat())
    };
    let (plain, found) = (run(&[]), run(&["--lookup"]));
    assert_eq!(found["tokens"], plain["tokens"]);
    assert_eq!(run(&["--lookup=3"])["tokens"], plain["tokens"]);
    let number = |key: &str| found[key].as_u64().unwrap();
    assert!(number("accepted") > 0 && number("accepted") <= number("drafted"), "{found}");
    assert_eq!(number("passes") + number("accepted"), 64, "{found}");
    assert_eq!((&plain["drafted"], &plain["accepted"]), (&0.into(), &0.into()));
    assert_eq!(plain["passes"], 64);
}

/// A model of fewer bits guesses for the whole one.
#[test]
fn a_draft_model_gives_the_tokens_of_plain_decoding() {
    let mut sums = (0, 0);
    for name in MODELS {
        let model = load(name, None).with_draft(load(name, Some("int4"))).unwrap();
        let prompts = PROMPTS.map(|prompt| Golden::load(name, prompt).prompt);
        for prompt in prompts.iter().map(String::as_str).chain([REPETITIVE]) {
            let options = Generate { length: Length::Exactly(48), ..Generate::default() };
            let (drafted, accepted) = compare_with(Speculation::Draft, &model, prompt, &options);
            sums = (sums.0 + drafted, sums.1 + accepted);
        }
    }
    println!("{} tokens drafted, {} right", sums.0, sums.1);
    assert!(sums.1 > 0 && sums.1 < sums.0, "{sums:?}: both kinds of guesses must occur");
}

#[test]
fn a_draft_model_draws_the_tokens_that_a_seed_gives_without_it() {
    let model = load("tiny-llama", Some("int8"));
    let model = model.with_draft(load("tiny-llama", Some("int4"))).unwrap();
    let warm = Sampling { temperature: 0.8, top_p: 0.95, ..Sampling::default() };
    let penalised = Sampling { repetition_penalty: 1.3, ..Sampling::default() };
    let mut right = 0;
    for sampling in (1..6).map(|seed| Sampling { seed, ..warm }).chain([penalised]) {
        let options = Generate { length: Length::Exactly(48), sampling, ..Generate::default() };
        right += compare_with(Speculation::Draft, &model, REPETITIVE, &options).1;
    }
    assert!(right > 0, "a draft in the sampler's state must be right at times");
}

#[test]
fn a_text_ends_at_the_same_place_with_a_draft_model() {
    let model = load("tiny-llama", None).with_draft(load("tiny-llama", None)).unwrap();
    let prompt = Golden::load("tiny-llama", "completion").prompt;
    let free = generate(&model, &prompt, &Generate::default());
    let stop: String = free.text.chars().skip(20).take(5).collect();
    for stop in [vec![], vec![stop]] {
        for length in [Length::AtMost(256), Length::AtMost(1), Length::Exactly(0)] {
            let options = Generate { length, stop: stop.clone(), ..Generate::default() };
            let (drafted, accepted) = compare_with(Speculation::Draft, &model, &prompt, &options);
            // The model itself is never wrong about itself; a text may end within a guess.
            assert!(drafted - accepted <= 3 * 7, "{accepted} of {drafted}");
        }
    }
}

#[test]
fn a_draft_model_with_another_vocabulary_is_refused() {
    let (llama, qwen2) = (model("tiny-llama"), model("tiny-qwen2"));
    let said = failure(&["run", text(&llama), "-p", "Hello", "-n", "4", "--draft", text(&qwen2)]);
    assert!(said.contains("cannot draft for") && said.contains("token "), "{said}");
    assert!(said.contains("tiny-llama") && said.contains("tiny-qwen2"), "{said}");
    let none = load("tiny-llama", None);
    let options = Generate { speculation: Speculation::Draft(4), ..Generate::default() };
    let error = none.generate("Hello", &options, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("no draft model"), "{error}");
}

#[test]
fn run_reports_what_was_drafted() {
    let folder = model("tiny-llama");
    let draft = Imported::new("tiny-llama", Some("int4"));
    let run = |extra: &[&str]| {
        json(&[&["run", text(&folder), "-p", REPETITIVE, "-n", "64"], extra].concat())
    };
    let plain = run(&[]);
    for extra in [&["--draft", draft.path()][..], &["--draft", draft.path(), "--draft-tokens", "3"]]
    {
        let found = run(extra);
        assert_eq!(found["tokens"], plain["tokens"]);
        let number = |key: &str| found[key].as_u64().unwrap();
        assert!(number("accepted") > 0 && number("accepted") <= number("drafted"), "{found}");
        assert_eq!(number("passes") + number("accepted"), 64, "{found}");
    }
}
