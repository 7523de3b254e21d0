//! At least 20,000 lines: the repository's own code and prose, and generated Unicode.

use crate::{read, root};
use std::fs;
use std::path::Path;

/// Lines of everything that is text here, then generated ones; the same on every run.
pub(crate) fn lines() -> Vec<String> {
    let mut files = Vec::new();
    for folder in ["crates", "docs", "tests"] {
        find(&root().join(folder), &mut files);
    }
    files.sort();
    let mut lines: Vec<String> = Vec::new();
    for file in files {
        lines.extend(fs::read_to_string(file).unwrap().lines().map(str::to_owned));
    }
    let prose = read("tests/data/heldout.txt");
    lines.extend(prose.lines().map(str::to_owned));
    // Line ends inside of a text, and texts of many lines.
    lines.push(prose);
    lines.extend(["Cargo.lock", "README.md"].map(|path| read(path).replace('\n', "\r\n")));
    let mut random = Random(20);
    while lines.len() < 24_000 {
        lines.push(random.line());
    }
    lines
}

fn find(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            find(&path, files);
        } else if matches!(extension, Some("rs" | "md" | "py" | "toml" | "jinja")) {
            files.push(path);
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((z ^ (z >> 31)) % u64::from(limit)).unwrap()
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(u32::try_from(list.len()).unwrap()) as usize]
    }

    fn line(&mut self) -> String {
        let parts = 1 + self.below(10);
        (0..parts).map(|_| self.part()).collect()
    }

    fn part(&mut self) -> String {
        let count = 1 + self.below(6);
        match self.below(12) {
            0 => self.chars(
                count,
                &[('一', '龥'), ('ぁ', 'ん'), ('ァ', 'ヶ'), ('가', '힣'), ('ㄅ', 'ㄯ')],
            ),
            1 => self.chars(count, &[('ؠ', 'ي'), ('א', 'ת'), ('क', 'ह'), ('ก', 'ฮ')]),
            2 => self.chars(count, &[('À', 'ÿ'), ('Α', 'ω'), ('А', 'я'), ('Ǆ', 'ǳ'), ('Ḁ', 'ỿ')]),
            // Letters with combining marks, composed and not.
            3 => (0..count)
                .flat_map(|_| {
                    [self.chars(1, &[('a', 'z')]), self.chars(1, &[('\u{300}', '\u{36f}')])]
                })
                .collect(),
            4 => self.chars(count.div_ceil(3), &[('\u{0}', '\u{1f}'), ('\u{7f}', '\u{9f}')]),
            5 => self.chars(4 * count, &[('0', '9')]),
            6 => self.chars(count, &[('٠', '٩'), ('０', '９'), ('½', '¾'), ('Ⅰ', 'ↈ'), ('①', '⑳')]),
            7 => {
                let spaces = [
                    " ", "  ", "\t", "\n", "\r\n", "\u{a0}", "\u{2003}", "\u{3000}", "\u{2028}",
                    "\u{85}", "\u{200b}",
                ];
                (0..count).map(|_| self.pick(&spaces)).collect()
            }
            8 => {
                let emoji =
                    ["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇫🇷", "🗼", "❤️", "1️⃣", "🧑🏿‍🚀", "\u{200d}", "\u{fe0f}"];
                (0..count).map(|_| self.pick(&emoji)).collect()
            }
            9 => self.chars(
                count,
                &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~'), ('‐', '⁞'), ('、', '〿')],
            ),
            10 => {
                let words = [
                    "I'm",
                    "THEY'LL",
                    "it'S",
                    "don’t",
                    "camelCase",
                    "HTTPServer",
                    "<unk>",
                    "<0x41>",
                    "▁",
                    "<s>",
                    "[PAD0]",
                    "naïve",
                ];
                format!(" {}", self.pick(&words))
            }
            _ => self.chars(count, &[('\u{1}', '\u{d7ff}'), ('\u{e000}', '\u{10ffff}')]),
        }
    }

    /// Characters out of these ranges, both ends included.
    fn chars(&mut self, count: u32, ranges: &[(char, char)]) -> String {
        (0..count)
            .map(|_| {
                let (first, last) = self.pick(ranges);
                let at = self.below(u32::from(last) - u32::from(first) + 1);
                char::from_u32(u32::from(first) + at).unwrap_or('\u{fffd}')
            })
            .collect()
    }
}

#[test]
fn the_corpus_is_large() {
    let lines = lines();
    assert!(lines.len() >= 20_000);
    assert_eq!(lines, self::lines());
}
