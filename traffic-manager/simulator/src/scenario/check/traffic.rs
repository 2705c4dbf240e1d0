//! `[[traffic]]`, checked.

use std::time::Duration;

use weir_proto::{
    policy::{Limit, Policy},
    request::Request,
    time::Time,
};

use super::{
    super::{
        file::{self, File},
        select::select,
        units::{Amount, Number, Rate, Span, Whole, human},
    },
    Faults, limit_of,
};
use crate::{
    demand::{Shape, Spread, Stream},
    plan::Plan,
    world::EPOCH_SECS,
};

/// Runs with more requests take too long to be of use.
const MAX_REQUESTS: f64 = 20_000_000.0;
const MAX_KEYS: u64 = 1_000_000;
const MAX_STREAMS: usize = 100;
const ZIPF: Number = Number(1.2);
const WITHIN: Span = Span(Duration::from_millis(100));

pub(super) fn streams(
    file: &File,
    plan: &Plan,
    policies: &[Policy],
    faults: &mut Faults,
) -> Vec<Stream> {
    if file.traffic.is_empty() {
        faults.refuse("traffic", "is missing; write at least one [[traffic]] with a rate");
    }
    if file.traffic.len() > MAX_STREAMS {
        faults.refuse("traffic", format!("has more than {MAX_STREAMS} streams"));
    }
    let mut streams = Vec::new();
    let mut expected = 0.0;
    for (i, traffic) in file.traffic.iter().enumerate().take(MAX_STREAMS) {
        let place = Place { field: format!("traffic[{i}]"), policies, plan };
        let Some(stream) = place.stream(traffic, faults) else { continue };
        expected += stream.shape.expected(stream.to.saturating_sub(stream.from));
        streams.push(stream);
    }
    if expected > MAX_REQUESTS {
        let message = format!(
            "makes about {expected:.0} requests, at most {MAX_REQUESTS:.0} are simulated; shorten \
             the run or lower limits and rates alike"
        );
        faults.refuse("traffic", message);
    }
    streams
}

struct Place<'a> {
    field: String,
    policies: &'a [Policy],
    plan: &'a Plan,
}

