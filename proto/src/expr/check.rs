//! The parsed tree, checked and rewritten.
//!
//! After this, a tree holds only operators, the offered functions, literals, lists, and operands
//! (`@0`, `@1` …) in the place of attributes and compiled tests. Everything else is refused with the
//! place in the source.

use cel::{
    IdedExpr, Program,
    common::ast::{CallExpr, Expr as Ast, LiteralValue, SourceInfo, operators},
};

use super::{
    ExprError,
    interpret::{self, Operand},
    node::{Atom, Test},
    pattern,
};
use crate::{
    request::{Attribute, Field},
    rule::Rule,
};

use self::path::Path;

mod kinds;
mod path;

/// Most nodes of a tree.
const MAX_NODES: usize = 256;
/// Deepest tree; the text was bounded before, this is the second lock.
const MAX_DEPTH: usize = 64;

/// Operators that the interpreter may meet. `&&`, `||` and the like are calls in CEL's tree.
const OPERATORS: [&str; 18] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
];
/// Functions called on a value, which the interpreter may meet.
const METHODS: [&str; 4] = ["startsWith", "endsWith", "contains", "size"];
const OFFERED: &str = "cidr(\"10.0.0.0/8\").contains(request.ip), startsWith, endsWith, contains, \
                       matches, size, has, and the operator in";
const LOOPS: [&str; 5] = ["all", "exists", "exists_one", "map", "filter"];

/// A checked tree.
pub(super) struct Checked {
    pub(super) root: IdedExpr,
    /// What the names `@N` in it stand for.
    pub(super) operands: Vec<Operand>,
}

/// Parses and checks a text that [`guard`](super::guard) let pass.
pub(super) fn check(source: &str) -> Result<Checked, ExprError> {
    let program = interpret::ENV.compile(source).map_err(|errors| {
        let first = errors.errors.first();
        let (line, column) = first.map_or((1, 1), |error| error.pos);
        let message = first.map_or("it is no CEL", |error| error.msg.as_str());
        let message = message.chars().take(200).collect();
        ExprError { column: column_of(source, line, column), message }
    })?;
    let mut root = program.expression().clone();
    let mut checker = Checker { nodes: 0, operands: Vec::new() };
    match checker.walk(&mut root, 0) {
        Ok(()) => Ok(Checked { root, operands: checker.operands }),
        Err(fault) => Err(fault.locate(&program)),
    }
}

/// The column counted over all lines, from a line and a column in it, both from 1.
fn column_of(source: &str, line: isize, column: isize) -> usize {
    let before = usize::try_from(line).unwrap_or(1).saturating_sub(1);
    let skipped: usize =
        source.split_inclusive('\n').take(before).map(|line| line.chars().count()).sum();
    skipped + usize::try_from(column).unwrap_or(1).max(1)
}

/// What is wrong with a node.
struct Fault {
    node: u64,
    message: String,
}

impl Fault {
    fn new(node: u64, message: impl Into<String>) -> Self {
        Fault { node, message: message.into() }
    }

    fn locate(self, program: &Program) -> ExprError {
        let info: &SourceInfo = program.source_info();
        let column = info.offset_for(self.node).map_or(1, |(start, _)| start as usize + 1);
        ExprError { column, message: self.message }
    }
}

struct Checker {
    nodes: usize,
    operands: Vec<Operand>,
}

impl Checker {
    fn walk(&mut self, tree: &mut IdedExpr, depth: usize) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            return Err(Fault::new(tree.id, "it is too large or too deep"));
        }
        if let Some(path) = path::of(tree)? {
            let attribute = path.attribute(tree.id)?;
            self.put(tree, Operand::Attribute(attribute));
            return Ok(());
        }
        let id = tree.id;
        if let Ast::Call(call) = &mut tree.expr {
            rules(call)?;
            if let Some(atom) = atom(id, call)? {
                self.put(tree, Operand::Test(atom));
                return Ok(());
            }
            return self.call(id, call, depth);
        }
        match &mut tree.expr {
            Ast::Literal(LiteralValue::Bytes(_)) => Err(Fault::new(id, "bytes are not offered")),
            Ast::Literal(_) => Ok(()),
            Ast::List(list) if list.optional_indices.is_empty() => {
                list.elements.iter_mut().try_for_each(|element| self.walk(element, depth + 1))
            }
            Ast::Ident(name) => {
                let message =
                    format!("unknown name {name}; there is only request, like request.api");
                Err(Fault::new(id, message))
            }
            Ast::Select(select) => {
                let message = format!("{} is no attribute of request", select.field);
                Err(Fault::new(id, message))
            }
            Ast::Map(_) | Ast::Struct(_) => Err(Fault::new(id, "braces are not offered")),
            _ => Err(Fault::new(id, "this part of CEL is not offered")),
        }
    }

    /// Puts a name in the place of a tree.
    fn put(&mut self, tree: &mut IdedExpr, operand: Operand) {
        tree.expr = Ast::Ident(interpret::name(self.operands.len()));
        self.operands.push(operand);
    }

    /// An operator or a function that the interpreter will run.
    fn call(&mut self, id: u64, call: &mut CallExpr, depth: usize) -> Result<(), Fault> {
        let name = call.func_name.as_str();
        let arguments = call.args.len();
        let offered = match call.target {
            None => OPERATORS.contains(&name) || (name == "size" && arguments == 1),
            Some(_) => METHODS.contains(&name) && arguments == usize::from(name != "size"),
        };
        if !offered {
            let message = match name {
                _ if LOOPS.contains(&name) => {
                    format!("{name}() loops over values, which is not offered")
                }
                "cidr" => "cidr(…) must be followed by .contains(request.ip)".to_owned(),
                "has" | "matches" | "size" | "startsWith" | "endsWith" | "contains" => {
                    format!("{name}() has the wrong number of arguments or stands in a wrong place")
                }
                _ => format!("unknown function {name}; offered are {OFFERED}"),
            };
            return Err(Fault::new(id, message));
        }
        if let Some(target) = &mut call.target {
            self.walk(target, depth + 1)?;
        }
        call.args.iter_mut().try_for_each(|argument| self.walk(argument, depth + 1))?;
        kinds::check(call, &self.operands)
    }
}

