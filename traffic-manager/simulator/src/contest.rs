//! The same requests and faults for every limiter, in one run.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use weir_proto::{
    matcher::{PolicySet, Scratch},
    policy::{Accuracy, Level, Mode},
    request::Request,
    time::Time,
};

use crate::{
    demand::{Arrival, Demand, Stream},
    judge::{self, Facts, Hit, Judge, Score, Step},
    limiter::{Answered, Limiter, Query, Weir},
    outcome::Cost,
    rivals::{Flag, Fleet, Ratio, StaticShare},
    scenario::Scenario,
    world::EPOCH_SECS,
};

/// Requests that wait are answered within a second; a run goes on for so long behind its end.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entrant {
    /// Throttle flags.
    Flag,
    /// Each agent its part of the limit.
    Static,
    /// Drop ratios.
    Ratio,
    /// Weir with the accuracy that the policies say.
    Weir,
    /// Weir with `accuracy: strict` in every policy.
    Strict,
    /// Weir with `accuracy: balanced` in every policy.
    Balanced,
}

impl Entrant {
    /// Everybody, for comparisons.
    pub const COMPARED: [Entrant; 5] =
        [Entrant::Flag, Entrant::Static, Entrant::Ratio, Entrant::Strict, Entrant::Balanced];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Entrant::Flag => "flag",
            Entrant::Static => "static",
            Entrant::Ratio => "ratio",
            Entrant::Weir => "weir",
            Entrant::Strict => "weir strict",
            Entrant::Balanced => "weir balanced",
        }
    }

    fn is_weir(self) -> bool {
        matches!(self, Entrant::Weir | Entrant::Strict | Entrant::Balanced)
    }

    fn limiter(self, scenario: &Scenario, facts: &Arc<[Facts]>, seed: u64) -> Box<dyn Limiter> {
        let facts = Arc::clone(facts);
        let weir = |accuracy| {
            Box::new(Weir::new(&scenario.with_accuracy(accuracy), Arc::clone(&facts), seed))
        };
        match self {
            Entrant::Weir => Box::new(Weir::new(scenario, facts, seed)),
            Entrant::Strict => weir(Accuracy::Strict),
            Entrant::Balanced => weir(Accuracy::Balanced),
            Entrant::Flag => Box::new(Fleet::new(Flag, scenario, facts, seed)),
            Entrant::Static => Box::new(Fleet::new(StaticShare, scenario, facts, seed)),
            Entrant::Ratio => Box::new(Fleet::new(Ratio, scenario, facts, seed)),
        }
    }
}

/// How one entrant did in one run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Who.
    pub entrant: Entrant,
    /// Of what the run was drawn.
    pub seed: u64,
    /// By limit, in the order of [`facts`](judge::facts).
    pub scores: Vec<Score>,
    /// What crossed the network after the warm-up.
    pub cost: Cost,
    /// For how long.
    pub measured: Duration,
    /// Longest time without a manager after one was lost.
    pub failover: Option<Duration>,
    /// Requests after the warm-up at agents that said that they were not ready; nobody is judged by
    /// them.
    pub unready: u64,
    /// By limit: every request of its busiest counter, if they were kept.
    pub tracks: Vec<Vec<Step>>,
    /// By limit: whose counter that is, where there are several; otherwise empty.
    pub drawn: Vec<String>,
}

struct Side {
    entrant: Entrant,
    limiter: Box<dyn Limiter>,
    /// Not judged yet.
    answers: Vec<Answered>,
    judge: Judge,
    warm: Option<Cost>,
    cost: Cost,
    unready: u64,
}

