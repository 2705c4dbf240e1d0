//! `audit`, `usage`.

use std::io;

use super::{
    Failure,
    client::{Client, escape},
    output::{Output, cells, list, tell_truncated},
    table::Table,
    units::{duration, moment, with_short_ids},
};

/// What narrows records.
const SPAN: &str = "--policy, --from and --until";

/// Which records to show.
#[derive(Debug, clap::Args)]
pub(super) struct Span {
    /// Only those of this policy
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// At or after this time, like 2026-12-24T20:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most this many, the newest
    #[arg(long, value_name = "COUNT", default_value = "100")]
    limit: u32,
}

impl Span {
    fn query(&self) -> String {
        let mut query = format!("?limit={}", self.limit);
        let named = [("policy", &self.policy), ("from", &self.from), ("until", &self.until)];
        for (name, value) in named {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", escape(value)));
            }
        }
        query
    }
}

/// Who changed what.
pub(super) fn audit(
    client: &Client,
    span: &Span,
    output: &mut Output,
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let answer = client.get(&format!("/audit{}", span.query()))?;
    output.print(out, &answer, |answer| {
        let mut table = Table::new(&["AT", "ACTOR", "ACTION", "POLICY", "DETAIL", "MANAGER"]);
        for record in list(answer, "records") {
            let fields = ["actor", "action", "policy", "detail", "manager"];
            let [actor, action, policy, detail, manager] = cells(record, fields);
            let detail = with_short_ids(&detail);
            table.row([moment(record, "at"), actor, action, policy, detail, manager]);
        }
        vec![table]
    })?;
    tell_truncated(&answer, SPAN);
    Ok(())
}

/// What was used in periods that are over.
pub(super) fn usage(
    client: &Client,
    span: &Span,
    output: &mut Output,
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let answer = client.get(&format!("/usage{}", span.query()))?;
    output.print(out, &answer, |answer| {
        let mut table =
            Table::new(&["START", "SPAN", "POLICY", "LIMIT", "KEY", "ADMITTED", "REFUSED"]);
        for record in list(answer, "records") {
            let fields = ["policy", "limit_id", "key", "admitted", "refused"];
            let [policy, limit, key, admitted, refused] = cells(record, fields);
            let (start, span) = (moment(record, "start"), duration(record, "seconds"));
            table.row([start, span, policy, limit, key, admitted, refused]);
        }
        vec![table]
    })?;
    tell_truncated(&answer, SPAN);
    Ok(())
}
