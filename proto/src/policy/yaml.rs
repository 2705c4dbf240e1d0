//! YAML as JSON. What an alias repeats counts as if it were written out: a hostile text costs no more
//! than its bytes do.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Most brackets open at once; a policy has 5. Brackets in texts count, too.
const MAX_BRACKETS: usize = 128;
/// Values and bytes of texts that any document may have, aliases written out.
const ROOM: usize = 256 << 10;
/// What a document without aliases never has for each of its bytes.
const ROOM_PER_BYTE: usize = 3;
/// Longest message about a fault, in characters: names in it are the document's.
const MAX_MESSAGE: usize = 300;

/// Reads one YAML document as JSON. Keys that are numbers or `true` become texts.
///
/// # Errors
/// In words that follow the name of the document, with line and column: it is not YAML; it has a tag, a key
/// or a second field of a name that JSON could not have; more than 128 brackets or levels are open at once;
/// or its aliases repeat more than three times its length, and more than 262,144 values and bytes of text.
pub fn read_yaml(text: &str) -> Result<Value, String> {
    if !is_flat(text) {
        return Err(format!(
            "is not valid YAML: more than {MAX_BRACKETS} brackets are open at once"
        ));
    }
    let room = text.len().saturating_mul(ROOM_PER_BYTE).max(ROOM);
    let left = Cell::new(room);
    let read = Node { left: &left }.deserialize(serde_norway::Deserializer::from_str(text));
    read.map_err(|error| format!("is not valid YAML: {}", cut(&error)))
}

/// The YAML scanner looks at every open bracket for every token: 300 kB of `[` would keep it busy
/// for minutes before it counts them.
fn is_flat(text: &str) -> bool {
    let mut open = 0_usize;
    text.bytes().all(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open <= MAX_BRACKETS
    })
}

fn cut(error: &serde_norway::Error) -> String {
    let message = error.to_string();
    let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) else { return message };
    let place = error.location();
    let place = place.map(|at| format!(" at line {} column {}", at.line(), at.column()));
    format!("{}…{}", &message[..end], place.unwrap_or_default())
}

/// Reads the value that comes next.
#[derive(Clone, Copy)]
struct Node<'a> {
    /// Room for values and bytes of text.
    left: &'a Cell<usize>,
}

impl Node<'_> {
    fn spend<E: Error>(self, cost: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(cost).ok_or_else(|| {
            E::custom("aliases repeat more than a document may hold; write it out, in parts")
        })?;
        self.left.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.spend(1)?;
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can express")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).map(Value::Number);
        number.ok_or_else(|| E::custom(format_args!("{value} is no number that JSON can express")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.spend(text.len())?;
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key_seed(self)? {
            let name = match key {
                Value::String(name) => name,
                Value::Number(_) | Value::Bool(_) => key.to_string(),
                _ => {
                    return Err(A::Error::custom(
                        "a key that is no text, which JSON cannot express",
                    ));
                }
            };
            if fields.contains_key(&name) {
                return Err(A::Error::custom(format_args!("duplicate field {name:?}")));
            }
            fields.insert(name, map.next_value_seed(self)?);
        }
        Ok(Value::Object(fields))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(A::Error::custom("a tag, like !this, which JSON cannot express"))
    }
}
