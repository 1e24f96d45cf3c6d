//! Files that are given in place of ONNX files, recognised by their first bytes.

/// Bytes in front of the header of a safetensors file, which hold its length.
const SAFETENSORS_LENGTH: usize = 8;

/// What a file is that is no ONNX file, and what to do, where its first bytes show it.
pub(crate) fn other(bytes: &[u8]) -> Option<&'static str> {
    let starts = |start: &[u8]| bytes.starts_with(start);
    let text = bytes.trim_ascii_start();
    if starts(b"version https://git-lfs") {
        return Some("the file is a pointer of Git LFS, not the network itself; fetch it with `git lfs pull`");
    }
    if text.starts_with(b"<!") || text.starts_with(b"<html") || text.starts_with(b"<?xml") {
        return Some("the file is a page of HTML or XML, not a network; download the network itself");
    }
    if starts(b"PK\x03\x04") {
        return Some("the file is a zip archive, as torch.save writes it; export the network with torch.onnx.export");
    }
    if starts(b"\x89HDF") {
        return Some("the file is an HDF5 file, as Keras writes it; convert the network with tf2onnx");
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Some("the file is a TensorFlow Lite file; convert the network with tf2onnx");
    }
    if bytes.get(4..8) == Some(b"ORTM") {
        return Some("the file is in ONNX Runtime's own format (.ort); take the ONNX file that it was made from");
    }
    if bytes.get(SAFETENSORS_LENGTH..SAFETENSORS_LENGTH + 2) == Some(b"{\"") {
        return Some(
            "the file is a safetensors file, which holds weights without a network; export the network as ONNX",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::other;

    #[test]
    fn kinds_are_recognised() {
        for (bytes, words) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid sha256:0"[..], "git lfs pull"),
            (b"\n<!DOCTYPE html><html>", "a page of HTML"),
            (b"PK\x03\x04\x14\x00", "torch.onnx.export"),
            (b"\x10\0\0\0\0\0\0\0{\"w\":{}}", "safetensors"),
            (b"\x89HDF\r\n", "Keras"),
            (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
            (b"\x20\0\0\0ORTM", ".ort"),
        ] {
            assert!(other(bytes).unwrap().contains(words));
        }
        for bytes in [&b""[..], b"\x08\x07", b"\x08\x08\x12\x07pytorch"] {
            assert_eq!(other(bytes), None);
        }
    }
}
