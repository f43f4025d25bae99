//! An API server that knows nodes and nothing else, and never has news of them: for an extender that is asked with names
//! alone. Thousands of Node objects in the cluster would keep everybody busy who looks after nodes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

/// A running one, for as long as the program runs.
pub(super) struct Known {
    address: String,
}

impl Known {
    /// Serves these nodes, an array, as metadata alone.
    pub(super) fn serve(nodes: &Value) -> anyhow::Result<Self> {
        let partial = |node: &Value| json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": node["metadata"]});
        let items: Vec<_> = nodes
            .as_array()
            .into_iter()
            .flatten()
            .map(partial)
            .collect();
        let list = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": {"resourceVersion": "1"}, "items": items});
        let list: Arc<str> = list.to_string().into();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let list = Arc::clone(&list);
                std::thread::spawn(move || answer(&stream, &list));
            }
        });
        Ok(Self { address })
    }

    /// A file in `dir` by which clients find it.
    pub(super) fn kubeconfig(&self, dir: &Path) -> anyhow::Result<PathBuf> {
        let server = format!("http://{}", self.address);
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}]});
        let file = dir.join("known.conf");
        std::fs::write(&file, config.to_string())?;
        Ok(file)
    }
}

/// Answers the requests of a connection, none of which has a body: lists, and watches that stay open and silent.
fn answer(stream: &TcpStream, list: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let mut stream = stream;
    while let Some(request) = lines.next().transpose()? {
        for header in lines.by_ref() {
            if header?.is_empty() {
                break;
            }
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
        if request.contains("watch=true") {
            write!(stream, "{head}Transfer-Encoding: chunked\r\n\r\n")?;
        } else {
            write!(stream, "{head}Content-Length: {}\r\n\r\n{list}", list.len())?;
        }
    }
    Ok(())
}
