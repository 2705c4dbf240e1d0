//! Conditions as native code, because the interpreter costs half a microsecond.

use std::net::IpAddr;

use cel::{
    IdedExpr,
    common::ast::{CallExpr, Expr as Ast, LiteralValue, operators},
};
use ipnet::IpNet;
use regex::Regex;

use super::{
    EvalError,
    check::Checked,
    interpret::{self, Operand},
};
use crate::request::{Attribute, Field, Request};

/// A condition. Evaluates to `None` where CEL has an error.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// All must hold.
    And(Vec<Node>),
    /// One must hold.
    Or(Vec<Node>),
    /// Must not hold.
    Not(Box<Node>),
    /// A test of one attribute.
    Atom(Atom),
    /// `true` or `false`.
    Constant(bool),
    /// What the interpreter must do.
    Interpreted(Box<IdedExpr>),
}

/// A test of one attribute.
#[derive(Debug, Clone)]
pub(crate) struct Atom {
    pub(crate) attribute: Attribute,
    pub(crate) test: Test,
}

/// What is asked of an attribute's value.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    /// It is there: `has(…)`, `"x" in request.headers`. The only test that absence does not fail.
    Present,
    /// `==`
    Equals(Box<str>),
    /// `in`
    OneOf(Box<[Box<str>]>),
    /// `startsWith`
    StartsWith(Box<str>),
    /// `endsWith`
    EndsWith(Box<str>),
    /// `contains`
    Contains(Box<str>),
    /// `cidr(…).contains(…)`
    Within(IpNet),
    /// `matches`
    Matches(Regex),
}

impl Node {
    /// Whether the condition holds; `None` = an error.
    pub(super) fn eval(&self, request: &Request<'_>, operands: &[Operand]) -> Option<bool> {
        match self {
            Node::And(nodes) => decide(nodes, false, request, operands),
            Node::Or(nodes) => decide(nodes, true, request, operands),
            Node::Not(node) => node.eval(request, operands).map(|holds| !holds),
            Node::Atom(atom) => atom.eval(request),
            Node::Constant(holds) => Some(*holds),
            Node::Interpreted(ast) => interpret::condition(ast, operands, request).ok(),
        }
    }

    /// Why [`Node::eval`] gave `None`: the first error in it.
    pub(super) fn cause(&self, request: &Request<'_>, operands: &[Operand]) -> EvalError {
        match self {
            Node::And(nodes) | Node::Or(nodes) => {
                let failed = nodes.iter().find(|node| node.eval(request, operands).is_none());
                failed.map_or(EvalError::WrongType("no value"), |n| n.cause(request, operands))
            }
            Node::Not(node) => node.cause(request, operands),
            Node::Atom(atom) => atom.cause(request),
            Node::Constant(_) => EvalError::WrongType("no value"),
            Node::Interpreted(ast) => match interpret::condition(ast, operands, request) {
                Ok(_) => EvalError::WrongType("no value"),
                Err(error) => error,
            },
        }
    }

    /// Whether it can be true or false at all.
    pub(super) fn can_be_condition(&self) -> bool {
        let Node::Interpreted(ast) = self else { return true };
        match &ast.expr {
            Ast::Call(call) => !NEVER_BOOLEAN.contains(&call.func_name.as_str()),
            _ => false,
        }
    }
}

/// Calls that never give true or false.
const NEVER_BOOLEAN: [&str; 7] = [
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::NEGATE,
    "size",
];

/// The first node that gives `deciding` decides; otherwise an error wins over `!deciding`.
fn decide(
    nodes: &[Node],
    deciding: bool,
    request: &Request<'_>,
    operands: &[Operand],
) -> Option<bool> {
    let mut outcome = Some(!deciding);
    for node in nodes {
        match node.eval(request, operands) {
            Some(holds) if holds == deciding => return Some(deciding),
            Some(_) => {}
            None => outcome = None,
        }
    }
    outcome
}

impl Atom {
    /// Whether the test holds; `None` if the attribute is absent or no address.
    pub(super) fn eval(&self, request: &Request<'_>) -> Option<bool> {
        if let Test::Within(net) = &self.test {
            return self.address(request).map(|ip| net.contains(&ip));
        }
        let value = request.get(&self.attribute);
        Some(match &self.test {
            Test::Present => value.is_some(),
            Test::Equals(text) => value? == &**text,
            Test::OneOf(texts) => {
                let value = value?;
                texts.iter().any(|text| value == &**text)
            }
            Test::StartsWith(text) => value?.starts_with(&**text),
            Test::EndsWith(text) => value?.ends_with(&**text),
            Test::Contains(text) => value?.contains(&**text),
            Test::Matches(regex) => regex.is_match(value?),
            Test::Within(_) => return None,
        })
    }

