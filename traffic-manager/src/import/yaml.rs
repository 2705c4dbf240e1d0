//! YAML whose every value knows its line. Bounded: a hostile file costs what its bytes cost.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::MAX_FILE_BYTES;

/// Deepest nesting. Ten levels of descriptors need twenty.
const MAX_DEPTH: usize = 128;
/// Most values of a file, those that aliases repeat included.
const MAX_NODES: usize = 1_000_000;

/// A value and where it begins.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// From 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// The text, and whether it had no quotes.
    Scalar(String, bool),
    List(Vec<Node>),
    /// In order.
    Map(Vec<(Node, Node)>),
}

/// Why a text is not readable.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) message: String,
}

impl Fault {
    fn new(line: usize, message: impl Into<String>) -> Fault {
        Fault { line, message: message.into() }
    }
}

impl Node {
    /// Whether nothing is given: `~`, `null`, or no text at all.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(text, true)
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value in short, for findings.
    pub(super) fn excerpt(&self) -> &str {
        match &self.value {
            Value::Scalar(text, _) => text,
            Value::List(_) => "[…]",
            Value::Map(_) => "{…}",
        }
    }
}

/// Reads the documents of a text; empty ones are left out.
pub(super) fn read(text: &str) -> Result<Vec<Node>, Fault> {
    if text.len() > MAX_FILE_BYTES {
        let message = format!("has {} bytes; at most {MAX_FILE_BYTES} are read", text.len());
        return Err(Fault::new(1, message));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let message = format!("is not valid YAML: {}", error.info());
            Fault::new(error.marker().line(), message)
        })?;
        builder.take(event, span.start.line())?;
    }
    Ok(builder.documents)
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    /// Values kept for aliases.
    copies: usize,
}

/// A list or map that has not ended.
struct Open {
    node: Node,
    anchor: usize,
    /// A map's key whose value is still to come.
    key: Option<Node>,
    /// The count of all nodes when it began.
    before: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                self.count(1, line)?;
                let value = Value::Scalar(text.into_owned(), style == ScalarStyle::Plain);
                self.put(Node { line, value }, anchor, 1)
            }
            Event::SequenceStart(anchor, _) => self.begin(Value::List(Vec::new()), anchor, line),
            Event::MappingStart(anchor, _) => self.begin(Value::Map(Vec::new()), anchor, line),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let size = self.nodes - open.before;
                self.put(open.node, open.anchor, size)
            }
            Event::Alias(anchor) => {
                let message = "is an alias of something that it is part of";
                let known = self.anchors.get(&anchor);
                let (node, size) = known.ok_or_else(|| Fault::new(line, message))?;
                let (node, size) = (Node { line, value: node.value.clone() }, *size);
                self.count(size, line)?;
                self.put(node, 0, size)
            }
            // A document of its own; anchors do not reach beyond it.
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.check(line)
    }

    fn check(&self, line: usize) -> Result<(), Fault> {
        if self.nodes.saturating_add(self.copies) > MAX_NODES {
            let message = format!("has more than {MAX_NODES} values, aliases included");
            return Err(Fault::new(line, message));
        }
        Ok(())
    }

    fn begin(&mut self, value: Value, anchor: usize, line: usize) -> Result<(), Fault> {
        let before = self.nodes;
        self.count(1, line)?;
        if self.open.len() >= MAX_DEPTH {
            let message = format!("is nested deeper than {MAX_DEPTH} levels");
            return Err(Fault::new(line, message));
        }
        self.open.push(Open { node: Node { line, value }, anchor, key: None, before });
        Ok(())
    }

    /// A finished value goes where it belongs.
    fn put(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), Fault> {
        if anchor != 0 {
            // Counted, too: an anchor around an anchor around … would square the memory.
            self.copies = self.copies.saturating_add(size);
            self.check(node.line)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut open.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match open.key.take() {
                Some(key) => entries.push((key, node)),
                None => open.key = Some(node),
            },
            Value::Scalar(..) => {}
        }
        Ok(())
    }
}
