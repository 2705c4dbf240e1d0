//! Paths from `request`: `request.api`, `request.headers["x-a"]`, `request.descriptors[0].key`.

use cel::{
    IdedExpr,
    common::ast::{Expr as Ast, LiteralValue, operators},
};

use super::Fault;
use crate::{
    expr::node::{Atom, Test},
    request::{Attribute, COLLECTIONS, Field, known_attributes},
};

/// Where a path leads.
pub(super) enum Path {
    Request,
    Attribute(Attribute),
    /// `headers`, `query` or `claims` as a whole.
    Map(&'static str),
    Descriptors,
    /// One descriptor as a whole.
    Descriptor(usize),
}

impl Path {
    /// The attribute at the end of a complete path.
    pub(super) fn attribute(self, node: u64) -> Result<Attribute, Fault> {
        let message = match self {
            Path::Attribute(attribute) => return Ok(attribute),
            Path::Request => format!("name an attribute of request: {}", known_attributes()),
            Path::Map(map) => {
                format!("request.{map} is a map; name an entry: request.{map}[\"NAME\"]")
            }
            Path::Descriptors | Path::Descriptor(_) => {
                "name an entry of a descriptor: request.descriptors[0][\"KEY\"]".to_owned()
            }
        };
        Err(Fault::new(node, message))
    }

    /// One step on.
    fn step(self, step: &Step<'_>, node: u64) -> Result<Path, Fault> {
        let next = match (&self, step) {
            (Path::Request, Step::Key(name)) => return root(name, node),
            (Path::Map(map), Step::Key(key)) => Attribute::entry(map, key).map(Path::Attribute),
            (Path::Descriptors, Step::Index(index)) => Some(Path::Descriptor(*index)),
            (Path::Descriptor(index), Step::Key(key)) => {
                Attribute::descriptor(*index, key).map(Path::Attribute)
            }
            (Path::Attribute(attribute), _) => {
                let message = format!("request.{attribute} is text and has no parts");
                return Err(Fault::new(node, message));
            }
            _ => None,
        };
        next.ok_or_else(|| {
            let message =
                format!("this is no attribute of request; known are {}", known_attributes());
            Fault::new(node, message)
        })
    }
}

enum Step<'t> {
    Key(&'t str),
    Index(usize),
}

/// The attribute or collection of that name.
fn root(name: &str, node: u64) -> Result<Path, Fault> {
    if let Some(field) = Field::parse(name) {
        return Ok(Path::Attribute(Attribute::Field(field)));
    }
    match COLLECTIONS.into_iter().find(|collection| *collection == name) {
        Some("descriptors") => Ok(Path::Descriptors),
        Some(map) => Ok(Path::Map(map)),
        None => {
            let message =
                format!("unknown attribute request.{name}; known are {}", known_attributes());
            Err(Fault::new(node, message))
        }
    }
}

/// Where a tree leads, if it is a path from `request`. The tree's depth is bounded by the guard.
pub(super) fn of(tree: &IdedExpr) -> Result<Option<Path>, Fault> {
    let (from, step) = match &tree.expr {
        Ast::Ident(name) => return Ok((name == "request").then_some(Path::Request)),
        Ast::Select(select) => (&*select.operand, Some(Step::Key(&select.field))),
        Ast::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [from, index] => (from, literal_step(index)),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let Some(path) = of(from)? else { return Ok(None) };
    match step {
        Some(step) => path.step(&step, tree.id).map(Some),
        None => Err(Fault::new(tree.id, "an index into request is a literal: [\"NAME\"] or [0]")),
    }
}

fn literal_step(tree: &IdedExpr) -> Option<Step<'_>> {
    match &tree.expr {
        Ast::Literal(LiteralValue::String(key)) => Some(Step::Key(key.inner())),
        Ast::Literal(LiteralValue::Int(index)) => {
            usize::try_from(*index.inner()).ok().map(Step::Index)
        }
        _ => None,
    }
}

/// The attribute that a tree is, where nothing else will do.
pub(super) fn attribute(tree: &IdedExpr, otherwise: &str) -> Result<Attribute, Fault> {
    match of(tree)? {
        Some(path) => path.attribute(tree.id),
        None => Err(Fault::new(tree.id, otherwise)),
    }
}

/// `has(request.api)`
pub(super) fn presence(tree: &IdedExpr) -> Result<Atom, Fault> {
    let attribute = attribute(tree, "has() takes an attribute of request")?;
    if !matches!(tree.expr, Ast::Select(_)) {
        let message = "has() takes a name behind a dot; write \"x-a\" in request.headers";
        return Err(Fault::new(tree.id, message));
    }
    Ok(Atom { attribute, test: Test::Present })
}

/// `"x-a" in request.headers`
pub(super) fn membership(key: &IdedExpr, path: &Path) -> Result<Atom, Fault> {
    let attribute = match (&key.expr, path) {
        (Ast::Literal(LiteralValue::String(key)), Path::Map(map)) => {
            Attribute::entry(map, key.inner())
        }
        (Ast::Literal(LiteralValue::String(key)), Path::Descriptor(index)) => {
            Attribute::descriptor(*index, key.inner())
        }
        _ => None,
    };
    let attribute = attribute.ok_or_else(|| {
        Fault::new(key.id, "the name of an entry is a text in quotes: \"x-a\" in request.headers")
    })?;
    Ok(Atom { attribute, test: Test::Present })
}
