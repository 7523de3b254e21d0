//! A model hub on a local port that speaks what `huggingface_hub` speaks: the listing of a
//! revision, files by commit, large ones by a redirect to another host; and that fails on demand.

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The commit of the only model.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// The only model.
pub(crate) const REPO: &str = "org/tiny";

/// A file of the model.
#[derive(Clone)]
pub(crate) struct HubFile {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
    /// Whether it lies in Git LFS: named by its SHA-256, and served by another host.
    pub(crate) is_large: bool,
}

impl HubFile {
    pub(crate) fn small(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), content: content.into(), is_large: false }
    }

    pub(crate) fn large(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), content: content.into(), is_large: true }
    }

    pub(crate) fn digest(&self) -> String {
        let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.is_large {
            return digits(&Sha256::digest(&self.content));
        }
        let prefix = format!("blob {}\0", self.content.len());
        digits(&Sha1::digest([prefix.as_bytes(), &self.content].concat()))
    }

    fn listed(&self) -> Value {
        let (name, size) = (&self.name, self.content.len());
        if self.is_large {
            let lfs = json!({"sha256": self.digest(), "size": size, "pointerSize": 134});
            json!({"rfilename": name, "size": size, "blobId": "f".repeat(40), "lfs": lfs})
        } else {
            json!({"rfilename": name, "size": size, "blobId": self.digest()})
        }
    }
}

