//! What is counted now, and what is used up.
//!
//! Every manager has the whole count, so that each says the same of what is used up, whoever governs. Only the
//! manager that agents follow knows what it holds back.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::{id::ManagerId, key::CounterKey, time::Time};

use super::{AgentUse, CounterFilter, CounterView, DecisionView};
use crate::{
    ledger::{Counter, CounterIx, WindowState},
    limits::Meter,
    manager::Manager,
};

impl CounterFilter {
    fn passes(&self, key: &CounterKey) -> bool {
        self.policy.as_deref().is_none_or(|policy| key.policy() == policy)
            && self.key.as_deref().is_none_or(|text| key.parts().any(|part| part.contains(text)))
    }
}

impl Manager {
    /// Live counters that pass the filter.
    pub fn counters(&self, filter: &CounterFilter, now: Time) -> Vec<CounterView> {
        let first = self.first(filter, |_, _| true);
        let counters = first.into_iter().filter_map(|ix| self.ledger.read(ix));
        let views = counters.flat_map(|counter| {
            let view = |window| self.counter_view(&counter, window, now);
            counter.windows.iter().map(view).collect::<Vec<_>>()
        });
        views.take(filter.limit).collect()
    }

    /// Who is throttled now: what is used up, and what this manager holds back.
    pub fn decisions(&self, filter: &CounterFilter, now: Time) -> Vec<DecisionView> {
        let first = self.first(filter, |ix, counter| {
            let Some(limit) = &counter.limit else { return false };
            let told = counter.windows.iter().any(|window| window.exhausted);
            let full = limit.rolling() || self.ledger.used_at_most(ix) >= limit.amount;
            (told || full) && !self.throttled(ix, now).is_empty()
        });
        let all = first.into_iter().flat_map(|ix| self.throttled(ix, now));
        all.take(filter.limit).collect()
    }

    /// The managers that agents follow: this one, and others as agents say that report here.
    pub fn followed(&self) -> BTreeSet<ManagerId> {
        let mut followed = BTreeSet::new();
        for (_, agent) in self.fleet.agents() {
            let named = || ManagerId::new(&agent.status.as_ref()?.active_manager).ok();
            if agent.attached() {
                followed.insert(self.id().clone());
            } else if agent.usage.is_some() {
                followed.extend(named());
            }
        }
        followed
    }

    /// The first counters that pass the filter and `also`.
    fn first(
        &self,
        filter: &CounterFilter,
        also: impl Fn(CounterIx, &Counter) -> bool,
    ) -> Vec<CounterIx> {
        let mut first = BTreeMap::new();
        for (ix, counter) in self.ledger.iter() {
            let beyond = |(last, _): (&&CounterKey, &CounterIx)| counter.key >= **last;
            let full = first.len() >= filter.limit;
            if full && first.last_key_value().is_none_or(beyond)
                || !filter.passes(&counter.key)
                || !also(ix, counter)
            {
                continue;
            }
            first.insert(&counter.key, ix);
            if first.len() > filter.limit {
                first.pop_last();
            }
        }
        first.into_values().collect()
    }

    fn throttled(&self, ix: CounterIx, now: Time) -> Vec<DecisionView> {
        let Some(counter) = self.ledger.read(ix) else { return Vec::new() };
        let Some(limit) = counter.limit.as_deref() else { return Vec::new() };
        let view = |window: &WindowState| {
            let view = self.counter_view(&counter, window, now);
            let until = window.next_release(limit, now);
            ((view.exhausted || view.held_back) && until > now).then(|| DecisionView {
                key: counter.key.clone(),
                window: window.start,
                until,
                limit: limit.amount,
                used: view.used,
                held_back: view.held_back,
            })
        };
        counter.windows.iter().filter_map(view).collect()
    }

    pub(crate) fn counter_view(
        &self,
        counter: &Counter,
        window: &WindowState,
        now: Time,
    ) -> CounterView {
        let limit = counter.limit.as_deref();
        let used = match limit.filter(|l| l.rolling() && l.meter != Meter::Gauge) {
            Some(l) => window.spent.clone().at(l, now),
            None => window.used(),
        };
        let exhausted = limit.is_some_and(|limit| used >= limit.amount);
        let agents = window.slots.iter().map(|slot| AgentUse {
            agent: self.fleet.agent(slot.agent).identity.life.id.clone(),
            used: slot.used,
            rejected: slot.rejected,
            ceiling: slot.book,
            throttled: slot.denied,
        });
        CounterView {
            key: counter.key.clone(),
            window: window.start,
            ends: limit.filter(|l| !l.rolling()).map(|l| l.window.end(window.start)),
            limit: limit.map(|l| l.amount),
            used,
            rejected: window.rejected(),
            exhausted,
            held_back: window.exhausted && !exhausted,
            agents: agents.collect(),
        }
    }
}