impl Place<'_> {
    fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.field)
    }

    fn stream(&self, traffic: &file::Traffic, faults: &mut Faults) -> Option<Stream> {
        let from = traffic.from.map_or(Duration::ZERO, |Span(span)| span);
        let end = self.plan.length;
        let to = traffic.to.map_or(end, |Span(span)| span).min(end);
        if from >= to {
            faults.refuse(
                self.at("from"),
                format!("= {} is not before the end, {}", human(from), human(to)),
            );
        }
        let shape = self.shape(traffic, faults);
        let spread = self.spread(traffic, faults);
        let total = self.plan.agents + self.plan.spare_agents;
        let all = file::Select::Text("all".to_owned());
        let chosen = select(traffic.agents.as_ref().unwrap_or(&all), total, "agent");
        let agents = faults.keep(&self.at("agents"), chosen);
        let Whole(keys) = traffic.keys.unwrap_or(Whole(1));
        if !(1..=MAX_KEYS).contains(&keys) {
            faults.refuse(self.at("keys"), format!("= {keys} is not in 1 to {MAX_KEYS}"));
        }
        let keys_zipf = traffic.keys_zipf.map(|Number(zipf)| zipf);
        if keys_zipf.is_some() && keys == 1 {
            faults.refuse(self.at("keys_zipf"), "needs more than one key; set keys, like 50");
        }
        if keys_zipf.is_some_and(|zipf| !exponent(zipf)) {
            faults.refuse(self.at("keys_zipf"), "is no exponent; write a number from 0 to 10");
        }
        let key = traffic.key.clone().unwrap_or_else(|| "application".to_owned());
        self.attributes(traffic, &key, faults);
        Some(Stream {
            shape: shape?,
            from,
            to,
            spread: spread?,
            agents: agents?,
            keys,
            keys_zipf,
            key,
            attributes: traffic.attributes.clone().into_iter().collect(),
        })
    }

    fn attributes(&self, traffic: &file::Traffic, key: &str, faults: &mut Faults) {
        let mut request = Request::new();
        let value = if key == "ip" { "10.0.0.1" } else { "x" };
        if let Err(error) = request.set(key, value) {
            faults.refuse(self.at("key"), format!("= {key:?}: {error}"));
        }
        for (name, value) in &traffic.attributes {
            if name == key {
                let message = "is what `key` varies; leave it out or set key to another";
                faults.refuse(self.at(&format!("attributes.{name}")), message);
            } else if let Err(error) = request.set(name, value.as_str()) {
                faults.refuse(self.at(&format!("attributes.{name}")), error.to_string());
            }
        }
    }

    fn shape(&self, traffic: &file::Traffic, faults: &mut Faults) -> Option<Shape> {
        let shape = traffic.shape;
        let is = |list: &[file::Shape]| list.contains(&shape);
        let burst = is(&[file::Shape::Burst]);
        let (on_off, ramp) = (is(&[file::Shape::OnOff]), is(&[file::Shape::Ramp]));
        let of = limit_of(self.policies, traffic.of.as_deref());
        if traffic.of.is_some() && !self.policies.is_empty() {
            faults.keep(&self.at("of"), of.clone());
        }
        for (name, given, fits) in [
            ("rate", traffic.rate.is_some(), !burst),
            ("to_rate", traffic.to_rate.is_some(), ramp),
            ("requests", traffic.requests.is_some(), burst),
            ("within", traffic.within.is_some(), burst),
            ("every", traffic.every.is_some(), burst),
            ("on", traffic.on.is_some(), on_off),
            ("off", traffic.off.is_some(), on_off),
        ] {
            let optional = name == "within" || name == "every";
            if given && !fits {
                let message = format!("has no meaning for this shape ({shape}); leave it out");
                faults.refuse(self.at(name), message);
            } else if fits && !given && !optional {
                faults.refuse(self.at(name), format!("is missing for this shape ({shape})"));
            }
        }
        let limit = of.ok();
        let rate = self.per_second("rate", traffic.rate, limit, faults);
        let positive = |name: &str, rate: Option<f64>, faults: &mut Faults| {
            if rate.is_some_and(|rate| rate <= 0.0) {
                faults.refuse(self.at(name), "is 0; leave the stream out, or give it a rate");
                return None;
            }
            rate
        };
        match shape {
            file::Shape::Poisson => positive("rate", rate, faults).map(Shape::Poisson),
            file::Shape::Steady => positive("rate", rate, faults).map(Shape::Steady),
            file::Shape::OnOff => {
                let rate = positive("rate", rate, faults)?;
                let (Span(on), Span(off)) = (traffic.on?, traffic.off?);
                if on.is_zero() {
                    faults.refuse(self.at("on"), "is 0: it would never send");
                    return None;
                }
                Some(Shape::OnOff { rate, on, off })
            }
            file::Shape::Ramp => {
                let (from, to) =
                    (rate?, self.per_second("to_rate", traffic.to_rate, limit, faults)?);
                if from + to <= 0.0 {
                    faults.refuse(self.at("to_rate"), "is 0, as is rate: it would never send");
                    return None;
                }
                Some(Shape::Ramp { from, to })
            }
            file::Shape::Burst => self.burst(traffic, faults),
        }
    }

    /// Multiples of a limit of 0 are a fault of their own.
    #[expect(clippy::cast_precision_loss, reason = "limits are small here")]
    fn multiple(
        &self,
        name: &str,
        factor: f64,
        limit: Option<&Limit>,
        faults: &mut Faults,
    ) -> Option<f64> {
        let limit = limit?;
        if limit.amount == 0 {
            let example = if name == "requests" { "500" } else { "\"500/s\"" };
            let message = format!(
                "= \"{factor}x\" is a multiple of the policy's limit, which is 0; write an \
                 absolute value, like {example}"
            );
            faults.refuse(self.at(name), message);
            return None;
        }
        Some(factor * limit.amount as f64)
    }

    fn per_second(
        &self,
        name: &str,
        rate: Option<Rate>,
        limit: Option<&Limit>,
        faults: &mut Faults,
    ) -> Option<f64> {
        match rate? {
            Rate::PerSecond(rate) => Some(rate),
            Rate::OfLimit(factor) => {
                let amount = self.multiple(name, factor, limit, faults)?;
                let window = limit?.window;
                // A calendar's is the one in which runs begin.
                let length = window.length_of(window.start_at(Time::from_secs(EPOCH_SECS)));
                Some(amount / length.as_secs_f64())
            }
        }
    }

    fn burst(&self, traffic: &file::Traffic, faults: &mut Faults) -> Option<Shape> {
        let requests = match traffic.requests? {
            Amount::Requests(count) => count,
            Amount::OfLimit(factor) => {
                let limit = limit_of(self.policies, traffic.of.as_deref()).ok();
                self.multiple("requests", factor, limit, faults)?
            }
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
        let requests = requests.min(MAX_REQUESTS).round() as u64;
        let Span(within) = traffic.within.unwrap_or(WITHIN);
        let every = traffic.every.map(|Span(span)| span);
        if requests == 0 {
            faults.refuse(self.at("requests"), "rounds to 0; give it at least one");
        }
        if within.is_zero() {
            faults.refuse(self.at("within"), "is 0s; give it at least 1us");
        }
        if every.is_some_and(|every| every < within) {
            faults.refuse(self.at("every"), "is shorter than within: bursts would overlap");
        }
        Some(Shape::Burst { requests, within, every })
    }

    fn spread(&self, traffic: &file::Traffic, faults: &mut Faults) -> Option<Spread> {
        let spread = traffic.spread;
        for (name, given, fits) in [
            ("zipf", traffic.zipf.is_some(), spread == file::Spread::Zipf),
            ("move_every", traffic.move_every.is_some(), spread == file::Spread::Moving),
        ] {
            if given && !fits {
                let message = format!("has no meaning for this spread ({spread}); leave it out");
                faults.refuse(self.at(name), message);
            }
        }
        match spread {
            file::Spread::Even => Some(Spread::Even),
            file::Spread::Zipf => {
                let Number(zipf) = traffic.zipf.unwrap_or(ZIPF);
                if !exponent(zipf) {
                    faults.refuse(self.at("zipf"), "is no exponent; write a number from 0 to 10");
                }
                Some(Spread::Zipf(zipf))
            }
            file::Spread::Moving => {
                let Some(Span(every)) = traffic.move_every.filter(|Span(s)| !s.is_zero()) else {
                    let message = "is missing; say how long requests stay at one agent, like 80ms";
                    faults.refuse(self.at("move_every"), message);
                    return None;
                };
                Some(Spread::Moving(every))
            }
        }
    }
}

fn exponent(zipf: f64) -> bool {
    (0.0..=10.0).contains(&zipf)
}
