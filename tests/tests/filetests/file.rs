//! What stands in a file: cases of one graph each, with runs and what they must give.

use std::ops::Range;

/// A graph and what to run on it.
pub(crate) struct Case {
    /// Its lines in the file, from 0.
    pub(crate) lines: Range<usize>,
    pub(crate) runs: Vec<Run>,
    /// Errors that stand beside a line of the graph, for all runs.
    pub(crate) beside: Vec<(usize, String)>,
}

/// One `run:` line with the lines that belong to it.
pub(crate) struct Run {
    /// Its line in the file, from 0.
    pub(crate) line: usize,
    /// The last line that belongs to it.
    pub(crate) last: usize,
    pub(crate) command: String,
    /// `name=value` in the order given; names in capitals are words of the text.
    pub(crate) options: Vec<(String, String)>,
    pub(crate) replaced: Vec<(String, String)>,
    pub(crate) checks: Vec<Check>,
    pub(crate) errors: Vec<String>,
    pub(crate) output: Vec<String>,
    /// The lines of errors and output, which can be blessed.
    pub(crate) blessed: Vec<usize>,
}

/// What the output must have.
pub(crate) enum Check {
    /// A text, after those that were named before.
    Present(String),
    /// No such text anywhere.
    Absent(String),
}

const BESIDE: &str = " // error: ";

/// The cases of a file.
pub(crate) fn parse(text: &str) -> Result<Vec<Case>, String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut cases = Vec::new();
    let mut start = 0;
    for at in 0..=lines.len() {
        if at == lines.len() || lines[at].starts_with("// ---") {
            cases.push(case(&lines, start..at)?);
            start = at + 1;
        }
    }
    Ok(cases)
}

fn case(lines: &[&str], range: Range<usize>) -> Result<Case, String> {
    let mut case = Case { lines: range.clone(), runs: Vec::new(), beside: Vec::new() };
    for at in range {
        let Some(comment) = lines[at].strip_prefix("//") else {
            case.beside.extend(lines[at].split_once(BESIDE).map(|(_, error)| (at, error.to_string())));
            continue;
        };
        let directive = comment.strip_prefix(' ').and_then(|comment| comment.split_once(": "));
        if let Some(("run", words)) = directive {
            case.runs.push(run(words, at)?);
            continue;
        }
        let run = case.runs.last_mut();
        match (comment.strip_prefix('|'), directive) {
            (Some(output), _) => {
                let run = run.ok_or_else(|| format!("{}: output before a `run:` line", at + 1))?;
                run.output.push(output.strip_prefix(' ').unwrap_or(output).to_string());
                run.blessed.push(at);
                run.last = at;
            }
            (None, Some((name @ ("check" | "absent" | "error" | "replace"), text))) => {
                let run = run.ok_or_else(|| format!("{}: `{name}:` before a `run:` line", at + 1))?;
                run.last = at;
                match name {
                    "check" => run.checks.push(Check::Present(text.to_string())),
                    "absent" => run.checks.push(Check::Absent(text.to_string())),
                    "error" => {
                        run.errors.push(text.to_string());
                        run.blessed.push(at);
                    }
                    _ => {
                        let (old, new) = text.split_once(" => ").ok_or_else(|| format!("{}: no ` => `", at + 1))?;
                        run.replaced.push((old.to_string(), new.to_string()));
                    }
                }
            }
            // Anything else is for people.
            _ => {}
        }
    }
    match case.runs.is_empty() {
        true => Err(format!("{}: no `run:` line in this case", case.lines.start + 1)),
        false => Ok(case),
    }
}

fn run(words: &str, at: usize) -> Result<Run, String> {
    let mut words = words.split_whitespace();
    let command = words.next().unwrap_or_default().to_string();
    let option = |word: &str| {
        let (name, value) = word.split_once('=').ok_or_else(|| format!("{}: `{word}` has no `=`", at + 1))?;
        Ok((name.to_string(), value.to_string()))
    };
    Ok(Run {
        line: at,
        last: at,
        command,
        options: words.map(option).collect::<Result<_, String>>()?,
        replaced: Vec::new(),
        checks: Vec::new(),
        errors: Vec::new(),
        output: Vec::new(),
        blessed: Vec::new(),
    })
}

/// A case's text as one run sees it; lines keep their numbers.
pub(crate) struct Variant {
    pub(crate) text: String,
    pub(crate) options: Vec<(String, String)>,
    /// Words of the text with what stands for them.
    pub(crate) words: Vec<(String, String)>,
}

impl Variant {
    /// A text of the run with its words replaced.
    pub(crate) fn said(&self, text: &str) -> String {
        self.words.iter().fold(text.to_string(), |text, (word, value)| text.replace(word, value))
    }
}

/// The texts of a run, one for each choice of its words.
pub(crate) fn variants(file: &str, case: &Case, run: &Run) -> Result<Vec<Variant>, String> {
    let line = |(at, line): (usize, &str)| match case.lines.contains(&at) && !line.starts_with("//") {
        true => line.split_once(BESIDE).map_or(line, |(line, _)| line).to_string(),
        false => String::new(),
    };
    let mut text = file.lines().enumerate().map(line).collect::<Vec<_>>().join("\n");
    for (old, new) in &run.replaced {
        if !text.contains(old.as_str()) {
            return Err(format!("`{old}`, which is to be replaced, is not there"));
        }
        text = text.replace(old, new);
    }
    let is_word = |name: &str| name.chars().all(|c| c.is_ascii_uppercase());
    let (words, options): (Vec<_>, Vec<_>) = run.options.iter().cloned().partition(|(name, _)| is_word(name));
    let mut choices = vec![Vec::new()];
    for (word, values) in words {
        if !text.contains(word.as_str()) && !choices.iter().flatten().any(|(_, value): &(_, String)| *value == word) {
            return Err(format!("the word `{word}` is not there"));
        }
        let with = |choice: &Vec<(String, String)>| {
            let with = |value: &str| [choice.as_slice(), &[(word.clone(), value.to_string())]].concat();
            values.split('|').map(with).collect::<Vec<_>>()
        };
        choices = choices.iter().flat_map(with).collect();
    }
    let variant = |words: Vec<(String, String)>| {
        let mut variant = Variant { text: String::new(), options: options.clone(), words };
        variant.text = variant.said(&text);
        variant
    };
    Ok(choices.into_iter().map(variant).collect())
}
