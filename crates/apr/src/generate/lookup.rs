//! Guessing the next tokens: what followed the last ones when they occurred before (prompt lookup,
//! Saxena 2023). A guess costs no model; what it is worth is found by running the model on it.

/// Last tokens that are looked up: the longest run that occurs before decides.
const LONGEST: usize = 4;
const SHORTEST: usize = 2;

/// Tokens of the first guess, and of each after a wrong one: several tokens cost the model little
/// more than two.
const FIRST: usize = 4;
/// Passes without a guess, at most, after one that was all wrong.
const LONGEST_PAUSE: usize = 15;

/// Guesses tokens from a text's own repetitions: more at a time where guesses are right, and less
/// often where they are wrong.
#[derive(Debug)]
pub(super) struct Lookup {
    /// Tokens of a guess at most.
    most: usize,
    /// Tokens of the next guess at most.
    length: usize,
    /// Passes to go without a guess after the last wrong one.
    pause: usize,
    /// Passes to go without a guess from now on.
    wait: usize,
}

impl Lookup {
    pub(super) fn new(most: usize) -> Self {
        Self { most, length: FIRST.min(most), pause: 0, wait: 0 }
    }

    /// The tokens that may follow `seen`, at most `limit`; none if its end never occurred before.
    pub(super) fn guess(&mut self, seen: &[u32], limit: usize) -> Vec<u32> {
        if self.wait > 0 {
            self.wait -= 1;
            return Vec::new();
        }
        let wanted = self.length.min(limit);
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

    /// Learns that of `guessed` tokens the first `right` were right.
    pub(super) fn learn(&mut self, guessed: usize, right: usize) {
        if guessed == 0 {
            return;
        }
        let length = if right == guessed { 2 * self.length } else { FIRST.max(right + 1) };
        self.length = length.min(self.most);
        self.pause = if right > 0 { 0 } else { LONGEST_PAUSE.min(2 * self.pause + 1) };
        self.wait = self.pause;
    }
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

    fn guess(most: usize, seen: &[u32], limit: usize) -> Vec<u32> {
        Lookup::new(most).guess(seen, limit)
    }

    #[test]
    fn the_longest_and_then_the_last_repetition_decides() {
        assert_eq!(guess(3, &[1, 2, 3, 4, 5, 6, 1, 2], 9), [3, 4, 5]);
        assert_eq!(guess(2, &[1, 2, 7, 1, 2, 8, 1, 2], 9), [8, 1]);
        assert_eq!(guess(1, &[9, 1, 2, 7, 5, 1, 2, 8, 9, 1, 2], 9), [7]);
    }

    #[test]
    fn a_repetition_goes_on() {
        assert_eq!(guess(4, &[5, 5, 5], 9), [5; 4]);
        assert_eq!(guess(4, &[1, 2, 3, 1, 2, 3], 9), [1, 2, 3, 1]);
        assert_eq!(guess(4, &[1, 2, 3, 1, 2], 9), [3, 1, 2, 3]);
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
    fn right_guesses_make_the_next_ones_longer_and_wrong_ones_shorter() {
        let seen: Vec<u32> = (0..40).chain([0, 1]).collect();
        let mut lookup = Lookup::new(20);
        assert_eq!(lookup.guess(&seen, 99).len(), 4);
        lookup.learn(4, 4);
        assert_eq!(lookup.guess(&seen, 99).len(), 8);
        lookup.learn(8, 8);
        assert_eq!(lookup.guess(&seen, 99).len(), 16);
        lookup.learn(16, 16);
        assert_eq!(lookup.guess(&seen, 99).len(), 20);
        lookup.learn(20, 6);
        assert_eq!(lookup.guess(&seen, 99).len(), 7);
        lookup.learn(7, 1);
        assert_eq!(lookup.guess(&seen, 99).len(), 4);
        lookup.learn(0, 0);
        assert_eq!(lookup.guess(&seen, 99).len(), 4);
    }

    #[test]
    fn after_guesses_that_are_all_wrong_come_pauses() {
        let seen = [1, 2, 3, 4, 5, 6, 1, 2];
        let mut lookup = Lookup::new(4);
        let passes_until_guess =
            |lookup: &mut Lookup| (1..).find(|_| !lookup.guess(&seen, 9).is_empty()).unwrap();
        for expected in [1, 2, 4, 8, 16, 16] {
            assert_eq!(passes_until_guess(&mut lookup), expected);
            lookup.learn(4, 0);
        }
        assert_eq!(passes_until_guess(&mut lookup), 16);
        lookup.learn(4, 1);
        assert_eq!(passes_until_guess(&mut lookup), 1);
    }
}
