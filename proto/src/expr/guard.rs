//! Bounds on the text of an expression, before any parser sees it.
//!
//! The CEL parser descends once per bracket and once per chained operator, with large frames. This
//! scan finds how deep it would go. It is exact about what is text in quotes (where brackets mean
//! nothing) and refuses the two constructs in which it could disagree with the parser's lexer:
//! comments and backquotes.

use super::{ExprError, MAX_SOURCE_BYTES};

/// Deepest nesting: brackets plus the chained operators around them.
const MAX_DEPTH: usize = 48;
/// Most `?:`, which nest to the right whatever stands between them.
const MAX_CHOICES: usize = 16;

/// Refuses what is too long or too deep to be parsed.
pub(super) fn check(source: &str) -> Result<(), ExprError> {
    let error = |column, message: String| Err(ExprError { column, message });
    if source.len() > MAX_SOURCE_BYTES {
        let message =
            format!("it has {} bytes; at most {MAX_SOURCE_BYTES} are allowed", source.len());
        return error(1, message);
    }
    if source.trim().is_empty() {
        return error(1, "it is empty".to_owned());
    }
    let chars: Vec<char> = source.chars().collect();
    let mut scan = Scan { chars: &chars, at: 0 };
    let mut depth = Depth::default();
    loop {
        let column = scan.at + 1;
        let Some(token) = scan.next() else { return Ok(()) };
        match token {
            Token::Fault(message) => return error(column, message.to_owned()),
            token => depth.add(&token),
        }
        if depth.total() > MAX_DEPTH || depth.choices > MAX_CHOICES {
            let message = format!(
                "it is nested too deeply; at most {MAX_DEPTH} brackets and chained operators, \
                 and {MAX_CHOICES} times ?:, are allowed"
            );
            return error(column, message);
        }
    }
}

/// What matters for depth.
enum Token {
    Open,
    Close,
    /// Begins a sibling: `&&` and `||` are parsed in a loop, a comma separates.
    Separator,
    Choice,
    /// Any other operator, each a level of the tree.
    Operator,
    /// Names, numbers, texts, spaces.
    Other,
    Fault(&'static str),
}

#[derive(Default)]
struct Depth {
    /// The operators before each open bracket, and the bracket itself.
    open: Vec<usize>,
    /// The sum of `open`.
    outside: usize,
    /// Operators chained since the last separator, inside the innermost bracket.
    run: usize,
    choices: usize,
}

impl Depth {
    fn total(&self) -> usize {
        self.outside + self.run
    }

    fn add(&mut self, token: &Token) {
        match token {
            Token::Open => {
                self.outside += self.run + 1;
                self.open.push(self.run + 1);
                self.run = 0;
            }
            Token::Close => {
                // The chain goes on behind the bracket: `(1) + (1) + …` is one.
                let level = self.open.pop().unwrap_or(1);
                self.outside = self.outside.saturating_sub(level);
                self.run = level - 1;
            }
            Token::Separator => self.run = 0,
            Token::Choice => self.choices += 1,
            Token::Operator => self.run += 1,
            Token::Other | Token::Fault(_) => {}
        }
    }
}

/// A lexer of just enough CEL.
struct Scan<'a> {
    chars: &'a [char],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<Token> {
        let c = self.peek(0)?;
        if c.is_alphanumeric() || c == '_' {
            return Some(self.word());
        }
        if c == '"' || c == '\'' {
            return Some(self.quoted(false));
        }
        self.at += 1;
        Some(match (c, self.peek(0)) {
            ('/', Some('/')) => Token::Fault("comments are not allowed"),
            ('`', _) => Token::Fault("backquotes are not allowed"),
            ('(' | '[' | '{', _) => Token::Open,
            (')' | ']' | '}', _) => Token::Close,
            (',', _) => Token::Separator,
            ('&', Some('&')) | ('|', Some('|')) => {
                self.at += 1;
                Token::Separator
            }
            ('=' | '!' | '<' | '>', Some('=')) => {
                self.at += 1;
                Token::Operator
            }
            ('?', _) => Token::Choice,
            ('+' | '-' | '*' | '/' | '%' | '<' | '>' | '!' | '.', _) => Token::Operator,
            _ => Token::Other,
        })
    }

    /// A name, a number, the operator `in`, or the prefix of a text: `r"…"`.
    fn word(&mut self) -> Token {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c.is_alphanumeric() || c == '_') {
            self.at += 1;
        }
        let word = self.chars.get(start..self.at).unwrap_or_default();
        let quoted = matches!(self.peek(0), Some('"' | '\''));
        if quoted && word.iter().all(|c| "rRbB".contains(*c)) {
            return self.quoted(word.iter().any(|c| "rR".contains(*c)));
        }
        if word == ['i', 'n'] { Token::Operator } else { Token::Other }
    }

    /// Skips a text in quotes, single or tripled; in a raw one a backslash is a character.
    fn quoted(&mut self, raw: bool) -> Token {
        let quote = self.peek(0);
        let triple = self.peek(1) == quote && self.peek(2) == quote;
        self.at += if triple { 3 } else { 1 };
        while let Some(c) = self.peek(0) {
            if c == '\\' && !raw {
                self.at += 2;
                continue;
            }
            let ends = !triple || self.peek(1) == quote && self.peek(2) == quote;
            if Some(c) == quote && ends {
                self.at += if triple { 3 } else { 1 };
                return Token::Other;
            }
            if !triple && matches!(c, '\n' | '\r') {
                break;
            }
            self.at += 1;
        }
        Token::Fault("a text in quotes does not end")
    }
}
