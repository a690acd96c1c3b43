//! One source file, prepared so that rules can read it line by line.
//!
//! Rules must not trip over the word `unsafe` in a comment or a brace in a string, and most do not hold in
//! tests. So each file is read once and kept in three parallel views: the lines as written, the same lines
//! with comments and literals blanked out (same columns), and for each line whether it is test code.

/// A file of ours.
pub struct Source {
    /// Path from the root of the repository, with `/`.
    pub path: String,
    /// The lines as written.
    pub lines: Vec<String>,
    /// The lines with comments, strings and characters blanked out; equal to `lines` where it is not Rust.
    pub code: Vec<String>,
    /// Whether the line is test code.
    pub test: Vec<bool>,
}

impl Source {
    /// Prepares the text of the file at `path`.
    pub fn new(path: &str, text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let code: Vec<String> = if path.ends_with(".rs") {
            blank(text).lines().map(str::to_owned).collect()
        } else {
            lines.clone()
        };
        let whole = is_test_path(path) || code.iter().any(|l| l.starts_with("#![cfg(test)]"));
        let test = if whole { vec![true; lines.len()] } else { test_lines(&code) };
        Source { path: path.to_owned(), lines, code, test }
    }

    /// Whether this is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Code that is not test code: line number from 1, blanked line.
    pub fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .iter()
            .zip(&self.test)
            .enumerate()
            .filter(|(_, (_, test))| !**test)
            .map(|(i, (l, _))| (i + 1, &**l))
    }

    /// Whether line `n` or the one above it carries the comment `// MARK: why` with a reason of some length.
    pub fn excused(&self, n: usize, mark: &str) -> bool {
        let at = |n: usize| n.checked_sub(1).and_then(|i| self.lines.get(i));
        [at(n), at(n.saturating_sub(1))].into_iter().flatten().any(|line| {
            let comment = line.split_once("//").map_or("", |(_, c)| c).trim_start();
            comment.strip_prefix(mark).and_then(|r| r.strip_prefix(':')).is_some_and(|r| r.trim().len() > 3)
        })
    }

    /// The comment at the head of the file.
    pub fn head(&self) -> String {
        let comment = |l: &&String| l.starts_with("//") || l.starts_with('#') || l.trim().is_empty();
        self.lines.iter().take_while(comment).fold(String::new(), |all, l| all + l + "\n")
    }
}

/// Whether every line of the file at `path` is test code.
fn is_test_path(path: &str) -> bool {
    let stem = path.rsplit('/').next().unwrap_or(path);
    ["test/", "fuzz/", "examples/"].iter().any(|top| path.starts_with(top))
        || ["/tests/", "/benches/", "/examples/"].iter().any(|part| path.contains(part))
        || stem == "tests.rs"
}

/// Whether `text` has `word` at `at` with no identifier character on either side.
pub fn is_word(text: &str, at: usize, word: &str) -> bool {
    let ident = |c: char| c.is_alphanumeric() || c == '_';
    !text[..at].ends_with(ident) && !text[at + word.len()..].starts_with(ident)
}

/// Whether `word` occurs in `text` as a whole word.
pub fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| is_word(text, at, word))
}

/// Marks the items behind `#[test]`, `#[cfg(test)]` and `#[cfg(loom)]`.
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut test = vec![false; code.len()];
    for (i, line) in code.iter().enumerate() {
        let line = line.trim_start();
        let attribute = line.starts_with("#[test]")
            || line.starts_with("#[cfg(")
                && (has_word(line, "test") || has_word(line, "loom"))
                && !line.contains("not(");
        if attribute {
            let end = item_end(code, i);
            test[i..=end].fill(true);
        }
    }
    test
}

/// The last line of the item whose attributes start at line `from`: its closing brace or semicolon.
pub fn item_end(code: &[String], from: usize) -> usize {
    let (mut braces, mut others) = (0_i32, 0_i32);
    for (i, line) in code.iter().enumerate().skip(from) {
        for c in line.chars() {
            match c {
                '(' | '[' => others += 1,
                ')' | ']' => others -= 1,
                '{' => braces += 1,
                '}' => {
                    braces -= 1;
                    if braces <= 0 && others <= 0 {
                        return i;
                    }
                }
                ';' if braces == 0 && others == 0 => return i,
                _ => {}
            }
        }
    }
    code.len().saturating_sub(1)
}

