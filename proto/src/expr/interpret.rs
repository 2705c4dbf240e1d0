//! What native code does not cover goes to the CEL interpreter.
//!
//! [`check`](super::check) has put operands in the place of attributes and of tests with compiled
//! patterns: the name `@3` stands for operand 3, and no expression can spell such a name. An absent
//! operand stays unresolved, which the interpreter reports as an error of the right kind.

use std::sync::{Arc, LazyLock};

use cel::{
    Context, Env, ExecutionError, IdedExpr, Value,
    common::{
        ast::Expr as Ast,
        types::{CelBool, CelString},
        value::CowVal,
    },
    context::VariableResolver,
};

use super::{EvalError, node::Atom};
use crate::request::{Attribute, Request};

/// What a name `@N` stands for.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    /// The text of an attribute.
    Attribute(Attribute),
    /// A test that only native code can do.
    Test(Atom),
}

/// CEL without macros: loops do not even parse, and `has` is ours.
pub(super) static ENV: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// The name of operand `index`.
pub(super) fn name(index: usize) -> String {
    format!("@{index}")
}

/// The operand that a tree consists of.
pub(super) fn operand<'o>(tree: &IdedExpr, operands: &'o [Operand]) -> Option<&'o Operand> {
    match &tree.expr {
        Ast::Ident(name) => by_name(name, operands),
        _ => None,
    }
}

fn by_name<'o>(name: &str, operands: &'o [Operand]) -> Option<&'o Operand> {
    let index: usize = name.strip_prefix('@')?.parse().ok()?;
    operands.get(index)
}

/// Gives the interpreter a request.
struct Bindings<'r> {
    request: &'r Request<'r>,
    operands: &'r [Operand],
}

impl VariableResolver for Bindings<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match by_name(variable, self.operands)? {
            Operand::Attribute(attribute) => {
                Some(CowVal::owned(CelString::from(self.request.get(attribute)?)))
            }
            Operand::Test(atom) => Some(CowVal::owned(CelBool::from(atom.eval(self.request)?))),
        }
    }
}

/// Whether `tree` holds.
pub(super) fn condition(
    tree: &IdedExpr,
    operands: &[Operand],
    request: &Request<'_>,
) -> Result<bool, EvalError> {
    evaluate(tree, operands, request, |value| match value {
        Value::Bool(holds) => Ok(holds),
        _ => Err(EvalError::WrongType("neither true nor false")),
    })
}

/// The text of `tree` as part of a key.
pub(super) fn text(
    tree: &IdedExpr,
    operands: &[Operand],
    request: &Request<'_>,
) -> Result<String, EvalError> {
    evaluate(tree, operands, request, |value| match value {
        Value::String(text) => Ok(text.to_string()),
        Value::Int(number) => Ok(number.to_string()),
        Value::UInt(number) => Ok(number.to_string()),
        Value::Bool(holds) => Ok(holds.to_string()),
        _ => Err(EvalError::WrongType("neither text nor a whole number nor true or false")),
    })
}

fn evaluate<T>(
    tree: &IdedExpr,
    operands: &[Operand],
    request: &Request<'_>,
    read: impl FnOnce(Value) -> Result<T, EvalError>,
) -> Result<T, EvalError> {
    let bindings = Bindings { request, operands };
    let mut context = Context::with_env(Arc::clone(&ENV));
    context.set_variable_resolver(&bindings);
    // Not `resolve_val`: that one is inlined into this crate and recurses here, with the frames of
    // a debug build.
    let value = Value::resolve(tree, &context);
    value.map_err(|e| explain(&e, operands, request)).and_then(read)
}

/// The interpreter's error in our words.
fn explain(error: &ExecutionError, operands: &[Operand], request: &Request<'_>) -> EvalError {
    if let ExecutionError::UndeclaredReference(name) = error {
        match by_name(name, operands) {
            Some(Operand::Attribute(attribute)) => return EvalError::Absent(attribute.clone()),
            Some(Operand::Test(atom)) => return atom.cause(request),
            None => {}
        }
    }
    EvalError::Failed(error.to_string())
}
