//! The nodes themselves: found by parent and name, listed by parent, at most 400 bytes for one of
//! a hundred bytes of data.
//!
//! Prevents a tree whose keys weigh more than its values. Each name is kept once; a path is walked
//! name by name; one table holds all edges; children hang on each other, so that a node with a
//! million of them costs no more than a million nodes with one.
//!
//! Always holds: a node that is in the table is linked to its parent, and the other way round; and
//! places are handed out last-freed-first, so that undoing a list of changes in reverse restores
//! every [`NodeId`].

use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use mainstay_zk_proto::Stat;
use mainstay_zk_proto::mode::Owner;

use super::access::ListId;
use super::content::Content;

/// A node's place. Valid on this member only, and only while the node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// The root.
    pub const ROOT: Self = Self(0);
    /// No node.
    const NONE: Self = Self(u32::MAX);

    fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

/// What is kept of a node besides its data, name and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) czxid: i64,
    pub(super) mzxid: i64,
    pub(super) pzxid: i64,
    pub(super) ctime_ms: i64,
    pub(super) mtime_ms: i64,
    /// As [`Owner::to_wire`] gives it.
    pub(super) owner: i64,
    pub(super) version: i32,
    /// Children made so far; wraps as ZooKeeper's number does. Numbers sequential children.
    pub(super) creates: i32,
    pub(super) aversion: i32,
    pub(super) acl: ListId,
}

/// One node. Cheap to copy: what is long is shared.
#[derive(Clone, Debug)]
pub(super) struct Node {
    content: Content,
    pub(super) facts: Facts,
    /// A number for the path, the same on every member.
    pub(super) path_hash: u64,
    /// This node's part of the tree's digest.
    pub(super) digest: u64,
    parent: NodeId,
    first: NodeId,
    next: NodeId,
    previous: NodeId,
    children: u32,
}

impl Node {
    pub(super) fn new(name: &str, data: Option<&[u8]>, facts: Facts, path_hash: u64) -> Self {
        Self {
            content: Content::new(name, data),
            facts,
            path_hash,
            digest: 0,
            parent: NodeId::NONE,
            first: NodeId::NONE,
            next: NodeId::NONE,
            previous: NodeId::NONE,
            children: 0,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.content.name()
    }

    pub(super) fn data(&self) -> Option<&[u8]> {
        self.content.data()
    }

    /// Puts other content in place of this; it is returned, for whoever wants to undo that.
    pub(super) fn replace(&mut self, content: Content) -> Content {
        std::mem::replace(&mut self.content, content)
    }

    /// This node's name with other data.
    pub(super) fn with_data(&self, data: Option<&[u8]>) -> Content {
        self.content.with_data(data)
    }

    pub(super) const fn children(&self) -> u32 {
        self.children
    }

    /// The stat as clients see it.
    pub(super) fn stat(&self) -> Stat {
        let facts = &self.facts;
        let children = i32::try_from(self.children).unwrap_or(i32::MAX);
        let data_length = self.data().map_or(0, <[u8]>::len);
        Stat {
            czxid: facts.czxid,
            mzxid: facts.mzxid,
            ctime: facts.ctime_ms,
            mtime: facts.mtime_ms,
            version: facts.version,
            // Clients count removals as well: each child was made once, and those that are not
            // there any more were removed once.
            cversion: facts.creates.wrapping_mul(2).wrapping_sub(children),
            aversion: facts.aversion,
            // Clients hear of sessions only, as from ZooKeeper.
            ephemeral_owner: match Owner::from_wire(facts.owner) {
                Owner::Session(session) => session,
                Owner::Nobody | Owner::Container | Owner::Ttl { .. } => 0,
            },
            data_length: i32::try_from(data_length).unwrap_or(i32::MAX),
            num_children: children,
            pzxid: facts.pzxid,
        }
    }
}

/// Nodes of one chunk. Growing never moves what is there; a chunk that a frozen copy of the tree
/// still needs is copied when it is changed, which must not take long.
const CHUNK: usize = 256;

type Chunk = Vec<Option<Node>>;

/// All nodes.
#[derive(Debug)]
pub(super) struct Nodes {
    chunks: Vec<Arc<Chunk>>,
    free: Vec<u32>,
    edges: HashTable<NodeId>,
    hashing: DefaultHashBuilder,
    len: usize,
}

impl Nodes {
    /// Only the root.
    pub(super) fn new(root: Node) -> Self {
        let mut nodes = Self {
            chunks: Vec::new(),
            free: Vec::new(),
            edges: HashTable::new(),
            hashing: DefaultHashBuilder::default(),
            len: 0,
        };
        nodes.place(root);
        nodes
    }

