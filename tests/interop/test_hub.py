"""huggingface_hub and apr use one cache: each reads what the other has downloaded."""
import hashlib
import http.server
import json
import os
import pathlib
import tempfile
import threading
import unittest
from unittest import mock

import huggingface_hub

from harness import apr, model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "org/tiny"


class Hub(http.server.BaseHTTPRequestHandler):
    """A hub with one model; its weights are in Git LFS."""

    files = {}

    def log_message(self, *_):
        pass

    def digest(self, name):
        content = self.files[name]
        if name.endswith(".safetensors"):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def listed(self, name):
        size, digest = len(self.files[name]), self.digest(name)
        entry = {"rfilename": name, "size": size, "blobId": digest}
        if name.endswith(".safetensors"):
            entry |= {"blobId": "f" * 40, "lfs": {"sha256": digest, "size": size, "pointerSize": 134}}
        return entry

    def entry(self, name):
        listed = self.listed(name)
        found = {"type": "file", "path": name, "size": listed["size"], "oid": listed["blobId"]}
        if "lfs" in listed:
            found["lfs"] = {"oid": listed["lfs"]["sha256"], "size": listed["size"], "pointerSize": 134}
        return found

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path, resolve = self.path.split("?")[0], f"/{REPO}/resolve/"
        if path.startswith(f"/api/models/{REPO}/tree/"):
            self.answer(200, json.dumps([self.entry(name) for name in self.files]).encode())
        elif path.startswith(f"/api/models/{REPO}"):
            siblings = [self.listed(name) for name in self.files]
            found = {"id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": siblings, "tags": [],
                     "private": False, "downloads": 0, "likes": 0}
            self.answer(200, json.dumps(found).encode(), Content_Type="application/json")
        elif path.startswith(resolve):
            name = path[len(resolve):].split("/", 1)[1]
            self.answer(200, self.files[name], ETag=f'"{self.digest(name)}"', X_Repo_Commit=COMMIT)
        else:
            self.answer(404, b"", X_Error_Code="RepoNotFound")

    do_HEAD = do_GET


class Cache(unittest.TestCase):
    def setUp(self):
        folder = model("tiny-llama")
        Hub.files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.cache = pathlib.Path(folder.name)

    def apr(self, *arguments, **variables):
        variables = {"HF_HUB_CACHE": str(self.cache), "HF_ENDPOINT": self.endpoint} | variables
        with mock.patch.dict(os.environ, variables):
            return json.loads(apr(*arguments, "--json"))

    def test_huggingface_hub_reads_what_apr_has_pulled(self):
        pulled = self.apr("pull", f"hf://{REPO}")
        found = huggingface_hub.snapshot_download(REPO, cache_dir=self.cache, local_files_only=True)
        self.assertEqual(found, pulled["path"])
        scanned = huggingface_hub.scan_cache_dir(self.cache)
        self.assertEqual(scanned.warnings, [])
        [repo] = scanned.repos
        [revision] = repo.revisions
        self.assertEqual((repo.repo_id, revision.commit_hash), (REPO, COMMIT))
        self.assertEqual(revision.refs, frozenset({"main"}))
        self.assertEqual(repo.size_on_disk, pulled["downloaded_bytes"])
        names = {file.file_name: file.blob_path.name for file in revision.files}
        self.assertEqual(sorted(names), sorted(file["name"] for file in pulled["files"]))
        for name, blob in names.items():
            self.assertEqual(blob, Hub.digest(Hub, name), name)

    def test_apr_reads_what_huggingface_hub_has_downloaded(self):
        found = huggingface_hub.snapshot_download(
            REPO, cache_dir=self.cache, endpoint=self.endpoint, max_workers=1)
        [listed] = self.apr("list")["models"]
        self.assertEqual(pathlib.Path(listed["path"]).parent, pathlib.Path(found))
        inspected = self.apr("inspect", f"hf://{REPO}", HF_HUB_OFFLINE="1")
        self.assertEqual(inspected["architecture"], "llama")
        pulled = self.apr("pull", f"hf://{REPO}")
        self.assertEqual((pulled["path"], pulled["downloaded_bytes"]), (found, 0))
        self.apr("rm", f"hf://{REPO}")
        self.assertEqual(len(huggingface_hub.scan_cache_dir(self.cache).repos), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
