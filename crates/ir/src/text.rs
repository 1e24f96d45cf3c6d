//! The text form: one line per node, printing and parsing are inverse.
//!
//! ```text
//! graph "tiny" v2 {
//!   %0 = input {name="x"} : f32[N,3]
//!   %1 = parameter {name="w"} : f32[2,3]
//!   %2 = matmul(%0, %1) {trans_b=true} : f32[N,2] output "fc"
//!   return "y" = %2
//! }
//! ```
//!
//! After the type stand the role (`output`, `parameter`, `gradient of %1`, `parameter_gradient of %1`; nothing for internal tensors),
//! the node's name unless it is empty or that of a source, its ONNX type where that is not the operator's own name (`from Gemm`), and the
//! format in which the tensor is stored (`in 1-4-3`; nothing for FP32).
//! Then follow the nodes of the training graph that a node stands for (`for %3, %7`, `for nothing`; left out where it stands for the one of
//! its own id), and how it is computed: `again`, `passing`, `uncounted` ([`crate::Origin`]). The stage of the graph stands before the brace,
//! unless it is imported. `return` names outputs, `update %1 <- %7` says what replaces a parameter or state after the step.
//!
//! `v2` is the version of the form; a text without one is of that version. Attributes at their default are left out, so
//! another default is another version.

use crate::attribute::{Attribute, Real};
use crate::graph::{Graph, Node};
use crate::layout::Layout;
use crate::ops::Op;
use crate::origin::{Origin, Stage, TrainingId};
use crate::role::{NodeId, Role};
use crate::types::{DType, Dim, Shape, TensorType};
use bitbudget_formats::Format;
use std::fmt;
use std::str::FromStr;

/// The only version that is read and written. Version 1 had `label` for inputs of whole numbers.
const VERSION: u32 = 2;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &format!(" v{VERSION}"), Op::attribute_text)
    }
}

impl Graph {
    /// The text with all attributes and without a version: it does not change with defaults, so hashes are made of it.
    pub fn whole_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text, "", Op::whole_attribute_text);
        text
    }

    fn write(&self, f: &mut impl fmt::Write, version: &str, attributes: fn(&Op) -> String) -> fmt::Result {
        let stage = Some(self.stage()).filter(|&stage| stage != Stage::Imported);
        let stage = stage.map(|stage| format!(" {stage}")).unwrap_or_default();
        writeln!(f, "graph {:?}{version}{stage} {{", self.name())?;
        for id in self.ids() {
            let node = self.node(id);
            write!(f, "  {id} = {}", node.op.name())?;
            let operands: Vec<String> = self.operands(id).iter().map(NodeId::to_string).collect();
            if !operands.is_empty() {
                write!(f, "({})", operands.join(", "))?;
            }
            write!(f, "{} : {}", attributes(&node.op), node.ty)?;
            match node.role {
                Role::Internal => {}
                Role::Output => write!(f, " output")?,
                Role::Parameter => write!(f, " parameter")?,
                Role::OutputGradient { of } => write!(f, " gradient of {of}")?,
                Role::ParameterGradient { of } => write!(f, " parameter_gradient of {of}")?,
            }
            if !node.name.is_empty() && node.op.source_name() != Some(node.name.as_str()) {
                write!(f, " {:?}", node.name)?;
            }
            if !version.is_empty() && !is_type_of(&node.onnx_type, &node.op) {
                write!(f, " from {}", node.onnx_type)?;
            }
            if node.stored.format != Format::FP32 {
                write!(f, " in {}", node.stored.format)?;
            }
            match node.stored.layout {
                Layout::ROWS => {}
                Layout::CHANNELS_LAST => write!(f, " {CHANNELS_LAST}")?,
                Layout { last } => write!(f, " {CHANNELS_LAST}={last}")?,
            }
            write_origin(f, id, &node.origin)?;
            writeln!(f)?;
        }
        for (name, id) in self.outputs() {
            writeln!(f, "  return {name:?} = {id}")?;
        }
        for (target, value) in self.updates() {
            writeln!(f, "  update {target} <- {value}")?;
        }
        write!(f, "}}")
    }
}

/// Whether an ONNX type is missing, or our operator's own name in ONNX's spelling.
fn is_type_of(onnx_type: &str, op: &Op) -> bool {
    onnx_type.is_empty() || onnx_type.eq_ignore_ascii_case(&op.name().replace('_', ""))
}

fn write_origin(f: &mut impl fmt::Write, id: NodeId, origin: &Origin) -> fmt::Result {
    match origin.stands_for.as_slice() {
        &[only] if only.node() == id => {}
        [] => write!(f, " for nothing")?,
        all => write!(f, " for {}", all.iter().map(TrainingId::to_string).collect::<Vec<_>>().join(", "))?,
    }
    for (is_so, word) in [(origin.again, AGAIN), (origin.in_passing, PASSING), (origin.uncounted, UNCOUNTED)] {
        if is_so {
            write!(f, " {word}")?;
        }
    }
    Ok(())
}