/// Refuses a text that `request.rule` can never be: such a policy would meet nothing.
fn rules(call: &CallExpr) -> Result<(), Fault> {
    const ASKS: [&str; 3] = [operators::EQUALS, operators::NOT_EQUALS, operators::IN];
    let [a, b] = call.args.as_slice() else { return Ok(()) };
    if !ASKS.contains(&call.func_name.as_str()) {
        return Ok(());
    }
    let rule = Attribute::Field(Field::Rule);
    let of = |tree| Ok::<_, Fault>(path::of(tree)?.and_then(|path| path.attribute(0).ok()));
    let asked = match (of(a)?, of(b)?) {
        (Some(attribute), None) if attribute == rule => b,
        (None, Some(attribute)) if attribute == rule => a,
        _ => return Ok(()),
    };
    let texts = match &asked.expr {
        Ast::List(list) => list.elements.as_slice(),
        _ => std::slice::from_ref(asked),
    };
    texts.iter().try_for_each(|tree| match &tree.expr {
        Ast::Literal(LiteralValue::String(text)) => {
            let text = text.inner();
            let written = text.parse::<Rule>().map(|rule| rule.to_string());
            let message = match written {
                Ok(written) if written == text => return Ok(()),
                Ok(written) => format!(
                    "the rule {text:?} has needless backslashes or lacks some; write {written:?}"
                ),
                Err(error) => format!("the rule {text:?} {error}"),
            };
            Err(Fault::new(tree.id, message))
        }
        _ => Ok(()),
    })
}

/// Tests that native code does for the interpreter, too; `None` for other calls.
fn atom(id: u64, call: &CallExpr) -> Result<Option<Atom>, Fault> {
    match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
        ("has", None, [tree]) => path::presence(tree).map(Some),
        (operators::IN, None, [key, tree]) => match path::of(tree)? {
            Some(path @ (Path::Map(_) | Path::Descriptor(_))) => {
                path::membership(key, &path).map(Some)
            }
            _ => Ok(None),
        },
        ("contains", Some(IdedExpr { expr: Ast::Call(cidr), .. }), [tree])
            if cidr.func_name == "cidr" =>
        {
            let [network] = cidr.args.as_slice() else {
                return Err(Fault::new(id, "cidr() takes one network, like 10.0.0.0/8"));
            };
            let text = literal(network, "cidr() takes a network in quotes")?;
            let network = pattern::network(text).map_err(|e| Fault::new(network.id, e))?;
            let attribute = path::attribute(tree, "cidr(…).contains() takes request.ip")?;
            Ok(Some(Atom { attribute, test: Test::Within(network) }))
        }
        ("matches", Some(tree), [pattern]) | ("matches", None, [tree, pattern]) => {
            let message = "matches() takes a pattern in quotes, so that it compiles only once";
            let text = literal(pattern, message)?;
            let regex = pattern::regex(text).map_err(|e| Fault::new(pattern.id, e))?;
            let attribute = path::attribute(tree, "matches() tests an attribute of request")?;
            Ok(Some(Atom { attribute, test: Test::Matches(regex) }))
        }
        _ => Ok(None),
    }
}

/// The text of a literal.
fn literal<'t>(tree: &'t IdedExpr, otherwise: &str) -> Result<&'t str, Fault> {
    match &tree.expr {
        Ast::Literal(LiteralValue::String(text)) => Ok(text.inner()),
        _ => Err(Fault::new(tree.id, otherwise)),
    }
}
