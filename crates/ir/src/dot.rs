//! Graphs in GraphViz's language, coloured by bits.

use crate::graph::Graph;
use crate::role::{NodeId, Role};
use std::fmt;

/// Above so many arrows GraphViz is asked to hurry: curves and fine placement take it minutes.
const LARGE: usize = 1000;

/// Boxes and arrows, which [`fmt::Display`] writes in GraphViz's language: `dot -Tsvg` draws them.
///
/// ```
/// use bitbudget_ir::Drawing;
///
/// let mut drawing = Drawing::new("two");
/// drawing.node("a", &["conv \"1\"".to_string()], Some(8));
/// drawing.node("b", &["relu".to_string()], None);
/// drawing.edge("a", "b");
/// assert!(drawing.to_string().contains(r##""a" [label="conv \"1\"", fillcolor="#9ecae1"];"##));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawing {
    name: String,
    nodes: Vec<(String, Vec<String>, Option<u32>)>,
    edges: Vec<(String, String)>,
}

impl Drawing {
    /// An empty drawing.
    pub fn new(name: &str) -> Drawing {
        Drawing { name: name.to_string(), ..Drawing::default() }
    }

    /// Adds a box with lines of text, in the colour of so many bits.
    pub fn node(&mut self, id: &str, lines: &[String], bits: Option<u32>) {
        self.nodes.push((id.to_string(), lines.to_vec(), bits));
    }

    /// Adds an arrow.
    pub fn edge(&mut self, from: &str, to: &str) {
        self.edges.push((from.to_string(), to.to_string()));
    }
}

/// The colour of tensors of so many bits: blue up to 8, orange up to 16, grey above; white for what has no format.
fn colour(bits: Option<u32>) -> &'static str {
    match bits {
        None => "#ffffff",
        Some(..=8) => "#9ecae1",
        Some(9..=16) => "#fdd49e",
        Some(_) => "#d9d9d9",
    }
}

/// A text in quotes. Backslashes begin escapes in labels, so they are doubled; control characters are left out.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => {}
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl fmt::Display for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "digraph {} {{", quoted(&self.name))?;
        writeln!(f, "  node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\", fontsize=11];")?;
        if self.edges.len() > LARGE {
            writeln!(f, "  graph [splines=line, nslimit=1, nslimit1=1, mclimit=0.3];")?;
        }
        for (id, lines, bits) in &self.nodes {
            let (label, fill) = (quoted(&lines.join("\n")), colour(*bits));
            writeln!(f, "  {} [label={label}, fillcolor=\"{fill}\"];", quoted(id))?;
        }
        for (from, to) in &self.edges {
            writeln!(f, "  {} -> {};", quoted(from), quoted(to))?;
        }
        write!(f, "}}")
    }
}

impl Graph {
    /// The graph as a drawing: a box per node with operator, name, type and role, an arrow per operand, and a box per output
    /// and update. `format` gives what a node's tensor is stored in, with its bits.
    pub fn drawing(&self, format: &dyn Fn(NodeId) -> Option<(String, u32)>) -> Drawing {
        let mut drawing = Drawing::new(self.name());
        for id in self.ids() {
            let node = self.node(id);
            let named = if node.name.is_empty() { String::new() } else { format!(" {}", node.name) };
            let format = format(id);
            let stored = format.as_ref().map_or(String::new(), |(format, bits)| format!(" in {format}, {bits} bits"));
            let mut lines = vec![format!("{id} {}{named}", node.op.name()), format!("{}{stored}", node.ty)];
            match node.role {
                Role::Internal | Role::Output | Role::Parameter => {}
                Role::OutputGradient { of } => lines.push(format!("gradient of {of}")),
                Role::ParameterGradient { of } => lines.push(format!("parameter gradient of {of}")),
            }
            drawing.node(&id.to_string(), &lines, format.map(|(_, bits)| bits));
            self.operands(id).iter().for_each(|operand| drawing.edge(&operand.to_string(), &id.to_string()));
        }
        for (name, id) in self.outputs() {
            let end = format!("return {name}");
            drawing.node(&end, std::slice::from_ref(&end), None);
            drawing.edge(&id.to_string(), &end);
        }
        for (target, value) in self.updates() {
            let end = format!("update {target}");
            drawing.node(&end, std::slice::from_ref(&end), None);
            drawing.edge(&value.to_string(), &end);
        }
        drawing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        let mut drawing = Drawing::new("a \"b\" \\ c");
        drawing.node("x\\y\"z", &["<b> & \\N".into(), "é\u{0}\nend".into()], Some(16));
        let text = drawing.to_string();
        assert!(text.starts_with("digraph \"a \\\"b\\\" \\\\ c\" {\n"), "{text}");
        assert!(text.contains(r##"  "x\\y\"z" [label="<b> & \\N\né\nend", fillcolor="#fdd49e"];"##), "{text}");
    }

    #[test]
    fn colours_go_by_bits() {
        let all = [None, Some(1), Some(8), Some(9), Some(16), Some(17), Some(32)].map(colour);
        assert_eq!(all, ["#ffffff", "#9ecae1", "#9ecae1", "#fdd49e", "#fdd49e", "#d9d9d9", "#d9d9d9"]);
    }

    #[test]
    fn every_node_and_operand_is_drawn() {
        let text = "graph \"tiny\" {
  %0 = input {name=\"x\"} : f32[N,3]
  %1 = parameter {name=\"w\"} : f32[2,3]
  %2 = matmul(%0, %1) {trans_a=false, trans_b=true} : f32[N,2] output \"fc\"
  return \"y\" = %2
}";
        let graph: Graph = text.parse().unwrap();
        let drawn = graph.drawing(&|id| (id.index() == 2).then(|| ("1-4-3".to_string(), 8))).to_string();
        for line in [
            r##"  "%0" [label="%0 input x\nf32[N,3]", fillcolor="#ffffff"];"##,
            r##"  "%2" [label="%2 matmul fc\nf32[N,2] in 1-4-3, 8 bits", fillcolor="#9ecae1"];"##,
            r#"  "%0" -> "%2";"#,
            r#"  "%1" -> "%2";"#,
            r#"  "%2" -> "return y";"#,
        ] {
            assert!(drawn.lines().any(|drawn| drawn == line), "{line}: {drawn}");
        }
    }
}