const CHANNELS_LAST: &str = "channels_last";
const AGAIN: &str = "again";
const PASSING: &str = "passing";
const UNCOUNTED: &str = "uncounted";

/// Where and why a text is not a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    line: usize,
    reason: String,
}

impl FromStr for Graph {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Graph, ParseError> {
        let mut graph = Graph::default();
        let mut open = false;
        let mut closed = false;
        for (number, line) in text.lines().enumerate() {
            let mut cursor = Cursor { rest: line.trim() };
            if cursor.rest.is_empty() || cursor.rest.starts_with("//") {
                continue;
            }
            let parsed = match (open, closed) {
                (false, _) => cursor.header().map(|(name, stage)| {
                    graph = Graph::new(name);
                    graph.set_stage(stage);
                    open = true;
                }),
                (true, false) if cursor.eat("}") => {
                    closed = true;
                    cursor.end()
                }
                (true, false) => cursor.line(&mut graph),
                (true, true) => Err("text after the closing brace".to_string()),
            };
            parsed.map_err(|reason| ParseError { line: number + 1, reason })?;
        }
        if closed { Ok(graph) } else { Err(ParseError { line: text.lines().count(), reason: "`}` is missing".into() }) }
    }
}

struct Cursor<'t> {
    rest: &'t str,
}

type Parsed<T> = Result<T, String>;

