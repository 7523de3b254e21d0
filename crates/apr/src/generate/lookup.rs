//! Guessing the next tokens: what followed the last ones when they occurred before (prompt lookup,
//! Saxena 2023). A guess costs no model; what it is worth is found by running the model on it.

use super::speculation::Guesser;
use crate::Error;
use apr_model::Sampler;

/// Last tokens that are looked up: the longest run that occurs before decides.
const LONGEST: usize = 4;
const SHORTEST: usize = 2;

/// Guesses tokens from a text's own repetitions.
#[derive(Debug)]
pub(super) struct Lookup;

impl Guesser for Lookup {
    fn guess(
        &mut self,
        seen: &[u32],
        wanted: usize,
        _sampler: &Sampler,
    ) -> Result<Vec<u32>, Error> {
        Ok(continuation(seen, wanted))
    }
}

/// The tokens that may follow `seen`, at most `wanted`; none if its end never occurred before.
fn continuation(seen: &[u32], wanted: usize) -> Vec<u32> {
    let source = (SHORTEST..=LONGEST).rev().find_map(|len| after_last_occurrence(seen, len));
    let (Some(source), true) = (source, wanted > 0) else { return Vec::new() };
    // Where the occurrence is near, what follows it is the guess itself: a repetition goes on.
    let mut text = seen[source..].to_vec();
    for at in 0..wanted {
        text.push(text[at]);
    }
    text.truncate(wanted);
    text
}

/// Where the last earlier occurrence of the last `len` tokens is over.
fn after_last_occurrence(seen: &[u32], len: usize) -> Option<usize> {
    let (earlier, end) = seen.split_at_checked(seen.len().checked_sub(len)?)?;
    // An occurrence may reach into the end, but it is not the end itself.
    (0..earlier.len()).rev().find(|&start| seen[start..].starts_with(end)).map(|start| start + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_and_then_the_last_repetition_decides() {
        assert_eq!(continuation(&[1, 2, 3, 4, 5, 6, 1, 2], 3), [3, 4, 5]);
        assert_eq!(continuation(&[1, 2, 7, 1, 2, 8, 1, 2], 2), [8, 1]);
        assert_eq!(continuation(&[9, 1, 2, 7, 5, 1, 2, 8, 9, 1, 2], 1), [7]);
    }

    #[test]
    fn a_repetition_goes_on() {
        assert_eq!(continuation(&[5, 5, 5], 4), [5; 4]);
        assert_eq!(continuation(&[1, 2, 3, 1, 2, 3], 4), [1, 2, 3, 1]);
        assert_eq!(continuation(&[1, 2, 3, 1, 2], 4), [3, 1, 2, 3]);
    }

    #[test]
    fn nothing_is_guessed_without_repetition_or_room() {
        assert!(continuation(&[], 4).is_empty());
        assert!(continuation(&[1], 4).is_empty());
        assert!(continuation(&[1, 2, 3, 2], 4).is_empty());
        assert!(continuation(&[1, 2, 3, 1, 2], 0).is_empty());
        assert_eq!(continuation(&[1, 2, 3, 1, 2], 1), [3]);
    }
}