    /// Nodes, the root included.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The node at `id`, which is there.
    pub(super) fn at(&self, id: NodeId) -> &Node {
        #[expect(
            clippy::expect_used,
            reason = "an id is given out for a node that is there"
        )]
        self.slot(id)
            .expect("an id stands for a node that is there")
    }

    /// As [`at`](Self::at), to be changed.
    pub(super) fn at_mut(&mut self, id: NodeId) -> &mut Node {
        let index = id.0 as usize;
        #[expect(
            clippy::expect_used,
            reason = "an id is given out for a node that is there"
        )]
        Arc::make_mut(&mut self.chunks[index / CHUNK])[index % CHUNK]
            .as_mut()
            .expect("an id stands for a node that is there")
    }

    /// The node at `path`; the empty path is the root.
    pub(super) fn find(&self, path: &str) -> Option<NodeId> {
        if path.is_empty() || path == "/" {
            return Some(NodeId::ROOT);
        }
        path.strip_prefix('/')?
            .split('/')
            .try_fold(NodeId::ROOT, |parent, name| self.child(parent, name))
    }

    /// The child of `parent` called `name`.
    pub(super) fn child(&self, parent: NodeId, name: &str) -> Option<NodeId> {
        self.edges
            .find(self.hash(parent, name.as_bytes()), |&id| {
                self.is_edge(id, parent, name)
            })
            .copied()
    }

    /// The children of `id`, the newest first.
    pub(super) fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let first = self.at(id).first.some();
        std::iter::successors(first, |&child| self.at(child).next.some())
    }

    /// The parent of `id`; none of the root.
    pub(super) fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.at(id).parent.some()
    }

    /// The path of `id`.
    pub(super) fn path(&self, id: NodeId) -> String {
        let up = std::iter::successors(Some(id), |&id| self.parent(id));
        let mut names: Vec<&str> = up.map(|id| self.at(id).name()).collect();
        if names.len() == 1 {
            return "/".to_owned();
        }
        names.reverse();
        names.join("/")
    }

    /// Nodes below `id`.
    pub(super) fn below(&self, id: NodeId) -> usize {
        let mut count = 0;
        let mut waiting = vec![id];
        while let Some(id) = waiting.pop() {
            let before = waiting.len();
            waiting.extend(self.children(id));
            count += waiting.len() - before;
        }
        count
    }

    /// Adds `node` below `parent`, which has no child of its name.
    pub(super) fn insert(&mut self, parent: NodeId, mut node: Node) -> NodeId {
        let first = self.at(parent).first;
        node.parent = parent;
        node.next = first;
        node.previous = NodeId::NONE;
        let hash = self.hash(parent, node.content.name_bytes());
        let id = self.place(node);
        if let Some(first) = first.some() {
            self.at_mut(first).previous = id;
        }
        let above = self.at_mut(parent);
        above.first = id;
        above.children += 1;
        let Self {
            edges,
            chunks,
            hashing,
            ..
        } = self;
        edges.insert_unique(hash, id, |&id| {
            let node = slot(chunks, id);
            node.map_or(0, |node| {
                hash_edge(hashing, node.parent, node.content.name_bytes())
            })
        });
        id
    }

    /// Takes away the node at `id`, which has no children and is not the root.
    pub(super) fn remove(&mut self, id: NodeId) -> (NodeId, Node) {
        let index = id.0 as usize;
        let node = self.at(id);
        let (parent, next, previous) = (node.parent, node.next, node.previous);
        let hash = self.hash(parent, node.content.name_bytes());
        match previous.some() {
            Some(previous) => self.at_mut(previous).next = next,
            None => self.at_mut(parent).first = next,
        }
        if let Some(next) = next.some() {
            self.at_mut(next).previous = previous;
        }
        self.at_mut(parent).children -= 1;
        if let Ok(edge) = self.edges.find_entry(hash, |&edge| edge == id) {
            edge.remove();
        }
        self.free.push(id.0);
        self.len -= 1;
        #[expect(clippy::expect_used, reason = "it was looked at above")]
        let node = Arc::make_mut(&mut self.chunks[index / CHUNK])[index % CHUNK]
            .take()
            .expect("an id stands for a node that is there");
        (parent, node)
    }

    /// The nodes as they are now, whatever becomes of them.
    pub(super) fn freeze(&self) -> FrozenNodes {
        FrozenNodes(self.chunks.clone())
    }

    fn place(&mut self, node: Node) -> NodeId {
        self.len += 1;
        if let Some(index) = self.free.pop() {
            let place = index as usize;
            Arc::make_mut(&mut self.chunks[place / CHUNK])[place % CHUNK] = Some(node);
            return NodeId(index);
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Arc::new(Vec::with_capacity(CHUNK)));
        }
        let full = (self.chunks.len() - 1) * CHUNK;
        let mut index = full;
        if let Some(chunk) = self.chunks.last_mut() {
            index += chunk.len();
            Arc::make_mut(chunk).push(Some(node));
        }
        // Memory ends before four thousand million nodes.
        NodeId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    fn slot(&self, id: NodeId) -> Option<&Node> {
        slot(&self.chunks, id)
    }

    fn is_edge(&self, id: NodeId, parent: NodeId, name: &str) -> bool {
        let node = self.at(id);
        node.parent == parent && node.content.name_bytes() == name.as_bytes()
    }

    fn hash(&self, parent: NodeId, name: &[u8]) -> u64 {
        hash_edge(&self.hashing, parent, name)
    }
}

/// Nodes as they were at one moment.
#[derive(Clone, Debug)]
pub(super) struct FrozenNodes(Vec<Arc<Chunk>>);

impl FrozenNodes {
    /// Visits every node below the root with its depth, parents before their children.
    pub(super) fn walk<E>(
        &self,
        mut visit: impl FnMut(u32, &Node) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut waiting = vec![(0, NodeId::ROOT)];
        while let Some((depth, id)) = waiting.pop() {
            let Some(node) = slot(&self.0, id) else {
                continue;
            };
            visit(depth, node)?;
            let next = node.next.some();
            waiting.extend(next.filter(|_| depth > 0).map(|next| (depth, next)));
            waiting.extend(node.first.some().map(|first| (depth + 1, first)));
        }
        Ok(())
    }
}

fn slot(chunks: &[Arc<Chunk>], id: NodeId) -> Option<&Node> {
    let index = id.0 as usize;
    chunks.get(index / CHUNK)?.get(index % CHUNK)?.as_ref()
}

/// Random per process: names are chosen by clients.
fn hash_edge(hashing: &DefaultHashBuilder, parent: NodeId, name: &[u8]) -> u64 {
    hashing.hash_one((parent, name))
}
