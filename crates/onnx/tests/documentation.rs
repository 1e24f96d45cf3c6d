//! `docs/onnx.md` is the table of operators.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

#[test]
fn the_documentation_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/onnx.md");
    let text = bitbudget_onnx::operator_markdown();
    if std::env::var_os("BITBUDGET_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/onnx.md is out of date; run the tests with BITBUDGET_BLESS=1 and commit it");
}

#[test]
fn every_operator_has_one_row_with_ascending_versions() {
    let table = bitbudget_onnx::operator_table();
    let mut names: Vec<(&str, &str)> = table.iter().map(|row| (row.domain, row.name)).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(table.iter().all(|row| row.versions.windows(2).all(|v| v[0] < v[1]) && !row.forms.is_empty()));
}
