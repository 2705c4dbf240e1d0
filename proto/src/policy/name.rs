//! Names of policies and groups, and the parts of a key.

use std::{fmt, sync::Arc};

use crate::{
    expr::{EvalError, Expr, ExprError},
    request::{Attribute, Request},
};

/// Longest name of a policy or group, in bytes.
pub const MAX_POLICY_NAME: usize = 128;

/// The name of a policy or of a group: 1 to 128 letters, digits and `.`, `_`, `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName(Arc<str>);

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a name; use 1 to {MAX_POLICY_NAME} letters, digits and . _ -")]
pub struct PolicyNameError;

impl PolicyName {
    /// A valid name.
    ///
    /// # Errors
    /// [`PolicyNameError`] if it is empty, too long, or has another character.
    pub fn new(name: &str) -> Result<PolicyName, PolicyNameError> {
        let fits = (1..=MAX_POLICY_NAME).contains(&name.len());
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if fits && plain { Ok(PolicyName(name.into())) } else { Err(PolicyNameError) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for PolicyName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One part of a policy's `key`: each value that it takes has its own counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The value of an attribute.
    Attribute(Attribute),
    /// The text that an expression gives.
    Expr(Expr),
}

impl KeyPart {
    /// Reads the name of an attribute (`application`, `headers.x-a`), or else an expression.
    ///
    /// # Errors
    /// [`ExprError`] if it is neither.
    pub fn parse(text: &str) -> Result<KeyPart, ExprError> {
        match Attribute::parse(text) {
            Ok(attribute) => Ok(KeyPart::Attribute(attribute)),
            // Plain words are a misspelt attribute rather than an expression.
            Err(error)
                if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) =>
            {
                Err(ExprError { column: 1, message: error.to_string() })
            }
            Err(_) => Expr::parse(text).map(KeyPart::Expr),
        }
    }

    /// Appends this part's text for `request` to `out`.
    ///
    /// # Errors
    /// [`EvalError`] if an attribute is absent or the expression fails; `out` is unchanged.
    pub fn text_into(&self, request: &Request<'_>, out: &mut String) -> Result<(), EvalError> {
        match self {
            KeyPart::Attribute(attribute) => {
                let value = request.get(attribute);
                out.push_str(value.ok_or_else(|| EvalError::Absent(attribute.clone()))?);
            }
            KeyPart::Expr(expr) => out.push_str(&expr.text(request)?),
        }
        Ok(())
    }
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyPart::Attribute(attribute) => attribute.fmt(f),
            KeyPart::Expr(expr) => expr.fmt(f),
        }
    }
}
