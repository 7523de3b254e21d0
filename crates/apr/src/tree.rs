//! The tensors of a model as the tree that their names are.

use crate::inspect::{params, total_params};
use crate::units::{self, Table};
use crate::{Checkpoint, Error};
use apr_format::TensorEntry;
use apr_model::layers_in;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Levels of a tree; what is left of a longer name is one.
const MAX_DEPTH: usize = 24;

/// The tensors of a model as a tree.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Tree {
    /// Name of the file or folder.
    pub name: String,
    /// `model`
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Name of the architecture; none if it is not a supported one.
    pub architecture: Option<&'static str>,
    /// Container format.
    pub format: &'static str,
    /// Number of layers.
    pub num_layers: usize,
    /// Number of tensors.
    pub tensor_count: usize,
    /// The same number.
    pub total_tensors: usize,
    /// Elements of all tensors that have dimensions.
    pub total_params: u64,
    /// Bytes of all tensors.
    pub size_bytes: u64,
    /// What the first parts of the names are.
    pub children: Vec<Node>,
}

/// A part of a name: a tensor, or the tensors whose names begin with the same parts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Node {
    /// Which of both.
    #[serde(rename = "type")]
    pub kind: NodeKind,
    /// The last of these parts.
    pub name: String,
    /// All of them: of a tensor, its name.
    pub path: String,
    /// Number of tensors.
    pub tensor_count: usize,
    /// Elements of those that have dimensions.
    pub params: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// Of a tensor: its dimensions, outermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<usize>>,
    /// Of a tensor: its type, as the file's format spells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<&'static str>,
    /// The parts that follow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Self>,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// One that more parts of a name follow.
    Module,
    /// A tensor.
    Tensor,
}

/// Shows the tensors of a model as a tree, from its header.
///
/// # Errors
/// When a configuration beside it cannot be read.
pub fn tree(checkpoint: &Checkpoint) -> Result<Tree, Error> {
    let container = checkpoint.container();
    let mut root = Branch::default();
    for entry in container.tensors() {
        root.insert(entry.name.splitn(MAX_DEPTH, '.'), entry);
    }
    let path = checkpoint.path();
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Tree {
        name,
        kind: "model",
        architecture: checkpoint.arch_and_layers().ok().map(|(arch, _)| arch.name),
        format: container.format(),
        num_layers: layers_in(container),
        tensor_count: container.tensors().len(),
        total_tensors: container.tensors().len(),
        total_params: total_params(container),
        size_bytes: units::total(container.tensors().iter().map(byte_len)),
        children: root.nodes(""),
    })
}

fn byte_len(entry: &TensorEntry) -> u64 {
    units::size(entry.layout.byte_len())
}

/// Numbers in their order, before everything else.
type Key<'a> = (bool, u64, &'a str);

#[derive(Default)]
struct Branch<'a> {
    leaf: Option<&'a TensorEntry>,
    branches: BTreeMap<Key<'a>, Branch<'a>>,
}

impl<'a> Branch<'a> {
    fn insert(&mut self, mut parts: impl Iterator<Item = &'a str>, entry: &'a TensorEntry) {
        match parts.next() {
            None => self.leaf = Some(entry),
            Some(part) => {
                let number = part.parse::<u64>();
                let key = (number.is_err(), number.unwrap_or_default(), part);
                self.branches.entry(key).or_default().insert(parts, entry);
            }
        }
    }

    fn nodes(self, above: &str) -> Vec<Node> {
        let mut nodes = Vec::new();
        for ((.., part), mut branch) in self.branches {
            let path = if above.is_empty() { part.to_owned() } else { format!("{above}.{part}") };
            nodes.extend(branch.leaf.take().map(|entry| Node::tensor(part, entry)));
            let children = branch.nodes(&path);
            if !children.is_empty() {
                nodes.push(Node::module(part, path, children));
            }
        }
        nodes
    }
}

impl Node {
    fn tensor(name: &str, entry: &TensorEntry) -> Self {
        Self {
            kind: NodeKind::Tensor,
            name: name.to_owned(),
            path: entry.name.clone(),
            tensor_count: 1,
            params: params(&entry.layout),
            size_bytes: byte_len(entry),
            shape: Some(entry.layout.shape().to_vec()),
            dtype: Some(entry.layout.dtype().name()),
            children: Vec::new(),
        }
    }

    fn module(name: &str, path: String, children: Vec<Self>) -> Self {
        Self {
            kind: NodeKind::Module,
            name: name.to_owned(),
            path,
            tensor_count: children.iter().map(|child| child.tensor_count).sum(),
            params: units::total(children.iter().map(|child| child.params)),
            size_bytes: units::total(children.iter().map(|child| child.size_bytes)),
            shape: None,
            dtype: None,
            children,
        }
    }

    /// Whether it is a numbered module.
    fn is_numbered(&self) -> bool {
        self.kind == NodeKind::Module && self.name.parse::<u64>().is_ok()
    }

    /// Whether both are numbered and have the same tensors, types and shapes.
    fn is_alike(&self, other: &Self) -> bool {
        self.is_numbered() && other.is_numbered() && self.has_same(other)
    }

    fn has_same(&self, other: &Self) -> bool {
        let same = |(a, b): (&Self, &Self)| a.name == b.name && a.has_same(b);
        (self.kind, self.dtype, &self.shape) == (other.kind, other.dtype, &other.shape)
            && self.children.len() == other.children.len()
            && self.children.iter().zip(&other.children).all(same)
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tensors, params) = (self.tensor_count, units::count(self.total_params));
        let (layers, size) = (self.num_layers, units::bytes(self.size_bytes));
        let arch = self.architecture.unwrap_or("unknown architecture");
        writeln!(f, "{} ({}, {arch})", self.name.escape_debug(), self.format)?;
        writeln!(f, "{layers} layers, {tensors} tensors, {params} parameters, {size}\n")?;
        let mut table = Table::new(&["", "type", "shape", "parameters", "size"]);
        add_rows(&mut table, &self.children, "");
        table.right_align([3, 4]).fmt(f)
    }
}

/// A row for each node; numbered siblings that are alike share one.
fn add_rows(table: &mut Table, nodes: &[Node], indent: &str) {
    let groups: Vec<&[Node]> = nodes.chunk_by(Node::is_alike).collect();
    for (at, group) in groups.iter().enumerate() {
        let (branch, below) =
            if at + 1 == groups.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let mut node = &group[0];
        let mut label = node.name.clone();
        if let [first, .., last] = group {
            label = format!("each of {} … {}", first.name, last.name);
        }
        // A name of several parts that nothing else shares.
        while let [only] = &node.children[..]
            && !node.is_numbered()
        {
            node = only;
            label = format!("{label}.{}", node.name);
        }
        table.row([
            format!("{indent}{branch}{}", label.escape_debug()),
            node.dtype.unwrap_or_default().to_owned(),
            node.shape.as_ref().map_or_else(String::new, |shape| format!("{shape:?}")),
            units::count(node.params),
            units::bytes(node.size_bytes),
        ]);
        add_rows(table, &node.children, &format!("{indent}{below}"));
    }
}
