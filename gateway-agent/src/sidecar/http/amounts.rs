//! The amounts of a check and of a report.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, MapAccess, Visitor},
};
use weir_proto::amount::{Amounts, Changes, MAX_AMOUNT, MAX_AMOUNTS, Unit};

/// What a request counts as.
#[derive(Default)]
pub(super) struct Given(pub(super) Amounts);

/// What became known after the response.
#[derive(Default)]
pub(super) struct Reported(pub(super) Changes);

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut amounts = Amounts::default();
        read(from, |name, unit, amount: u64| {
            let least = u64::from(unit == Unit::Requests);
            if !(least..=MAX_AMOUNT).contains(&amount) {
                return Err(format!("{name} is {amount}, not {least} to {MAX_AMOUNT}"));
            }
            amounts.set(unit, amount);
            Ok(())
        })?;
        Ok(Given(amounts))
    }
}

impl<'de> Deserialize<'de> for Reported {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut changes = Changes::default();
        read(from, |name, unit, amount: i64| {
            if unit == Unit::Concurrency {
                return Err("concurrency is not reported; give the lease of the check".to_owned());
            }
            if amount.unsigned_abs() > MAX_AMOUNT {
                return Err(format!("{name} is {amount}, beyond {MAX_AMOUNT}"));
            }
            changes.add(unit, amount);
            Ok(())
        })?;
        Ok(Reported(changes))
    }
}

/// Reads an object of amounts, each of which `take` sees.
fn read<'de, D: Deserializer<'de>, N: DeserializeOwned>(
    from: D,
    take: impl FnMut(&str, Unit, N) -> Result<(), String>,
) -> Result<(), D::Error> {
    from.deserialize_map(Reader(take, std::marker::PhantomData))
}

struct Reader<F, N>(F, std::marker::PhantomData<N>);

impl<'de, N: DeserializeOwned, F: FnMut(&str, Unit, N) -> Result<(), String>> Visitor<'de>
    for Reader<F, N>
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of amounts")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut count = 0;
        while let Some(name) = map.next_key::<String>()? {
            count += 1;
            if count > MAX_AMOUNTS {
                return Err(A::Error::custom(format_args!("more than {MAX_AMOUNTS} amounts")));
            }
            let unit = Unit::named(&name).map_err(|error| {
                let name: String = name.chars().take(64).collect();
                let known = Unit::names().join(", ");
                A::Error::custom(format_args!("{name:?} {error}; known are {known}"))
            })?;
            (self.0)(&name, unit, map.next_value()?).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
