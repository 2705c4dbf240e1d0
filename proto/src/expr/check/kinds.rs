//! Values of kinds that never go together: such an expression would fail with every request, or always
//! give the same, and is refused when it is written.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, Expr as Ast, LiteralValue, operators},
};

use super::Fault;
use crate::expr::interpret::{self, Operand};

/// What a part of an expression gives, as far as that is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Truth,
    List,
    Nothing,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Number => "a number",
            Kind::Truth => "true or false",
            Kind::List => "a list",
            Kind::Nothing => "null",
        }
    }
}

const ORDER: [&str; 4] =
    [operators::LESS, operators::LESS_EQUALS, operators::GREATER, operators::GREATER_EQUALS];
const SUMS: [&str; 5] = [
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::NEGATE,
];

/// Checks a call whose arguments were walked.
pub(super) fn check(call: &CallExpr, operands: &[Operand]) -> Result<(), Fault> {
    let scope = Scope(operands);
    let name = call.func_name.as_str();
    if let Some(target) = call.target.as_deref() {
        return scope.method(name, target, &call.args);
    }
    match (name, call.args.as_slice()) {
        (operators::EQUALS | operators::NOT_EQUALS, [a, b]) => scope.alike(a, b),
        (operators::IN, [needle, list]) => scope.within(needle, list),
        (name, [a, b]) if ORDER.contains(&name) => {
            scope.alike(a, b)?;
            scope.one_of(a, &[Kind::Text, Kind::Number, Kind::Truth], "cannot be ordered")
        }
        (operators::ADD, [a, b]) => {
            scope.alike(a, b)?;
            scope.one_of(a, &[Kind::Text, Kind::Number, Kind::List], "cannot be added")
        }
        (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, all) => {
            all.iter().try_for_each(|tree| scope.truth(tree))
        }
        (operators::CONDITIONAL, [condition, ..]) => scope.truth(condition),
        (name, all) if SUMS.contains(&name) => all
            .iter()
            .try_for_each(|tree| scope.one_of(tree, &[Kind::Number], "is nothing to reckon with")),
        ("size", [tree]) => scope.one_of(tree, &[Kind::Text, Kind::List], "has no size"),
        _ => Ok(()),
    }
}

/// What the names `@N` stand for.
struct Scope<'o>(&'o [Operand]);

impl Scope<'_> {
    fn kind(&self, tree: &IdedExpr) -> Option<Kind> {
        match &tree.expr {
            Ast::Ident(_) => interpret::operand(tree, self.0).map(|operand| match operand {
                Operand::Attribute(_) => Kind::Text,
                Operand::Test(_) => Kind::Truth,
            }),
            Ast::Literal(literal) => match literal {
                LiteralValue::String(_) => Some(Kind::Text),
                LiteralValue::Boolean(_) => Some(Kind::Truth),
                LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Double(_) => {
                    Some(Kind::Number)
                }
                LiteralValue::Null => Some(Kind::Nothing),
                LiteralValue::Bytes(_) => None,
            },
            Ast::List(_) => Some(Kind::List),
            Ast::Call(call) => self.result(call),
            _ => None,
        }
    }

    fn result(&self, call: &CallExpr) -> Option<Kind> {
        let name = call.func_name.as_str();
        match (name, call.args.as_slice()) {
            ("size", _) => Some(Kind::Number),
            (operators::ADD, [a, b]) => self.kind(a).or_else(|| self.kind(b)),
            (operators::CONDITIONAL, [_, a, b]) => {
                self.kind(a).filter(|kind| self.kind(b) == Some(*kind))
            }
            (operators::INDEX, _) => None,
            (name, _) if SUMS.contains(&name) => Some(Kind::Number),
            _ => Some(Kind::Truth),
        }
    }

    /// What the tree is, for a message.
    fn named(&self, tree: &IdedExpr, kind: Kind) -> String {
        match interpret::operand(tree, self.0) {
            Some(Operand::Attribute(attribute)) => format!("request.{attribute}, which is text"),
            _ => kind.name().to_owned(),
        }
    }

    /// Both are of one kind. What is no attribute is at fault.
    fn alike(&self, a: &IdedExpr, b: &IdedExpr) -> Result<(), Fault> {
        let (Some(of_a), Some(of_b)) = (self.kind(a), self.kind(b)) else { return Ok(()) };
        if of_a == of_b {
            return Ok(());
        }
        let is_attribute = |tree| interpret::operand(tree, self.0).is_some();
        let fault = if is_attribute(b) && !is_attribute(a) { a } else { b };
        let hint = match (of_a, of_b) {
            (Kind::Text, Kind::Number | Kind::Truth) | (Kind::Number | Kind::Truth, Kind::Text) => {
                "; write a text in quotes, like \"1\""
            }
            (Kind::Text, Kind::List) | (Kind::List, Kind::Text) => "; to be in a list is: in",
            _ => "",
        };
        let (a, b) = (self.named(a, of_a), self.named(b, of_b));
        Err(Fault::new(fault.id, format!("{a} and {b} do not go together{hint}")))
    }

    /// The needle may be in the list.
    fn within(&self, needle: &IdedExpr, list: &IdedExpr) -> Result<(), Fault> {
        if let Some(kind) = self.kind(list).filter(|kind| *kind != Kind::List) {
            let what = self.named(list, kind);
            let message =
                format!("in looks into a list, like [\"GET\", \"PUT\"], and not into {what}");
            return Err(Fault::new(list.id, message));
        }
        match &list.expr {
            Ast::List(list) => {
                list.elements.iter().try_for_each(|element| self.alike(needle, element))
            }
            _ => Ok(()),
        }
    }

    fn truth(&self, tree: &IdedExpr) -> Result<(), Fault> {
        self.one_of(tree, &[Kind::Truth], "is never true or false; compare it with something")
    }

    fn one_of(&self, tree: &IdedExpr, kinds: &[Kind], otherwise: &str) -> Result<(), Fault> {
        match self.kind(tree) {
            Some(kind) if !kinds.contains(&kind) => {
                let what = self.named(tree, kind);
                Err(Fault::new(tree.id, format!("{what} {otherwise}")))
            }
            _ => Ok(()),
        }
    }

    fn method(&self, name: &str, target: &IdedExpr, args: &[IdedExpr]) -> Result<(), Fault> {
        if name == "size" {
            return self.one_of(target, &[Kind::Text, Kind::List], "has no size");
        }
        let message = format!("is not what {name}() is for: it looks for a text in a text");
        let mut both = std::iter::once(target).chain(args);
        both.try_for_each(|tree| self.one_of(tree, &[Kind::Text], &message))
    }
}
