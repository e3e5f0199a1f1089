//! Does an answer's type fit a path that looks like that of a static file?
//!
//! Cache deception: a victim is led to `/account/x.css`, the application answers with the account's page as it ignores
//! what is behind, and a cache that stores by the ending hands the page to the attacker. So an answer whose type is not
//! what the ending says is one made for somebody, as far as a cache can tell.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

/// Endings, and how the types begin that fit them.
const STATIC: [(&[&str], &[&str]); 9] = [
    (&["css"], &["text/css"]),
    (
        &["js", "mjs"],
        &[
            "text/javascript",
            "application/javascript",
            "application/x-javascript",
            "text/ecmascript",
            "application/ecmascript",
        ],
    ),
    (
        &[
            "png", "jpg", "jpeg", "gif", "webp", "avif", "svg", "svgz", "ico", "bmp", "tif",
            "tiff", "jxl",
        ],
        &["image/"],
    ),
    (
        &["woff", "woff2", "ttf", "otf", "eot"],
        &[
            "font/",
            "application/font",
            "application/x-font",
            "application/vnd.ms-fontobject",
        ],
    ),
    (
        &[
            "mp3", "mp4", "m4a", "m4v", "webm", "ogg", "ogv", "oga", "wav", "flac", "mov", "avi",
            "mkv", "aac", "opus", "mid",
        ],
        &["audio/", "video/", "application/ogg"],
    ),
    (&["pdf"], &["application/pdf"]),
    (&["csv", "txt"], &["text/csv", "text/plain"]),
    (&["wasm"], &["application/wasm"]),
    (
        &[
            "zip", "gz", "bz2", "xz", "zst", "7z", "rar", "tar", "tgz", "dmg", "iso", "exe", "msi",
            "apk", "jar", "deb", "rpm", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods",
            "swf", "class", "bin",
        ],
        &[
            "application/zip",
            "application/gzip",
            "application/x-",
            "application/vnd.",
            "application/java",
            "application/msword",
            "application/zstd",
        ],
    ),
];

/// A successful answer under a static-looking path whose type is another. `application/octet-stream` fits every ending;
/// no type fits none, as browsers guess then.
#[must_use]
pub(super) fn deceives(path: &str, status: StatusCode, answer: &HeaderMap) -> bool {
    if !status.is_success() {
        return false;
    }
    let Some((_, ending)) = path.rsplit_once('.') else {
        return false;
    };
    let ending = ending.to_ascii_lowercase();
    let Some((_, fitting)) = STATIC
        .iter()
        .find(|(endings, _)| endings.contains(&ending.as_str()))
    else {
        return false;
    };
    let written = answer
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = written.unwrap_or_default().trim().to_ascii_lowercase();
    let fits = kind.starts_with("application/octet-stream")
        || fitting.iter().any(|begin| kind.starts_with(begin));
    !fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_page_is_no_style_sheet() {
        for (path, kind, deceived) in [
            ("/account/x.css", "text/html", true),
            ("/account/x.css", "text/css; charset=utf-8", false),
            ("/account;x.css", "application/json", true),
            ("/account%2Fx.CSS", "text/html", true),
            ("/account%3Fx.js", "text/html", true),
            ("/a.js", "Application/JavaScript", false),
            ("/a.png", "image/webp", false),
            ("/a.png", "", true),
            ("/a.zip", "application/octet-stream", false),
            ("/a.zip", "application/json", true),
            ("/a.html", "text/html", false),
            ("/v1.2/users", "application/json", false),
            ("/account", "text/html", false),
            ("/a.css/", "text/html", false),
        ] {
            let mut answer = HeaderMap::new();
            if !kind.is_empty() {
                answer.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            }
            assert_eq!(
                deceives(path, StatusCode::OK, &answer),
                deceived,
                "{path} {kind}"
            );
            assert!(!deceives(path, StatusCode::NOT_FOUND, &answer));
        }
    }
}
