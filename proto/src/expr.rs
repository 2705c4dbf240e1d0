//! CEL made safe: conditions and key expressions that cannot hurt.
//!
//! The language is CEL over one variable, `request`, with the operators, `has()`, `size()`,
//! `startsWith()`, `endsWith()`, `contains()`, `matches()` and `cidr("10.0.0.0/8").contains(…)`. An
//! expression is checked once, when a policy is read, and then evaluated for every request, so that
//! everything that could cost is settled here:
//!
//! 1. `guard` bounds length and nesting in the *text*, because the parser recurses and deep input
//!    would overflow the stack and abort the process;
//! 2. `check` walks the parsed tree: bounded nodes, no loops, only known functions and attributes;
//!    networks and regular expressions are compiled here, never during evaluation;
//! 3. `node` turns tests on attributes into native code; what is left goes to the [`cel`]
//!    interpreter (`interpret`).
//!
//! Logic has three values, as in CEL: a test of an absent attribute is an error, `error || true` is
//! true and `error && false` is false. An expression that ends in an error does not match.

use std::{borrow::Cow, fmt, sync::Arc};

pub(crate) use self::node::{Atom, Node, Test};
use self::{check::Checked, interpret::Operand};
use crate::request::{Attribute, Request};

mod check;
mod guard;
mod interpret;
mod node;
mod pattern;

/// Longest source, in bytes.
pub const MAX_SOURCE_BYTES: usize = 2_048;

/// A checked expression. Cheap to clone; equal if the source is.
#[derive(Clone)]
pub struct Expr(Arc<Inner>);

struct Inner {
    source: String,
    /// The whole tree with operands for attributes and tests, for the interpreter.
    checked: Checked,
    /// The same as a condition.
    node: Node,
}

/// Why a text is not an expression. The author of the policy is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a usable expression: {message} (column {column})")]
pub struct ExprError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// Why an expression has no value for a request. The policy does not match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The request does not have an attribute that the expression needs.
    #[error("request.{0} is absent")]
    Absent(Attribute),
    /// The result is of no use: not a condition's true or false, not a key's text.
    #[error("the expression gives {0}")]
    WrongType(&'static str),
    /// Arithmetic on text, an address that is none, an index beyond a list …
    #[error("{0}")]
    Failed(String),
}

impl Expr {
    /// Checks and compiles an expression.
    ///
    /// # Errors
    /// Faults of the text, unknown attributes and functions (the known ones are listed), loops, and
    /// everything beyond the bounds.
    pub fn parse(source: &str) -> Result<Expr, ExprError> {
        guard::check(source)?;
        let checked = check::check(source)?;
        let node = node::lower(&checked);
        Ok(Expr(Arc::new(Inner { source: source.to_owned(), checked, node })))
    }

    /// The text that it was read from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Whether the condition holds.
    ///
    /// # Errors
    /// [`EvalError`] names the first cause; then the policy does not match.
    pub fn matches(&self, request: &Request<'_>) -> Result<bool, EvalError> {
        let Inner { checked, node, .. } = &*self.0;
        let outcome = node.eval(request, &checked.operands);
        outcome.ok_or_else(|| node.cause(request, &checked.operands))
    }

    /// The text of a key expression: text as it is, whole numbers and booleans as CEL writes them.
    ///
    /// # Errors
    /// [`EvalError`] for absent attributes, failures, and other results.
    pub fn text<'r>(&'r self, request: &'r Request<'_>) -> Result<Cow<'r, str>, EvalError> {
        let Checked { root, operands } = &self.0.checked;
        if let Some(Operand::Attribute(attribute)) = interpret::operand(root, operands) {
            let value = request.get(attribute);
            return value.map(Cow::Borrowed).ok_or_else(|| EvalError::Absent(attribute.clone()));
        }
        interpret::text(root, operands, request).map(Cow::Owned)
    }

    /// Whether it can be true or false at all: `request.api` cannot.
    pub fn can_be_condition(&self) -> bool {
        self.0.node.can_be_condition()
    }

    /// As a condition; `None` = an error.
    pub(crate) fn eval(&self, request: &Request<'_>) -> Option<bool> {
        self.0.node.eval(request, &self.0.checked.operands)
    }

    /// The condition's structure, for the index.
    pub(crate) fn node(&self) -> &Node {
        &self.0.node
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Expr) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Expr {}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source())
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.source())
    }
}

#[cfg(test)]
mod tests;