impl<'t> Cursor<'t> {
    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn need(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) { Ok(()) } else { Err(format!("`{token}` expected before `{}`", self.rest)) }
    }

    fn end(&self) -> Parsed<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(format!("unexpected `{}` at the end of the line", self.rest)) }
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !keep(c)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        token
    }

    fn word(&mut self) -> Parsed<&'t str> {
        let word = self.take_while(|c| c.is_alphanumeric() || c == '_');
        if word.is_empty() { Err(format!("a word expected before `{}`", self.rest)) } else { Ok(word) }
    }

    fn string(&mut self) -> Parsed<String> {
        let mut chars = self.rest.char_indices();
        if chars.next().map(|(_, c)| c) != Some('"') {
            return Err(format!("a string expected before `{}`", self.rest));
        }
        let mut out = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = self.rest[at + 1..].trim_start();
                    return Ok(out);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('r') => out.push('\r'),
                    Some('t') => out.push('\t'),
                    Some('0') => out.push('\0'),
                    Some('u') => {
                        let digits: String = chars.by_ref().map(|(_, c)| c).skip(1).take_while(|&c| c != '}').collect();
                        let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                        out.push(code.ok_or_else(|| format!("\\u{{{digits}}} is not a character"))?);
                    }
                    Some(other) => out.push(other),
                    None => break,
                },
                other => out.push(other),
            }
        }
        Err("a string does not end".into())
    }

    fn id(&mut self) -> Parsed<NodeId> {
        self.need("%")?;
        let digits = self.take_while(|c| c.is_ascii_digit());
        digits.parse().map(NodeId).map_err(|_| format!("`%{digits}` is not a node"))
    }

    fn header(&mut self) -> Parsed<(String, Stage)> {
        self.need("graph")?;
        let name = self.string()?;
        if self.eat("v") {
            let version = self.take_while(|c| c.is_ascii_digit());
            if version.parse() != Ok(VERSION) {
                return Err(format!("the text is of version `{version}`, this build reads version {VERSION}"));
            }
        }
        let stage = Stage::ALL.into_iter().find(|stage| self.eat(stage.name())).unwrap_or_default();
        self.need("{")?;
        self.end()?;
        Ok((name, stage))
    }

    fn known(&mut self, graph: &Graph) -> Parsed<NodeId> {
        let id = self.id()?;
        if graph.contains(id) { Ok(id) } else { Err(format!("{id} does not stand before this line")) }
    }

    fn line(&mut self, graph: &mut Graph) -> Parsed<()> {
        if self.eat("return") {
            let name = self.string()?;
            self.need("=")?;
            let id = self.known(graph)?;
            graph.set_output(name, id);
        } else if self.eat("update") {
            let target = self.known(graph)?;
            self.need("<-")?;
            let value = self.known(graph)?;
            graph.add_update(target, value);
        } else {
            self.node(graph)?;
        }
        self.end()
    }

    fn node(&mut self, graph: &mut Graph) -> Parsed<()> {
        let id = self.id()?;
        if id.index() != graph.len() {
            return Err(format!("{id} is out of order; %{} expected", graph.len()));
        }
        self.need("=")?;
        let name = self.word()?;
        let operands = if self.eat("(") { self.list(")", |c| c.known(graph))? } else { Vec::new() };
        let attributes = if self.eat("{") { self.list("}", Cursor::attribute)? } else { Vec::new() };
        let op = Op::from_name(name, &attributes)?;
        self.need(":")?;
        let ty = self.tensor_type()?;
        let role = self.role(graph)?;
        let label = if self.rest.starts_with('"') { Some(self.string()?) } else { None };
        let label = label.or_else(|| op.source_name().map(String::from)).unwrap_or_default();
        let onnx_type = if self.eat("from ") { self.word()?.to_string() } else { String::new() };
        let id = graph.insert(Node { onnx_type, ..Node::new(op, ty, role, label) }, &operands);
        graph.set_format(id, self.format()?);
        graph.set_layout(id, self.layout()?);
        graph.set_origin(id, self.origin(id)?);
        Ok(())
    }

    fn layout(&mut self) -> Parsed<Layout> {
        if !self.eat(CHANNELS_LAST) {
            return Ok(Layout::ROWS);
        }
        if !self.eat("=") {
            return Ok(Layout::CHANNELS_LAST);
        }
        let digits = self.take_while(|c| c.is_ascii_digit());
        digits.parse().map(|last| Layout { last }).map_err(|_| format!("`{digits}` is no number of axes"))
    }

    fn list<T>(&mut self, close: &str, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        if self.eat(close) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.eat(close) {
                return Ok(items);
            }
            self.need(",")?;
        }
    }

    fn attribute(&mut self) -> Parsed<(String, Attribute)> {
        let name = self.word()?.to_string();
        self.need("=")?;
        let value = if self.rest.starts_with('"') {
            Attribute::Text(self.string()?)
        } else if self.eat("[") {
            Attribute::Ints(self.list("]", |c| c.int())?)
        } else if self.eat("<") {
            Attribute::Shape(Shape(self.list(">", Cursor::dim)?))
        } else if self.eat("true") {
            Attribute::Bool(true)
        } else if self.eat("false") {
            Attribute::Bool(false)
        } else {
            let token = self.take_while(|c| c.is_alphanumeric() || "+-.".contains(c));
            let real = || token.parse().map(|r| Attribute::Real(Real(r)));
            token.parse().map(Attribute::Int).or_else(|_| real()).map_err(|_| format!("`{token}` is not a number"))?
        };
        Ok((name, value))
    }

    fn int(&mut self) -> Parsed<i64> {
        let token = self.take_while(|c| c.is_ascii_digit() || c == '-');
        token.parse().map_err(|_| format!("`{token}` is not a whole number"))
    }

    fn dim(&mut self) -> Parsed<Dim> {
        self.take_while(|c| c.is_ascii_digit() || c == '*' || c == 'N').parse()
    }

    fn tensor_type(&mut self) -> Parsed<TensorType> {
        let dtype = match self.word()? {
            "f32" => DType::F32,
            "i32" => DType::I32,
            "bool" => DType::Bool,
            "index8" => DType::Index8,
            other => return Err(format!("`{other}` is not an element type (f32, i32, bool, index8)")),
        };
        self.need("[")?;
        Ok(TensorType { dtype, shape: Shape(self.list("]", Cursor::dim)?) })
    }

    fn format(&mut self) -> Parsed<Format> {
        if !self.eat("in ") {
            return Ok(Format::FP32);
        }
        let token = self.take_while(|c| c.is_alphanumeric() || c == '-');
        token.parse().map_err(|e| format!("`{token}` is not a format: {e}"))
    }

    fn origin(&mut self, id: NodeId) -> Parsed<Origin> {
        let mut stands_for = vec![TrainingId(id.0)];
        if self.eat("for nothing") {
            stands_for.clear();
        } else if self.eat("for ") {
            stands_for = vec![TrainingId(self.id()?.0)];
            while self.eat(",") {
                stands_for.push(TrainingId(self.id()?.0));
            }
        }
        let (again, in_passing, uncounted) = (self.eat(AGAIN), self.eat(PASSING), self.eat(UNCOUNTED));
        Ok(Origin { stands_for, again, in_passing, uncounted })
    }

    fn role(&mut self, graph: &Graph) -> Parsed<Role> {
        if self.eat("output") {
            Ok(Role::Output)
        } else if self.eat("gradient of") {
            Ok(Role::OutputGradient { of: self.known(graph)? })
        } else if self.eat("parameter_gradient of") {
            Ok(Role::ParameterGradient { of: self.known(graph)? })
        } else if self.eat("parameter") {
            Ok(Role::Parameter)
        } else {
            Ok(Role::Internal)
        }
    }
}
