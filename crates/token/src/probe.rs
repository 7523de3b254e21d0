//! Texts on which the known ways to split and to tokenize differ.

use crate::TokenError;
use crate::pipeline::Pipeline;

/// Each line is there for a rule that some tokenizers have and others lack.
pub(crate) const TEXTS: &[&str] = &[
    // Runs of digits, and digits that are not ASCII.
    "in 1234567 and 12 34, 3.14159e-10, 0x1F4A9",
    "٣٤٥٦ ²³ ½ ⅷ 一二三 １２３４",
    // Contractions, in both cases and with another apostrophe.
    "I'm we've THEY'LL it'S don’t O'Neil 'tis 'Dawn",
    // Letters against marks, symbols and punctuation.
    "camelCase HTTPServer XMLHttpRequest iPhone ÉCOLE straße ǅ ªº ʰ",
    "e\u{301}a\u{308}\u{323} क्षि ท้ายที่ \u{212b} \u{fb01} \u{1e9b}\u{323}",
    "a.b,c;d::e->f == g != h && i || j <=> k ^ ~l `m` $n + o|p",
    "#include <stdio.h>\n//comment/\r\n/* x */ \"quoted\\n\" (it's) [0] {a} @at _under",
    "https://example.com/a/b?c=d&e=f#g me@example.org /usr/bin/",
    // White space: runs, line ends, tabs, what Unicode counts, and none at the ends.
    " leading",
    "trailing ",
    "  two  three   four",
    "\n\n  indented\n\tmore\n \n\n end \n",
    "a\r\nb\r\n\r\nc \r\n d\t\te \u{a0}f\u{3000}g\u{2003}\u{2003}h\u{2028}i\u{85}j",
    "   \n",
    "\t",
    " ",
    // Scripts without spaces, emoji of several characters, control characters.
    "東京は晴れです。中文字符，標點！한국어 텍스트 ㄱㄴ ・ー ｶﾅ",
    "ab中文cd 1中2",
    "🗼👩‍👩‍👧‍👦🏳️‍🌈👍🏽 🇫🇷!",
    "\u{1}\u{7f}\u{200b}\u{feff}x",
    "العربية نص، Ελληνικά Русский עברית",
    "▁a ▁▁b",
    "<unk> <0x41> [PAD0]",
    "aaaaaaaaaaaaaaa bbbbbbb ======= ---------- ........ \\\\\\\\",
    // Stretches between special tokens.
    "one\0two\0 three",
    "The quick brown fox jumps over the lazy dog; then it naps. def f(x):\n    return x ** 2\n",
];

/// The pieces of every probe text.
///
/// # Errors
/// When a step fails.
pub(crate) fn pieces(pipeline: &Pipeline) -> Result<Vec<Vec<String>>, TokenError> {
    TEXTS.iter().map(|text| pipeline.pieces(text)).collect()
}