/// How an answer goes wrong.
#[derive(Clone)]
pub(crate) enum Fault {
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Another status, with a header line.
    Status(u16, &'static str),
    /// A byte of the body is another.
    Flip(usize),
    /// The whole file, although the rest of it was asked for.
    IgnoreRange,
    /// A longer body than the file.
    Longer,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What the hub has and how it behaves.
#[derive(Default)]
struct State {
    files: Vec<HubFile>,
    /// Commit, as the listing says.
    commit: String,
    /// Whether the listing has sizes and digests.
    is_bare: bool,
    token: Option<String>,
    /// Where it goes wrong, and how often.
    faults: Vec<(String, usize, Fault)>,
    requests: Vec<Request>,
}

/// A running hub. It ends with the process.
pub(crate) struct Hub {
    state: Arc<Mutex<State>>,
    port: u16,
}

struct Reply {
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
    /// Bytes of the body that are sent.
    sent: usize,
}

impl Reply {
    fn new(status: u16, headers: Vec<String>, body: Vec<u8>) -> Self {
        Self { status, headers, sent: body.len(), body }
    }
}

impl Hub {
    pub(crate) fn with(files: Vec<HubFile>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State { files, commit: COMMIT.to_owned(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                // A client that hangs up is none of the hub's business.
                thread::spawn(move || serve(stream, &state, port).unwrap_or_default());
            }
        });
        Self { state, port }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// The next `times` requests whose path contains `path` go wrong.
    pub(crate) fn fails(&self, path: &str, times: usize, fault: Fault) {
        self.change(|state| state.faults.push((path.to_owned(), times, fault)));
    }

    /// The model has other files now, under another commit.
    pub(crate) fn moves_on(&self, commit: &str, files: Vec<HubFile>) {
        self.change(|state| (state.commit, state.files) = (commit.to_owned(), files));
    }

    pub(crate) fn needs_token(&self, token: &str) {
        self.change(|state| state.token = Some(token.to_owned()));
    }

    /// The listing has names only.
    pub(crate) fn is_bare(&self) {
        self.change(|state| state.is_bare = true);
    }

    /// Every request so far whose path contains `path`.
    pub(crate) fn requests(&self, path: &str) -> Vec<Request> {
        let state = self.state.lock().unwrap();
        state.requests.iter().filter(|request| request.path.contains(path)).cloned().collect()
    }
}

fn read_request(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut lines = BufReader::new(stream).lines();
    let Some(first) = lines.next().transpose()? else { return Ok(None) };
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Some(Request { method, path, headers }))
}

fn serve(mut stream: TcpStream, state: &Mutex<State>, port: u16) -> std::io::Result<()> {
    let Some(request) = read_request(&stream)? else { return Ok(()) };
    let reply = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        let fault = take_fault(&mut state.faults, &request.path);
        answer(&state, &request, fault.as_ref(), port)
    };
    let mut head = format!("HTTP/1.1 {} Told\r\nconnection: close\r\n", reply.status);
    for header in &reply.headers {
        head += &format!("{header}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", reply.body.len());
    stream.write_all(head.as_bytes())?;
    if request.method != "HEAD" {
        stream.write_all(&reply.body[..reply.sent])?;
    }
    stream.shutdown(Shutdown::Both)
}

fn take_fault(faults: &mut [(String, usize, Fault)], path: &str) -> Option<Fault> {
    let matching =
        |(part, times, _): &&mut (String, usize, Fault)| *times > 0 && path.contains(part.as_str());
    let (_, times, fault) = faults.iter_mut().find(matching)?;
    *times -= 1;
    Some(fault.clone())
}

fn answer(state: &State, request: &Request, fault: Option<&Fault>, port: u16) -> Reply {
    if let Some(Fault::Status(status, header)) = fault {
        return Reply::new(*status, vec![(*header).to_owned()], Vec::new());
    }
    let ignore_range = matches!(fault, Some(Fault::IgnoreRange));
    let mut reply = route(state, request, ignore_range, port);
    match fault {
        Some(Fault::Cut(len)) => reply.sent = reply.sent.min(*len),
        Some(Fault::Flip(at)) => reply.body[*at] ^= 1,
        Some(Fault::Longer) => {
            reply.body.extend([0; 1000]);
            reply.sent = reply.body.len();
        }
        Some(Fault::IgnoreRange | Fault::Status(..)) | None => {}
    }
    reply
}

fn route(state: &State, request: &Request, ignore_range: bool, port: u16) -> Reply {
    let path = request.path.split('?').next().unwrap_or_default();
    if let Some(digest) = path.strip_prefix("/cdn/") {
        let file = state.files.iter().find(|file| file.digest() == digest).unwrap();
        return part(file, request, ignore_range);
    }
    let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if state.token.is_some() && token != state.token.as_deref() {
        return Reply::new(401, vec!["x-error-code: GatedRepo".to_owned()], Vec::new());
    }
    let listing = format!("/api/models/{REPO}/revision/");
    if let Some(revision) = path.strip_prefix(&listing)
        && ["main", &state.commit, "refs%2Fpr%2F1"].contains(&revision)
    {
        let list = |file: &HubFile| match state.is_bare {
            true => json!({"rfilename": file.name}),
            false => file.listed(),
        };
        let siblings: Vec<Value> = state.files.iter().map(list).collect();
        let listing = json!({"id": REPO, "sha": state.commit, "siblings": siblings});
        return Reply::new(200, Vec::new(), listing.to_string().into_bytes());
    }
    let resolve = format!("/{REPO}/resolve/{}/", state.commit);
    let file = path.strip_prefix(&resolve);
    match file.and_then(|name| state.files.iter().find(|file| file.name == name)) {
        Some(file) if file.is_large => {
            let digest = file.digest();
            let headers = vec![
                format!("location: http://localhost:{port}/cdn/{digest}"),
                format!("x-linked-etag: \"{digest}\""),
                format!("x-linked-size: {}", file.content.len()),
                format!("x-repo-commit: {}", state.commit),
            ];
            Reply::new(302, headers, Vec::new())
        }
        Some(file) => part(file, request, ignore_range),
        None => Reply::new(404, vec!["x-error-code: RepoNotFound".to_owned()], Vec::new()),
    }
}

/// A file, or its bytes from an offset on.
fn part(file: &HubFile, request: &Request, ignore_range: bool) -> Reply {
    let etag = format!("etag: \"{}\"", file.digest());
    let range = request.header("range").filter(|_| !ignore_range);
    let Some(start) = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'))
    else {
        return Reply::new(200, vec![etag], file.content.clone());
    };
    let (start, size): (usize, usize) = (start.parse().unwrap(), file.content.len());
    if start >= size {
        return Reply::new(416, vec![format!("content-range: bytes */{size}")], Vec::new());
    }
    let range = format!("content-range: bytes {start}-{}/{size}", size - 1);
    Reply::new(206, vec![etag, range], file.content[start..].to_vec())
}