/// Runs the scenario with this seed for all entrants at once. `keep` remembers every request, for
/// pictures.
pub fn run(scenario: &Scenario, seed: u64, entrants: &[Entrant], keep: bool) -> Vec<Run> {
    let facts: Arc<[Facts]> = judge::facts(&scenario.policies).into();
    let mut queries = Queries::new(scenario, &facts);
    let side = |entrant: &Entrant| Side {
        entrant: *entrant,
        limiter: entrant.limiter(scenario, &facts, seed),
        answers: Vec::new(),
        judge: Judge::new(Arc::clone(&facts), keep),
        warm: None,
        cost: Cost::default(),
        unready: 0,
    };
    let mut sides: Vec<Side> = entrants.iter().map(side).collect();
    let (mut asked, mut left_out) = (0, BTreeSet::new());
    let mut incidents = scenario.incidents.iter().peekable();
    for arrival in Demand::new(scenario, seed) {
        while let Some((at, incident)) = incidents.next_if(|(at, _)| *at <= arrival.at) {
            for side in &mut sides {
                side.advance(*at, scenario.warm_up);
                side.limiter.incident(*incident);
            }
        }
        let query = queries.of(&scenario.streams, &arrival);
        asked += 1;
        for side in &mut sides {
            side.advance(arrival.at, scenario.warm_up);
        }
        // Weir's agents first: only they may be not ready, and then nobody else is asked.
        let (weir, rivals): (Vec<_>, Vec<_>) = sides.iter_mut().partition(|s| s.entrant.is_weir());
        for side in weir.into_iter().chain(rivals) {
            if !left_out.contains(&asked) {
                side.limiter.ask(arrival.agent, asked, &query);
            }
            side.listen(&mut left_out);
        }
        for side in &mut sides {
            side.judge(&left_out);
        }
    }
    for (at, incident) in incidents {
        for side in &mut sides {
            side.advance(*at, scenario.warm_up);
            side.limiter.incident(*incident);
        }
    }
    for side in &mut sides {
        side.end(scenario, &mut left_out);
    }
    let names = keep.then_some(queries.names);
    let finish = |side: Side| side.finish(scenario, seed, &facts, (&left_out, names.as_deref()));
    sides.into_iter().map(finish).collect()
}

impl Side {
    fn advance(&mut self, to: Duration, warm_up: Duration) {
        if self.warm.is_none() && to >= warm_up {
            self.limiter.advance(warm_up);
            self.warm = Some(self.limiter.cost());
        }
        self.limiter.advance(to);
    }

    /// Takes the answers, and notes the requests that found the agent not ready.
    fn listen(&mut self, left_out: &mut BTreeSet<u64>) {
        for answered in self.limiter.answers() {
            if answered.ruling.is_none() {
                left_out.insert(answered.id);
                self.unready += u64::from(self.warm.is_some());
            }
            self.answers.push(answered);
        }
    }

    /// Judges the answers, but for the requests that found some entrant's agent not ready.
    fn judge(&mut self, left_out: &BTreeSet<u64>) {
        for answered in self.answers.drain(..).filter(|a| !left_out.contains(&a.id)) {
            if let Some(ruling) = answered.ruling {
                self.judge.count(&answered.query.hits, answered.at, answered.seen, ruling);
            }
        }
    }

    /// Lets the run end, and those who wait.
    fn end(&mut self, scenario: &Scenario, left_out: &mut BTreeSet<u64>) {
        self.advance(scenario.duration, scenario.warm_up);
        self.cost = self.limiter.cost() - self.warm.unwrap_or_default();
        self.limiter.advance(scenario.duration + AFTERMATH);
        self.listen(left_out);
    }

    fn finish(
        mut self,
        scenario: &Scenario,
        seed: u64,
        facts: &[Facts],
        (left_out, names): (&BTreeSet<u64>, Option<&[String]>),
    ) -> Run {
        self.judge(left_out);
        let (from, to) = (scenario.warm_up, scenario.duration);
        let (mut tracks, mut drawn) = (Vec::new(), Vec::new());
        for limit in (0..facts.len()).filter(|_| names.is_some()) {
            let (counter, track, used) = self.judge.busiest(limit).unwrap_or_default();
            let name = names.and_then(|names| names.get(counter)).filter(|_| used > 1);
            tracks.push(track.to_vec());
            drawn.push(name.map_or(String::new(), |name| format!("{name}, busiest of {used}")));
        }
        Run {
            entrant: self.entrant,
            seed,
            scores: self.judge.scores(from, to),
            cost: self.cost,
            measured: to.saturating_sub(from),
            failover: self.limiter.failover(),
            unready: self.unready,
            tracks,
            drawn,
        }
    }
}

