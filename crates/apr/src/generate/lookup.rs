//! Guessing the next tokens: what followed the last ones when they occurred before (prompt lookup,
//! Saxena 2023). A guess costs no model; what it is worth is found by running the model on it.

/// Last tokens that are looked up: the longest run that occurs before decides.
const LONGEST: usize = 4;
const SHORTEST: usize = 2;

/// Guesses tokens from a text's own repetitions, fewer at a time where guesses turn out wrong.
#[derive(Debug)]
pub(super) struct Lookup {
    /// Tokens of a guess at most.
    most: usize,
    /// Tokens of the next guess at most.
    length: usize,
}

impl Lookup {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, length: most }
    }

    /// The tokens that may follow `seen`, at most `limit`; none if its end never occurred before.
    pub(super) fn guess(&self, seen: &[u32], limit: usize) -> Vec<u32> {
        let wanted = self.length.min(limit);
        if wanted == 0 {
            return Vec::new();
        }
        let follows = (SHORTEST..=LONGEST).rev().find_map(|len| last_occurrence(seen, len));
        follows.map_or(Vec::new(), |follows| follows[..wanted.min(follows.len())].to_vec())
    }

    /// Learns that of `guessed` tokens the first `right` were right.
    pub(super) fn learn(&mut self, guessed: usize, right: usize) {
        if guessed > 0 {
            let length = if right == guessed { 2 * self.length } else { right + 1 };
            self.length = length.min(self.most);
        }
    }
}

/// What follows the last earlier occurrence of the last `len` tokens.
fn last_occurrence(seen: &[u32], len: usize) -> Option<&[u32]> {
    let (earlier, end) = seen.split_at_checked(seen.len().checked_sub(len)?)?;
    // An occurrence may reach into the end, but it is not the end itself.
    let starts = (0..earlier.len()).rev();
    starts.map(|start| &seen[start..]).find(|from| from.starts_with(end)).map(|from| &from[len..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(most: usize, seen: &[u32], limit: usize) -> Vec<u32> {
        Lookup::new(most).guess(seen, limit)
    }

    #[test]
    fn the_longest_and_then_the_last_repetition_decides() {
        assert_eq!(guess(3, &[1, 2, 3, 4, 5, 6, 1, 2], 9), [3, 4, 5]);
        assert_eq!(guess(2, &[1, 2, 7, 1, 2, 8, 1, 2], 9), [8, 1]);
        assert_eq!(guess(1, &[9, 1, 2, 7, 5, 1, 2, 8, 9, 1, 2], 9), [7]);
        assert_eq!(guess(4, &[5, 5, 5], 9), [5]);
    }

    #[test]
    fn nothing_is_guessed_without_repetition_or_room() {
        assert!(guess(4, &[], 9).is_empty());
        assert!(guess(4, &[1], 9).is_empty());
        assert!(guess(4, &[1, 2, 3, 2], 9).is_empty());
        assert!(guess(4, &[1, 2, 3, 1, 2], 0).is_empty());
        assert_eq!(guess(4, &[1, 2, 3, 1, 2], 1), [3]);
    }

    #[test]
    fn wrong_guesses_make_the_next_ones_shorter() {
        let mut lookup = Lookup::new(8);
        let seen: Vec<u32> = [(0..20).collect::<Vec<_>>(), vec![0, 1]].concat();
        lookup.learn(8, 2);
        assert_eq!(lookup.guess(&seen, 9), [2, 3, 4]);
        lookup.learn(3, 0);
        assert_eq!(lookup.guess(&seen, 9), [2]);
        lookup.learn(0, 0);
        lookup.learn(1, 1);
        lookup.learn(2, 2);
        assert_eq!(lookup.guess(&seen, 9), [2, 3, 4, 5]);
        lookup.learn(4, 4);
        lookup.learn(8, 8);
        assert_eq!(lookup.guess(&seen, 9).len(), 8);
    }
}
