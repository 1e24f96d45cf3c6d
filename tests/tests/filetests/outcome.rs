//! Compares what runs give with what a file says, or writes it there.

use crate::file::{Case, Check, Run, Variant, variants};
use crate::stages::{self, Failure};
use std::fmt::Write;

/// What came of a file.
pub(crate) struct Outcome {
    /// What is not as the file says, each with its line.
    pub(crate) complaints: Vec<String>,
    /// The file's text, blessed.
    pub(crate) text: String,
}

/// Runs all cases of a file.
pub(crate) fn of(file: &str, cases: &[Case], bless: bool) -> Outcome {
    let mut complaints = Vec::new();
    let mut lines: Vec<String> = file.lines().map(String::from).collect();
    // From the end, so that line numbers stay right.
    for case in cases.iter().rev() {
        for run in case.runs.iter().rev() {
            let complain = |complaint: String| format!("{}: {}: {complaint}", run.line + 1, run.command);
            let variants = match variants(file, case, run) {
                Ok(variants) => variants,
                Err(fault) => {
                    complaints.push(complain(fault));
                    continue;
                }
            };
            let [first, ..] = variants.as_slice() else { continue };
            let result = stages::run(&run.command, &first.text, &first.options);
            let states_nothing = run.checks.is_empty() && run.errors.is_empty() && case.beside.is_empty();
            let blessable = match &result {
                Ok(_) => run.errors.is_empty() && (states_nothing || !run.output.is_empty()),
                Err(_) => run.checks.is_empty() && case.beside.is_empty(),
            };
            let wrong = compare(case, run, first, &result);
            if bless && blessable && !wrong.is_empty() {
                bless_run(&mut lines, run, &result);
                continue;
            }
            complaints.extend(wrong.into_iter().map(complain));
            for variant in &variants[1..] {
                let result = stages::run(&run.command, &variant.text, &variant.options);
                let wrong = compare(case, run, variant, &result);
                let words: String = variant.words.iter().map(|(word, value)| format!("{word}={value} ")).collect();
                complaints.extend(wrong.into_iter().map(|wrong| complain(format!("{words}{wrong}"))));
            }
        }
    }
    complaints.reverse();
    Outcome { complaints, text: lines.join("\n") + "\n" }
}

fn bless_run(lines: &mut Vec<String>, run: &Run, result: &Result<String, Vec<Failure>>) {
    let new: Vec<String> = match result {
        Ok(output) => output.lines().map(|line| format!("//| {line}").trim_end().to_string()).collect(),
        Err(failures) => failures.iter().map(|failure| format!("// error: {}", failure.text)).collect(),
    };
    lines.splice(run.last + 1..run.last + 1, new);
    for &at in run.blessed.iter().rev() {
        lines.remove(at);
    }
}

/// What is not as a run says.
fn compare(case: &Case, run: &Run, variant: &Variant, result: &Result<String, Vec<Failure>>) -> Vec<String> {
    let expects_errors = !run.errors.is_empty() || !case.beside.is_empty();
    match result {
        Ok(output) if expects_errors => vec![format!("nothing is refused; it gives\n{output}")],
        Ok(output) => compare_output(run, variant, output),
        Err(failures) => compare_failures(case, run, variant, failures),
    }
}

fn compare_output(run: &Run, variant: &Variant, output: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if run.checks.is_empty() && run.output.is_empty() {
        wrong.push("nothing is expected; BITBUDGET_BLESS=1 writes the output here".to_string());
    }
    let mut rest = output;
    for check in &run.checks {
        match check {
            Check::Present(text) => match rest.split_once(&variant.said(text)) {
                Some((_, behind)) => rest = behind,
                None => wrong.push(format!("`{}` is missing in order in\n{output}", variant.said(text))),
            },
            Check::Absent(text) if output.contains(&variant.said(text)) => {
                wrong.push(format!("`{}` is in\n{output}", variant.said(text)));
            }
            Check::Absent(_) => {}
        }
    }
    let expected = variant.said(&run.output.join("\n"));
    let trimmed: Vec<&str> = output.lines().map(str::trim_end).collect();
    if !run.output.is_empty() && expected != trimmed.join("\n") {
        let mut text = String::from("the output differs (BITBUDGET_BLESS=1 rewrites it); it is\n");
        for line in trimmed {
            let mark = if expected.lines().any(|expected| expected == line) { ' ' } else { '+' };
            let _ = writeln!(text, "{mark} {line}");
        }
        wrong.push(text);
    }
    wrong
}

fn compare_failures(case: &Case, run: &Run, variant: &Variant, failures: &[Failure]) -> Vec<String> {
    let expected: Vec<(Option<usize>, String)> = (case.beside.iter().map(|(at, text)| (Some(at + 1), text)))
        .chain(run.errors.iter().map(|text| (None, text)))
        .map(|(line, text)| (line, variant.said(text)))
        .collect();
    let fits = |(line, text): &(Option<usize>, String), failure: &Failure| {
        failure.text.contains(text.as_str()) && (line.is_none() || *line == failure.line)
    };
    let missing = expected.iter().filter(|e| !failures.iter().any(|failure| fits(e, failure)));
    let surplus = failures.iter().filter(|failure| !expected.iter().any(|e| fits(e, failure)));
    let mut wrong: Vec<String> = missing.map(|(_, text)| format!("`{text}` is not refused here")).collect();
    wrong.extend(surplus.map(|failure| match failure.line {
        Some(line) => format!("refused in line {line}: {}", failure.text),
        None => format!("refused: {}", failure.text),
    }));
    wrong
}
