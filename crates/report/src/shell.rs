//! The frame that all pages have in common.

use serde::Serialize;

const STYLE: &str = include_str!("../assets/base.css");
const SCRIPTS: [&str; 2] = [include_str!("../assets/page.js"), include_str!("../assets/table.js")];

/// A page in one file: `body`, then `data` as JSON, then the scripts that fill the body from it.
///
/// Before its own scripts a page has those that all pages share: `assets/page.js` (the data, elements, numbers with units) and
/// `assets/table.js` (tables to sort and to filter). Nothing is loaded from anywhere, and the page says so to the browser. `body`
/// and `scripts` are trusted; `title` and `data` may hold any text.
///
/// # Errors
/// If the data cannot be written as JSON.
pub fn shell(title: &str, data: &impl Serialize, body: &str, scripts: &[&str]) -> serde_json::Result<String> {
    let data = embedded(&serde_json::to_string(data)?);
    let title = escaped(title);
    let scripts = SCRIPTS.iter().chain(scripts).map(|script| format!("<script>\n{script}</script>\n"));
    let scripts: String = scripts.collect();
    Ok(format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{STYLE}</style>
</head>
<body>
<noscript><p>This page makes its tables and drawings by scripts of its own; allow them to see it.</p></noscript>
{body}<script type="application/json" id="data">{data}</script>
{scripts}</body>
</html>
"#
    ))
}

/// JSON that may stand in a script element: only texts have this character, and there it may be escaped.
fn embedded(json: &str) -> String {
    json.replace('<', "\\u003c")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_the_data_or_the_title() {
        let bad = "</script><!--<b>&amp;";
        let page = shell(bad, &[bad], "<main></main>\n", &["run();\n"]).unwrap();
        assert!(page.contains("<title>&lt;/script&gt;&lt;!--&lt;b&gt;&amp;amp;</title>"));
        let data = page.split_once(r#"id="data">"#).unwrap().1.split_once("</script>").unwrap().0;
        assert_eq!(serde_json::from_str::<Vec<String>>(data).unwrap(), [bad]);
        assert!(!data.contains('<'));
        assert_eq!(page.matches("<script").count(), 4);
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let page = shell("t", &(), "", &[]).unwrap();
        // The name of the namespace of drawings is no address to load.
        for word in ["http://", "https://", "@import", "url("] {
            assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(word), "{word}");
        }
    }
}
