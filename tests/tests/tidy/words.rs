//! Rust source as a rule should see it: without comments, without the text of literals, without unit tests.

/// Blanks comments and the insides of string and character literals; line numbers stay.
pub(crate) fn code_of(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &source[at..];
        let end = if rest.starts_with("//") {
            at + rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(bytes, at)
        } else if let Some(end) = raw_string(source, at) {
            end
        } else if bytes[at] == b'"' {
            quoted(bytes, at)
        } else if bytes[at] == b'\'' {
            match character(source, at) {
                Some(end) => end,
                None => {
                    out.push('\'');
                    at += 1;
                    continue;
                }
            }
        } else {
            let letter = rest.chars().next().unwrap_or(' ');
            out.push(letter);
            at += letter.len_utf8();
            continue;
        };
        out.push(' ');
        out.extend(source[at..end].matches('\n').map(|_| '\n'));
        at = end;
    }
    out
}

/// The code that ships: up to the unit tests at the foot of the file.
pub(crate) fn shipped(source: &str) -> String {
    let code = code_of(source);
    let mut offset = 0;
    for line in code.split_inclusive('\n') {
        let rest = &code[offset..];
        if line.trim() == "#[cfg(test)]" {
            let next = rest[line.len()..].trim_start();
            if next.starts_with("mod ") && next.split('\n').next().is_some_and(|l| l.contains('{'))
            {
                return code[..offset].to_owned();
            }
        }
        offset += line.len();
    }
    code
}

/// True for files that hold tests only.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.contains("/benches/")
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
}

/// Line numbers (from 1) on which `pattern` matches the code.
pub(crate) fn lines(code: &str, pattern: &regex::Regex) -> Vec<usize> {
    code.lines()
        .enumerate()
        .filter(|(_, line)| pattern.is_match(line))
        .map(|(number, _)| number + 1)
        .collect()
}

fn block_comment(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0_u32, start);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_string(source: &str, at: usize) -> Option<usize> {
    let before = source[..at].chars().next_back();
    if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
        return None;
    }
    let rest = &source[at..];
    let body = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let text = body[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let start = source.len() - text.len();
    Some(
        text.find(&close)
            .map_or(source.len(), |end| start + end + close.len()),
    )
}

fn quoted(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of a character literal, or none for a lifetime.
fn character(source: &str, at: usize) -> Option<usize> {
    let mut letters = source[at + 1..].char_indices();
    let (_, first) = letters.next()?;
    if first == '\\' {
        let end = source[at + 3..].find('\'')?;
        return Some(at + 3 + end + 1);
    }
    let (offset, second) = letters.next()?;
    (second == '\'').then_some(at + 1 + offset + 1)
}

#[test]
fn comments_literals_and_unit_tests_are_not_code() {
    let source = "use a; // hyper\n/* hyper\n/* x */ */ let s = \"hyper \\\" hyper\";\nlet r = r#\"hyper\"#; let c = '\"'; fn f<'a>(x: &'a str) {}\n#[cfg(test)]\nmod tests {\n use hyper;\n}\n";
    let code = shipped(source);
    assert!(!code.contains("hyper"), "{code}");
    assert!(
        code.contains("use a;") && code.contains("fn f<'a>"),
        "{code}"
    );
    assert!(code_of(source).contains("use hyper"));
    assert_eq!(code_of(source).lines().count(), source.lines().count());
}
