//! A reader of Rust source that is good enough for tidiness checks: it blanks what is not code and
//! finds functions and imports, without understanding the language.

/// The text with comments, strings and character literals blanked, line breaks kept: what is left
/// is code, at its own place.
pub(crate) fn code_only(text: &str) -> String {
    let src: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < src.len() {
        let end = skip_noncode(&src, i);
        if end > i {
            out.extend(src[i..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            i = end;
        } else {
            out.push(src[i]);
            i += 1;
        }
    }
    out
}

/// Where the comment or literal that begins at `i` ends, or `i` if code is there.
fn skip_noncode(src: &[char], i: usize) -> usize {
    let at = |k: usize| src.get(k).copied().unwrap_or('\0');
    match (at(i), at(i + 1)) {
        ('/', '/') => (i..src.len()).find(|k| src[*k] == '\n').unwrap_or(src.len()),
        ('/', '*') => block_comment_end(src, i),
        ('"', _) => string_end(src, i),
        ('r' | 'b' | 'c', _) if !(i > 0 && is_word(src[i - 1])) => prefixed_string_end(src, i),
        ('\'', '\\') => (i + 3..src.len()).find(|k| src[*k] == '\'').map_or(src.len(), |k| k + 1),
        ('\'', _) if at(i + 2) == '\'' => i + 3,
        _ => i,
    }
}

fn block_comment_end(src: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0_usize, start);
    while i < src.len() {
        match (src[i], src.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    src.len()
}

fn string_end(src: &[char], quote: usize) -> usize {
    let mut i = quote + 1;
    while i < src.len() {
        match src[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    src.len()
}

/// `r"…"`, `r#"…"#`, `b"…"`, `br"…"`, `c"…"`; `i` itself where none of these begins.
fn prefixed_string_end(src: &[char], i: usize) -> usize {
    let at = |k: usize| src.get(k).copied().unwrap_or('\0');
    let raw = if at(i) == 'r' { i } else { i + 1 };
    if at(raw) != 'r' {
        return if at(i + 1) == '"' { string_end(src, i + 1) } else { i };
    }
    let hashes = (raw + 1..src.len()).take_while(|k| src[*k] == '#').count();
    let quote = raw + 1 + hashes;
    if at(quote) != '"' {
        return i;
    }
    (quote + 1..src.len())
        .find(|k| src[*k] == '"' && (1..=hashes).all(|h| at(k + h) == '#'))
        .map_or(src.len(), |k| k + 1 + hashes)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The line, counted from 1, of a byte offset.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Byte offsets where `word` stands by itself, not inside a longer name.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let free = |c: Option<char>| !c.is_some_and(is_word);
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| free(code[..*at].chars().next_back()))
        .filter(move |at| free(code[at + word.len()..].chars().next()))
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// From `fn` to the closing brace, both included.
    pub(crate) lines: usize,
}

/// Every function with a body in `code` (see [`code_only`]).
pub(crate) fn functions(code: &str) -> Vec<Function> {
    words(code, "fn").filter_map(|at| function_at(code, at)).collect()
}

fn function_at(code: &str, at: usize) -> Option<Function> {
    let rest = &code[at + 2..];
    let name: String = rest.trim_start().chars().take_while(|c| is_word(*c)).collect();
    if name.is_empty() {
        return None; // a function pointer type
    }
    let mut nesting = 0_i32;
    let mut open = None;
    for (i, c) in rest.char_indices() {
        match c {
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting -= 1,
            ';' if nesting == 0 => return None,
            '{' if nesting == 0 => {
                open = Some(i);
                break;
            }
            _ => {}
        }
    }
    let close = matching_brace(rest, open?)?;
    Some(Function { name, line: line_of(code, at), lines: rest[..close].matches('\n').count() + 1 })
}

/// The offset of the brace that closes the one at `open`.
pub(crate) fn matching_brace(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (i, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(open + i),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Every path that `use` declarations import, groups written out, with its line.
pub(crate) fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in words(code, "use") {
        let rest = &code[at + 3..];
        if let Some(end) = rest.find(';') {
            let tree: String = rest[..end].split_whitespace().collect::<Vec<_>>().join(" ");
            let mut paths = Vec::new();
            expand("", &tree, &mut paths);
            found.extend(paths.into_iter().map(|p| (line_of(code, at), p)));
        }
    }
    found
}

fn expand(prefix: &str, tree: &str, out: &mut Vec<String>) {
    let tree = tree.trim();
    match tree.find('{') {
        None => {
            let path = tree.split(" as ").next().unwrap_or(tree).trim();
            out.push(format!("{prefix}{path}").trim_start_matches("::").to_owned());
        }
        Some(open) => {
            let prefix = format!("{prefix}{}", &tree[..open]);
            let close = matching_brace(tree, open).unwrap_or(tree.len());
            for part in split_top(&tree[open + 1..close]) {
                expand(&prefix, part, out);
            }
        }
    }
}

/// Splits at the commas that stand outside of braces.
fn split_top(list: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0_usize, 0, Vec::new());
    for (i, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&list[from..i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[from..]);
    parts.retain(|p| !p.trim().is_empty());
    parts
}
