//! A look at the protobuf wire format before the parser sees it.
//!
//! The parser recurses without a limit on nested groups of unknown fields (RUSTSEC-2024-0437), so a small hostile file
//! would overflow its stack. ONNX has no groups: this scan walks the messages without recursion, refuses groups and
//! deep nesting, and says where a truncated file ends.

/// The messages of ONNX that hold other messages.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    ValueInfo,
    Type,
    /// A tensor type, sparse or not: holds a shape in field 2.
    TensorType,
    /// A sequence or optional type: holds a type in field 1.
    Element,
    /// A map type: holds a type in field 2.
    Map,
    Shape,
    Training,
    Function,
    Annotation,
    /// Holds no messages.
    Leaf,
}

/// The message in a field, if the field holds one; fields as in `onnx.proto`.
fn child(message: Message, field: u64) -> Option<Message> {
    use Message::*;
    Some(match (message, field) {
        (Model, 7) | (Training, 1 | 2) | (Attribute, 6 | 11) => Graph,
        (Model, 20) => Training,
        (Model, 25) => Function,
        (Graph, 1) | (Function, 7) => Node,
        (Graph, 5) | (Attribute, 5 | 10) | (Sparse, 1 | 2) => Tensor,
        (Graph, 15) | (Attribute, 22 | 23) => Sparse,
        (Graph, 11..=13) | (Function, 12) => ValueInfo,
        (Graph, 14) => Annotation,
        (Node, 5) | (Function, 11) => Attribute,
        (Attribute, 14 | 15) | (ValueInfo, 2) | (Element, 1) | (Map, 2) => Type,
        (Type, 1 | 8) => TensorType,
        (Type, 4 | 9) => Element,
        (Type, 5) => Map,
        (TensorType, 2) => Shape,
        (Model, 8 | 14) | (Graph, 16) | (Node, 9) | (Tensor, 3 | 13 | 16) | (ValueInfo, 4) => Leaf,
        (Shape, 1) | (Training, 3 | 4) | (Function, 9 | 14) | (Annotation, 2) => Leaf,
        _ => return None,
    })
}

/// Messages within messages; a network of ONNX operators needs eight.
const DEEPEST: usize = 64;

/// Checks that `bytes` are whole protobuf messages without groups.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let mut open: Vec<(usize, Message)> = vec![(bytes.len(), Message::Model)];
    let mut at = 0usize;
    while let Some(&(end, message)) = open.last() {
        if at == end {
            open.pop();
            continue;
        }
        let start = at;
        let cut = || {
            format!(
                "byte {start} of {}: the data ends in the middle of a field; the file is truncated or not an ONNX file",
                bytes.len()
            )
        };
        let tag = varint(bytes, &mut at, end).ok_or_else(cut)?;
        match tag & 7 {
            0 => {
                varint(bytes, &mut at, end).ok_or_else(cut)?;
            }
            kind @ (1 | 5) => {
                at += if kind == 1 { 8 } else { 4 };
                if at > end {
                    return Err(cut());
                }
            }
            2 => {
                let length = varint(bytes, &mut at, end).and_then(|n| usize::try_from(n).ok()).ok_or_else(cut)?;
                let inner = at.checked_add(length).filter(|&inner| inner <= end).ok_or_else(cut)?;
                match child(message, tag >> 3) {
                    Some(_) if open.len() >= DEEPEST => {
                        return Err(format!("byte {start}: messages are nested more than {DEEPEST} deep"));
                    }
                    Some(child) => open.push((inner, child)),
                    None => at = inner,
                }
            }
            kind => {
                return Err(format!("byte {start}: wire type {kind} does not occur in ONNX; this is not an ONNX file"));
            }
        }
    }
    Ok(())
}

fn varint(bytes: &[u8], at: &mut usize, end: usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(*at).filter(|_| *at < end)?;
        *at += 1;
        value |= u64::from(byte & 127).checked_shl(shift).unwrap_or(0);
        if byte < 128 {
            return Some(value);
        }
    }
    None
}