    fn address(&self, request: &Request<'_>) -> Option<IpAddr> {
        if self.attribute == Attribute::Field(Field::Ip) {
            return request.address();
        }
        let ip: IpAddr = request.get(&self.attribute)?.parse().ok()?;
        Some(ip.to_canonical())
    }

    /// Why [`Atom::eval`] gave `None`.
    pub(super) fn cause(&self, request: &Request<'_>) -> EvalError {
        match request.get(&self.attribute) {
            None => EvalError::Absent(self.attribute.clone()),
            Some(_) => EvalError::Failed(format!("request.{} is no address", self.attribute)),
        }
    }
}

/// Turns a checked tree into a condition.
pub(super) fn lower(checked: &Checked) -> Node {
    lower_tree(&checked.root, &checked.operands)
}

fn lower_tree(tree: &IdedExpr, operands: &[Operand]) -> Node {
    let native = match &tree.expr {
        Ast::Literal(LiteralValue::Boolean(value)) => Some(Node::Constant(*value.inner())),
        Ast::Ident(_) => match interpret::operand(tree, operands) {
            Some(Operand::Test(atom)) => Some(Node::Atom(atom.clone())),
            _ => None,
        },
        Ast::Call(call) => lower_call(call, operands),
        _ => None,
    };
    native.unwrap_or_else(|| Node::Interpreted(Box::new(tree.clone())))
}

/// `None` for what only the interpreter can do.
fn lower_call(call: &CallExpr, operands: &[Operand]) -> Option<Node> {
    let atom = |attribute, test| Node::Atom(Atom { attribute, test });
    let lowered = || call.args.iter().map(|tree| lower_tree(tree, operands));
    match (call.func_name.as_str(), &call.target, call.args.as_slice()) {
        // Chains are flattened, so that the index sees all terms of a conjunction.
        (operators::LOGICAL_AND, ..) => Some(Node::And(
            lowered()
                .flat_map(|node| if let Node::And(nodes) = node { nodes } else { vec![node] })
                .collect(),
        )),
        (operators::LOGICAL_OR, ..) => Some(Node::Or(
            lowered()
                .flat_map(|node| if let Node::Or(nodes) = node { nodes } else { vec![node] })
                .collect(),
        )),
        (operators::LOGICAL_NOT, _, [inner]) => {
            Some(Node::Not(Box::new(lower_tree(inner, operands))))
        }
        (operators::EQUALS, _, [a, b]) => {
            let (attribute, value) = comparison(a, b, operands)?;
            Some(atom(attribute, Test::Equals(value)))
        }
        (operators::NOT_EQUALS, _, [a, b]) => {
            let (attribute, value) = comparison(a, b, operands)?;
            Some(Node::Not(Box::new(atom(attribute, Test::Equals(value)))))
        }
        (operators::IN, _, [needle, list]) => {
            Some(atom(attribute(needle, operands)?, Test::OneOf(texts(list)?)))
        }
        (name, Some(target), [argument]) => {
            let (attribute, text) = (attribute(target, operands)?, text(argument)?);
            match name {
                "startsWith" => Some(atom(attribute, Test::StartsWith(text))),
                "endsWith" => Some(atom(attribute, Test::EndsWith(text))),
                "contains" => Some(atom(attribute, Test::Contains(text))),
                _ => None,
            }
        }
        _ => None,
    }
}

/// An attribute compared with a text, in either order.
fn comparison(a: &IdedExpr, b: &IdedExpr, operands: &[Operand]) -> Option<(Attribute, Box<str>)> {
    match (attribute(a, operands), attribute(b, operands)) {
        (Some(attribute), None) => Some((attribute, text(b)?)),
        (None, Some(attribute)) => Some((attribute, text(a)?)),
        _ => None,
    }
}

fn attribute(tree: &IdedExpr, operands: &[Operand]) -> Option<Attribute> {
    match interpret::operand(tree, operands)? {
        Operand::Attribute(attribute) => Some(attribute.clone()),
        Operand::Test(_) => None,
    }
}

fn text(tree: &IdedExpr) -> Option<Box<str>> {
    match &tree.expr {
        Ast::Literal(LiteralValue::String(text)) => Some(text.inner().into()),
        _ => None,
    }
}

fn texts(tree: &IdedExpr) -> Option<Box<[Box<str>]>> {
    match &tree.expr {
        Ast::List(list) => list.elements.iter().map(text).collect(),
        _ => None,
    }
}