/// Requests by stream and key, with the counters that they count in.
struct Queries<'a> {
    set: PolicySet,
    facts: &'a [Facts],
    scratch: Scratch,
    known: BTreeMap<(usize, u64), Rc<Query>>,
    counters: BTreeMap<Vec<u8>, usize>,
    /// Of the first request of each counter.
    names: Vec<String>,
    /// A group has a schedule.
    timed: bool,
}

impl<'a> Queries<'a> {
    fn new(scenario: &Scenario, facts: &'a [Facts]) -> Self {
        let set = PolicySet::compile(1, scenario.policies.iter().cloned().map(Arc::new));
        let (scratch, known, counters) = (Scratch::default(), BTreeMap::new(), BTreeMap::new());
        let mut groups = scenario.policies.iter().flat_map(|policy| &policy.groups);
        let timed = groups.any(|group| group.during.is_some());
        Queries { set, facts, scratch, known, counters, names: Vec::new(), timed }
    }

    fn of(&mut self, streams: &[Stream], arrival: &Arrival) -> Rc<Query> {
        let Arrival { at, stream, key, .. } = *arrival;
        if let Some(query) = self.known.get(&(stream, key)) {
            return Rc::clone(query);
        }
        let time = Time::from_secs(EPOCH_SECS) + at;
        let query = Rc::new(self.resolve(&streams[stream], key, time));
        // What applies at some times only must be looked at each time.
        if !self.timed {
            self.known.insert((stream, key), Rc::clone(&query));
        }
        query
    }

    fn resolve(&mut self, stream: &Stream, key: u64, time: Time) -> Query {
        let mut attributes = stream.attributes.clone();
        attributes.push((stream.key.clone(), value(&stream.key, key)));
        let mut request = Request::new();
        for (name, value) in &attributes {
            // Names were checked when the scenario was read.
            let _ = request.set(name, value.as_str());
        }
        let (mut hits, mut denied, mut bytes) = (Vec::new(), false, Vec::new());
        let (facts, counters, names) = (self.facts, &mut self.counters, &mut self.names);
        let name = attributes.iter().map(|(name, value)| format!("{name} = {value}"));
        let name = name.collect::<Vec<_>>().join(", ");
        self.set.resolve(&request, time, &mut self.scratch, |hit| {
            let policy = &hit.policy.policy;
            if policy.level == Level::Deny && policy.mode == Mode::Enforce {
                denied = true;
                return ControlFlow::Break(());
            }
            for limit in hit.limits {
                let same = |f: &Facts| f.policy == policy.name.as_str() && f.id == *limit.id;
                let Some(place) = facts.iter().position(same) else { continue };
                hit.key_into(limit, &mut bytes);
                let next = counters.len();
                let counter = *counters.entry(bytes.clone()).or_insert(next);
                if counter == names.len() {
                    names.push(name.clone());
                }
                hits.push(Hit { limit: place, counter });
            }
            ControlFlow::Continue(())
        });
        Query { attributes: attributes.into(), hits, denied }
    }
}

/// The value of the attribute that tells keys apart.
fn value(attribute: &str, key: u64) -> String {
    if attribute == "ip" || attribute == "request.ip" {
        let [.., a, b, c] = key.to_be_bytes();
        return format!("10.{a}.{b}.{c}");
    }
    format!("{}-{}", attribute.rsplit('.').next().unwrap_or(attribute), key + 1)
}
