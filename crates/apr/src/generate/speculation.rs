//! Guessing tokens that the model then checks in one pass: who guesses, how many, and how often.

use super::draft::Draft;
use super::lookup::Lookup;
use crate::{Error, TextModel};
use apr_model::Sampler;

/// Tokens of the first guess, and of each after a wrong one. With the token before them they are
/// four, which cost the model little more than two.
const FIRST: usize = 3;
/// Passes without a guess, at most, after one that was all wrong.
const LONGEST_PAUSE: usize = 15;

/// Who guesses the next tokens, and how many at a time at most. Guesses cost no token: the model
/// checks each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speculation {
    /// Nobody.
    #[default]
    Off,
    /// The text's own repetitions.
    Lookup(usize),
    /// The draft model of [`TextModel::with_draft`].
    Draft(usize),
}

/// Guesses what follows a text.
pub(super) trait Guesser {
    /// At most `wanted` tokens that may follow `seen`; none where there is nothing to go by.
    /// `sampler` is in the state in which it will choose the first of them.
    ///
    /// # Errors
    /// When a model that guesses cannot run.
    fn guess(&mut self, seen: &[u32], wanted: usize, sampler: &Sampler) -> Result<Vec<u32>, Error>;
}

/// Asks for guesses: more at a time where they are right, and less often where they are wrong.
pub(super) struct Speculator<'a> {
    guesser: Box<dyn Guesser + 'a>,
    pace: Pace,
}

impl<'a> Speculator<'a> {
    /// For a text of `total` tokens in the end; none if nobody guesses.
    ///
    /// # Errors
    /// When a draft model is asked for and there is none.
    pub(super) fn new(
        model: &'a TextModel,
        speculation: Speculation,
        total: usize,
    ) -> Result<Option<Self>, Error> {
        let (guesser, most): (Box<dyn Guesser + 'a>, usize) = match speculation {
            Speculation::Off | Speculation::Lookup(0) | Speculation::Draft(0) => return Ok(None),
            Speculation::Lookup(most) => (Box::new(Lookup), most),
            Speculation::Draft(most) => (Box::new(Draft::new(model, total)?), most),
        };
        Ok(Some(Self { guesser, pace: Pace::new(most) }))
    }

    /// At most `limit` tokens that may follow `seen`.
    ///
    /// # Errors
    /// Those of the guesser.
    pub(super) fn guess(
        &mut self,
        seen: &[u32],
        limit: usize,
        sampler: &Sampler,
    ) -> Result<Vec<u32>, Error> {
        match self.pace.next().min(limit) {
            0 => Ok(Vec::new()),
            wanted => self.guesser.guess(seen, wanted, sampler),
        }
    }

    /// Learns that of `guessed` tokens the first `right` were right.
    pub(super) fn learn(&mut self, guessed: usize, right: usize) {
        self.pace.learn(guessed, right);
    }
}

/// How many tokens to guess, and when.
#[derive(Debug)]
struct Pace {
    /// Tokens of a guess at most.
    most: usize,
    /// Tokens of the next guess at most.
    length: usize,
    /// Passes to go without a guess after the last wrong one.
    pause: usize,
    /// Passes to go without a guess from now on.
    wait: usize,
}

impl Pace {
    fn new(most: usize) -> Self {
        Self { most, length: FIRST.min(most), pause: 0, wait: 0 }
    }

    /// Tokens to guess before the next pass.
    const fn next(&mut self) -> usize {
        if self.wait > 0 {
            self.wait -= 1;
            return 0;
        }
        self.length
    }

    fn learn(&mut self, guessed: usize, right: usize) {
        if guessed == 0 {
            return;
        }
        let length = if right == guessed { 2 * self.length } else { FIRST.max(right + 1) };
        self.length = length.min(self.most);
        self.pause = if right > 0 { 0 } else { LONGEST_PAUSE.min(2 * self.pause + 1) };
        self.wait = self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_guesses_make_the_next_ones_longer_and_wrong_ones_shorter() {
        let mut pace = Pace::new(20);
        assert_eq!(pace.next(), 3);
        for (guessed, right, next) in
            [(3, 3, 6), (6, 6, 12), (12, 12, 20), (20, 6, 7), (7, 1, 3), (0, 0, 3)]
        {
            pace.learn(guessed, right);
            assert_eq!(pace.next(), next, "{right} of {guessed}");
        }
        assert_eq!(Pace::new(2).next(), 2);
    }

    #[test]
    fn after_guesses_that_are_all_wrong_come_pauses() {
        let mut pace = Pace::new(3);
        let passes_until_guess = |pace: &mut Pace| (1..).find(|_| pace.next() > 0).unwrap();
        for expected in [1, 2, 4, 8, 16, 16] {
            assert_eq!(passes_until_guess(&mut pace), expected);
            pace.learn(3, 0);
        }
        assert_eq!(passes_until_guess(&mut pace), 16);
        pace.learn(3, 1);
        assert_eq!(passes_until_guess(&mut pace), 1);
    }
}
