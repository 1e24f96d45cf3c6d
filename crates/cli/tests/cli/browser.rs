//! Pages in a browser without a window, where one is installed.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Catches what goes wrong before anything else runs.
const FIRST: &str = r#"<script>
window.faults = [];
window.addEventListener("error", (event) => faults.push(String(event.message)));
window.addEventListener("unhandledrejection", (event) => faults.push(String(event.reason)));
window.addEventListener("securitypolicyviolation", (event) => faults.push(`${event.violatedDirective}: ${event.blockedURI}`));
for (const kind of ["error", "warn"]) console[kind] = (...texts) => faults.push(texts.join(" "));
</script>
"#;

/// Chromium, by the variable `CHROME` or on the path.
fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("CHROME").map(PathBuf::from).filter(|path| path.is_file());
    let folders =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let found = || folders.iter().flat_map(|folder| names.map(|name| folder.join(name))).find(|path| path.is_file());
    named.or_else(found)
}

/// Opens a page, runs a script in it that ends in `return` of what it found, and returns that; nothing where there is no browser.
///
/// Errors, warnings and anything that the page tries to load fail the test.
#[track_caller]
pub(crate) fn visit(page: &Path, script: &str) -> Option<Value> {
    let Some(chromium) = chromium() else {
        eprintln!("skipped: there is no Chromium on the path (nor by the variable CHROME)");
        return None;
    };
    let text = std::fs::read_to_string(page).unwrap();
    let last = format!(
        "<script>\nconst found = el(\"pre\", {{ id: \"found\" }});\ndocument.body.append(found);\n\
         let result = null;\ntry {{ result = (() => {{ {script} }})(); }} catch (error) {{ faults.push(String(error.stack)); }}\n\
         found.textContent = JSON.stringify({{ faults, result }});\n</script>\n</body>"
    );
    let text = text.replacen("<head>\n", &format!("<head>\n{FIRST}"), 1);
    let (body, end) = text.rsplit_once("</body>").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("page.html");
    std::fs::write(&copy, format!("{body}{last}{end}")).unwrap();
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900", "--virtual-time-budget=10000"])
        .args(["--disable-dev-shm-usage", "--no-first-run", "--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("file://{}", copy.display()))
        .output()
        .unwrap();
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let found = dom.split_once("<pre id=\"found\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let Some((found, _)) = found else { unreachable!("the page did not run: {log}") };
    let found = found.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\u{a0}").replace("&amp;", "&");
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["faults"], serde_json::json!([]));
    let console: Vec<&str> = log.lines().filter(|line| line.contains(":CONSOLE")).collect();
    assert!(console.is_empty(), "{console:?}");
    Some(found["result"].clone())
}

/// The data that a page holds.
pub(crate) fn data(page: &Path) -> Value {
    let text = std::fs::read_to_string(page).unwrap();
    let (_, rest) = text.split_once(r#"<script type="application/json" id="data">"#).unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}