/// What the scanner is inside of.
#[derive(Clone, Copy, PartialEq)]
enum In {
    Code,
    Line,
    Block(u32),
    Text,
    Raw(usize),
}

/// The text with comments, strings and character literals replaced by blanks; lines and columns stay.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut inside = In::Code;
    let mut i = 0;
    while i < chars.len() {
        let rest = &chars[i..];
        let (taken, keep, next) = match inside {
            In::Code => in_code(&chars, i),
            In::Line => (1, false, if rest[0] == '\n' { In::Code } else { In::Line }),
            In::Block(depth) => match rest {
                ['*', '/', ..] => (2, false, if depth == 1 { In::Code } else { In::Block(depth - 1) }),
                ['/', '*', ..] => (2, false, In::Block(depth + 1)),
                _ => (1, false, inside),
            },
            In::Text => match rest {
                ['\\', _, ..] => (2, false, inside),
                ['"', ..] => (1, false, In::Code),
                _ => (1, false, inside),
            },
            In::Raw(hashes) => {
                let closes =
                    rest[0] == '"' && rest[1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
                if closes { (1 + hashes, false, In::Code) } else { (1, false, inside) }
            }
        };
        for c in &rest[..taken.min(rest.len())] {
            out.push(if keep || *c == '\n' { *c } else { ' ' });
        }
        inside = next;
        i += taken;
    }
    out
}

/// One step in code: characters taken, whether they are kept, what follows.
fn in_code(chars: &[char], i: usize) -> (usize, bool, In) {
    let rest = &chars[i..];
    let after_ident = i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_');
    let after_prefix =
        i > 0 && matches!(chars[i - 1], 'b' | 'c') && !(i > 1 && chars[i - 2].is_alphanumeric());
    match rest {
        ['/', '/', ..] => (2, false, In::Line),
        ['/', '*', ..] => (2, false, In::Block(1)),
        ['"', ..] => (1, false, In::Text),
        ['r', tail @ ..] if !after_ident || after_prefix => {
            let hashes = tail.iter().take_while(|c| **c == '#').count();
            if tail.get(hashes) == Some(&'"') {
                (2 + hashes, false, In::Raw(hashes))
            } else {
                (1, true, In::Code)
            }
        }
        ['\'', '\\', _, tail @ ..] => {
            let more = tail.iter().position(|c| *c == '\'').map_or(0, |n| n + 1);
            (3 + more, false, In::Code)
        }
        ['\'', _, '\'', ..] => (3, false, In::Code),
        _ => (1, true, In::Code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_blanked_in_place() {
        let text = "let a = \"un{safe\"; // unsafe\nlet b = 'x'; \
            let c: &'a str = r#\"{\"#; /* { /* */ } */ let d = '\\'';";
        let code = blank(text);
        assert_eq!(
            code.lines().map(str::len).collect::<Vec<_>>(),
            text.lines().map(str::len).collect::<Vec<_>>()
        );
        assert!(!code.contains("unsafe") && !code.contains('{') && !code.contains('x'));
        assert!(code.contains("&'a str") && code.trim_end().ends_with(';'));
    }

    #[test]
    fn raw_identifiers_and_escapes_do_not_open_strings() {
        assert_eq!(blank("fn r#type() { \"\\\\\"; f() }"), "fn r#type() {     ; f() }");
    }

    #[test]
    fn test_code_is_told_from_product_code() {
        let text = "fn a() {}\n#[cfg(test)]\nmod t {\n  fn b() {}\n}\n\
            #[cfg(not(test))]\nfn c() {}\n#[test]\nfn d(x: [u8; 2]) {\n}\n";
        let source = Source::new("sys/x/src/lib.rs", text);
        let lines: Vec<usize> = source.product().map(|(n, _)| n).collect();
        assert_eq!(lines, [1, 6, 7]);
        assert!(Source::new("sys/x/tests/a.rs", "fn a() {}").test[0]);
    }

    #[test]
    fn an_excuse_needs_a_reason() {
        let source = Source::new("a.rs", "x(); // tidy: because it must\ny(); // tidy:\nz();\nq();");
        assert!(source.excused(1, "tidy") && source.excused(2, "tidy"));
        assert!(!source.excused(3, "tidy") && !source.excused(4, "tidy"));
    }

    #[test]
    fn words_have_borders() {
        assert!(has_word("unsafe {", "unsafe") && !has_word("unsafe_code", "unsafe"));
    }
}
