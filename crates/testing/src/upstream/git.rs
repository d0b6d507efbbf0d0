//! Git over smart HTTP at `/git/<name>.git/…`: `git http-backend` as a CGI program behind Basic authentication.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::Incoming;
use super::body::{self, ReplyBody};
use crate::BoxError;
use crate::tasks::Spawner;

/// Most bytes of head that the CGI program may write.
const MAX_CGI_HEAD_BYTES: usize = 16 << 10;

/// Bytes read from the CGI program at once.
const READ_BYTES: usize = 64 << 10;

/// Bare repositories in a temporary folder, open to one user.
#[derive(Debug)]
pub(crate) struct Repositories {
    root: TempDir,
    authorization: String,
}

impl Repositories {
    pub(crate) fn new(user: &str, password: &str) -> Self {
        let root = tempfile::Builder::new()
            .prefix("av-git-")
            .tempdir()
            .expect("a temporary folder");
        Self {
            root,
            authorization: format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
        }
    }

    /// Makes the empty repository `<name>.git` that takes pushes, and returns its folder.
    pub(crate) fn add(&self, name: &str) -> PathBuf {
        let path = self.root.path().join(format!("{name}.git"));
        self.git(
            &["init", "--quiet", "--bare", "--initial-branch=main"],
            &path,
        );
        self.git(&["config", "http.receivepack", "true"], &path);
        path
    }

    fn git(&self, arguments: &[&str], repository: &Path) {
        std::fs::create_dir_all(repository).expect("a repository folder");
        let status = std::process::Command::new("git")
            .args(arguments)
            .current_dir(repository)
            .env("HOME", self.root.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .status()
            .expect("git is installed");
        assert!(status.success(), "git {arguments:?} failed");
    }

    /// Answers one request below `/git`.
    pub(crate) async fn answer(
        &self,
        head: &Parts,
        request: Incoming,
        spawner: &Spawner,
    ) -> Result<Response<ReplyBody>, BoxError> {
        let presented = head.headers.get("authorization").map(HeaderValue::as_bytes);
        if presented != Some(self.authorization.as_bytes()) {
            return Ok(Response::builder()
                .status(StatusCode::UNAUTHORIZED)
                .header("www-authenticate", "Basic realm=\"git\"")
                .body(body::full("who are you?\n"))?);
        }
        let text = |name: &str| {
            head.headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let path = head
            .uri
            .path()
            .strip_prefix("/git")
            .unwrap_or_default()
            .to_owned();
        let mut child = Command::new("git")
            .arg("http-backend")
            .env("HOME", self.root.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_PROJECT_ROOT", self.root.path())
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REQUEST_METHOD", head.method.as_str())
            .env("PATH_INFO", path)
            .env("QUERY_STRING", head.uri.query().unwrap_or_default())
            .env("CONTENT_TYPE", text("content-type"))
            .env("HTTP_CONTENT_ENCODING", text("content-encoding"))
            .env("GIT_PROTOCOL", text("git-protocol"))
            .env("REMOTE_USER", "user")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or("no stdin")?;
        let mut stdout = child.stdout.take().ok_or("no stdout")?;
        spawner.spawn(feed(request, async move |data| {
            stdin.write_all(&data).await.is_ok()
        }));

        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        let mut response = loop {
            if let Some(response) = cgi_head(&mut buffer)? {
                break response;
            }
            if buffer.len() > MAX_CGI_HEAD_BYTES || stdout.read_buf(&mut buffer).await? == 0 {
                return Err("no head from the CGI program".into());
            }
        };
        *response.body_mut() = body::produced(spawner, async move |out| {
            loop {
                if !buffer.is_empty() {
                    out.data(buffer.split().freeze()).await?;
                }
                buffer.reserve(READ_BYTES);
                match stdout.read_buf(&mut buffer).await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(_) => return out.fail("the CGI program cannot be read").await,
                }
            }
            match child.wait().await {
                Ok(status) if status.success() => Ok(()),
                _ => out.fail("the CGI program failed").await,
            }
        });
        Ok(response)
    }
}

/// Hands a request body to `write` until it ends, breaks, or is not wanted any more.
async fn feed(mut body: Incoming, mut write: impl AsyncFnMut(bytes::Bytes) -> bool) {
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data()
            && !write(data).await
        {
            break;
        }
    }
}

/// Takes the CGI head off `buffer` once it is whole (RFC 3875 section 6.3).
fn cgi_head(buffer: &mut BytesMut) -> Result<Option<Response<ReplyBody>>, BoxError> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let (length, response) = match httparse::parse_headers(buffer, &mut fields)? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete((length, fields)) => {
            let mut response = Response::new(body::empty());
            for field in fields {
                if field.name.eq_ignore_ascii_case("status") {
                    let code = field.value.get(..3).ok_or("a short status")?;
                    *response.status_mut() = StatusCode::from_bytes(code)?;
                } else {
                    let name = HeaderName::from_bytes(field.name.as_bytes())?;
                    response
                        .headers_mut()
                        .append(name, HeaderValue::from_bytes(field.value)?);
                }
            }
            (length, response)
        }
    };
    drop(buffer.split_to(length));
    Ok(Some(response))
}
