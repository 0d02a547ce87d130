//! What kind of file something is: by its name, else by how it begins. A label for whoever shows it, and no promise.

/// Of the sciences, which registries of web servers do not have.
const SCIENTIFIC: [(&str, &str); 9] = [
    ("arrow", "application/vnd.apache.arrow.file"),
    ("feather", "application/vnd.apache.arrow.file"),
    ("ipynb", "application/x-ipynb+json"),
    ("jsonl", "application/jsonl"),
    ("npy", "application/x-npy"),
    ("npz", "application/x-npz"),
    ("parquet", "application/vnd.apache.parquet"),
    ("pickle", "application/x-pickle"),
    ("pkl", "application/x-pickle"),
];

/// As in `image/png`.
pub(crate) fn media_type(path: &str, content: &[u8]) -> String {
    let extension = std::path::Path::new(path).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let scientific = SCIENTIFIC.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension));
    if let Some((_, kind)) = scientific {
        return (*kind).to_owned();
    }
    if let Some(kind) = mime_guess::from_ext(extension).first_raw() {
        return kind.to_owned();
    }
    if let Some(kind) = infer::get(content) {
        return kind.mime_type().to_owned();
    }
    let is_text = !content.contains(&0) && std::str::from_utf8(content).is_ok();
    if is_text { "text/plain" } else { "application/octet-stream" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_before_beginnings() {
        for (path, content, kind) in [
            ("figure-1.png", &b""[..], "image/png"),
            ("a/B.PNG", b"", "image/png"),
            ("a.jpg", b"", "image/jpeg"),
            ("a.svg", b"", "image/svg+xml"),
            ("a.webp", b"", "image/webp"),
            ("a.pdf", b"", "application/pdf"),
            ("a.csv", b"", "text/csv"),
            ("a.json", b"", "application/json"),
            ("a.txt", b"\x00", "text/plain"),
            ("a.md", b"", "text/markdown"),
            ("a.html", b"", "text/html"),
            ("a.xml", b"", "text/xml"),
            ("a.parquet", b"", "application/vnd.apache.parquet"),
            ("a.npy", b"", "application/x-npy"),
            ("a.PKL", b"", "application/x-pickle"),
            ("a.xlsx", b"", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
            ("a.zip", b"", "application/zip"),
            ("a.gz", b"", "application/gzip"),
            ("a.tar", b"", "application/x-tar"),
            ("a.mp4", b"", "video/mp4"),
            ("a.wav", b"", "audio/wav"),
            ("picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
            ("picture", b"GIF89a", "image/gif"),
            ("picture", b"\xFF\xD8\xFF\xE0", "image/jpeg"),
            ("paper", b"%PDF-1.7", "application/pdf"),
            ("archive", b"PK\x03\x04", "application/zip"),
            ("archive", b"\x1f\x8b\x08", "application/gzip"),
            ("notes", "h\u{e9}llo".as_bytes(), "text/plain"),
            ("empty", b"", "text/plain"),
            ("data", b"a\0b", "application/octet-stream"),
            ("data.unheard-of", b"\xFFabc", "application/octet-stream"),
            (".png", b"\xFFabc", "application/octet-stream"),
        ] {
            assert_eq!(media_type(path, content), kind, "{path}");
        }
    }
}
