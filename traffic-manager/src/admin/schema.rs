//! The shapes of policies and of answers about them, for the API's description. Policies themselves
//! are read and written by the policy language, not through these.
#![expect(dead_code, reason = "fields of a description are only named")]

use serde::Serialize;
use utoipa::ToSchema;

/// Which requests are limited, and how. At level `deny` they are refused, and no `key`, `limits` or
/// `groups` are given; at every other level at least one limit is.
#[derive(ToSchema)]
#[schema(as = Policy, example = json!({
    "name": "gold-subscription",
    "level": "subscription",
    "match": "request.subscription_tier == \"gold\"",
    "key": ["application", "api"],
    "limits": [{ "requests": 5000, "window": "1m", "algorithm": "sliding_window" }],
    "mode": "enforce"
}))]
pub(super) struct PolicyDocument {
    /// Unique; 1 to 128 letters, digits and `.`, `_`, `-`.
    name: String,
    /// Place in the evaluation order: deny, api or resource, subscription, application, custom, backend.
    #[schema(pattern = "^(deny|api|resource|subscription|application|custom|backend)$")]
    level: String,
    /// CEL over `request`; absent = every request at that level.
    r#match: Option<String>,
    /// Attributes or CEL expressions that make one counter each; empty = one counter for all.
    key: Option<Vec<String>>,
    /// The limits; all of them hold.
    limits: Option<Vec<LimitDocument>>,
    /// The first whose condition holds replaces `limits`.
    groups: Option<Vec<GroupDocument>>,
    /// Keys with other amounts in `limits`, at most 10,000.
    overrides: Option<Vec<OverrideDocument>>,
    /// A policy whose limits count every request that this one meets.
    parent: Option<String>,
    /// Whether a limit that a request brings along counts in the place of those that count requests; false if
    /// absent. The agent's configuration must let requests bring limits, too.
    request_limits: Option<bool>,
    /// `enforce` (default), `shadow` (count and report only) or `off`.
    mode: Option<String>,
    /// `reject` (default) or `allow`: over quota passes, but is counted and reported.
    on_limit: Option<String>,
    /// What an agent does that reaches no manager: `open`, `closed` or `local`.
    on_disconnect: Option<String>,
    /// `auto` (default), `strict` (never above the limit) or `balanced`.
    accuracy: Option<String>,
    /// How long an uncertain request near the limit may wait, up to 1s; 0s = never.
    #[schema(example = "5ms")]
    max_wait: Option<String>,
    /// Computed: how much can pass at most, in the present fleet.
    #[schema(read_only)]
    bound: Option<Bound>,
}

/// So much of one unit per window. One of the amounts is given; each is a whole number or `unlimited`,
/// those of bandwidth also bytes like `10MiB`.
#[derive(ToSchema)]
#[schema(as = Limit)]
pub(super) struct LimitDocument {
    /// One per request, unless the request says otherwise.
    #[schema(example = 5000)]
    requests: Option<u64>,
    /// Events of a stream.
    events: Option<u64>,
    /// Bytes in both directions.
    #[schema(example = "10MiB")]
    bandwidth: Option<String>,
    /// Bytes of requests.
    request_bandwidth: Option<String>,
    /// Bytes of responses.
    response_bandwidth: Option<String>,
    /// Tokens of a language model in both directions.
    tokens: Option<u64>,
    /// Tokens of prompts.
    prompt_tokens: Option<u64>,
    /// Tokens of completions.
    completion_tokens: Option<u64>,
    /// Failed requests, as reported: after so many the rest of the window is refused.
    errors: Option<u64>,
    /// Requests in flight; has a `lease` and no window.
    concurrency: Option<u64>,
    /// An amount that requests report under this name.
    amount: Option<CustomAmount>,
    /// 1s to 365d. This or `calendar` is given.
    #[schema(example = "1m")]
    window: Option<String>,
    /// Windows from one full hour, midnight, Monday, first of the month or first of January to the
    /// next, by the clocks of `timezone`.
    #[schema(pattern = "^(hour|day|week|month|year)$")]
    calendar: Option<String>,
    /// Of the calendar, as the IANA time zone database names it; UTC if absent.
    #[schema(example = "Europe/Berlin")]
    timezone: Option<String>,
    /// `fixed_window` (default, and the only one with `calendar`), `sliding_window` or `token_bucket`.
    algorithm: Option<String>,
    /// What a token bucket holds; the amount if absent.
    burst: Option<u64>,
    /// After so long a request in flight counts as finished; 1m if absent.
    lease: Option<String>,
}

/// A custom amount.
#[derive(ToSchema)]
pub(super) struct CustomAmount {
    /// As requests report it.
    #[schema(example = "books")]
    name: String,
    /// So much per window.
    value: u64,
}

/// Other amounts for one key.
#[derive(ToSchema)]
#[schema(as = Override)]
pub(super) struct OverrideDocument {
    /// The value of each part of the policy's key.
    key: Vec<String>,
    /// Limits of the policy with other amounts.
    limits: Vec<LimitDocument>,
}

/// Limits that replace the policy's own for some requests, at some times.
#[derive(ToSchema)]
#[schema(as = Group)]
pub(super) struct GroupDocument {
    /// Names the group's counters.
    name: Option<String>,
    /// CEL over `request`: of which requests. This, `during` or both are given.
    when: Option<String>,
    /// At which times.
    during: Option<DuringDocument>,
    /// At least one.
    limits: Vec<LimitDocument>,
}

/// When a group applies, by the managers' clock. All that is given must hold; at least one of
/// `weekdays`, `hours` and `dates` is.
#[derive(ToSchema)]
#[schema(as = During, example = json!({
    "timezone": "Europe/Berlin", "weekdays": ["mon", "tue"], "hours": "08:00-18:00"
}))]
pub(super) struct DuringDocument {
    /// By whose clocks, as the IANA time zone database names it; UTC if absent.
    #[schema(example = "Europe/Berlin")]
    timezone: Option<String>,
    /// Some of `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`.
    weekdays: Option<Vec<String>>,
    /// From when up to but without when. Hours over midnight belong to the day on which they begin.
    #[schema(example = "22:00-06:00")]
    hours: Option<String>,
    /// Dates, or first and last dates.
    #[schema(example = json!(["2026-12-24..2026-12-26", "2027-01-01"]))]
    dates: Option<Vec<String>>,
}

/// How exactly a policy is held by the present fleet.
#[derive(ToSchema)]
pub(super) struct Bound {
    /// `strict` or `balanced`.
    accuracy: String,
    /// Agents that share the limits.
    fleet: u32,
    /// For each limit, how much can pass at most.
    limits: Vec<LimitBound>,
}

/// How exactly a limit is held.
#[derive(ToSchema)]
pub(super) struct LimitBound {
    /// The limit in its policy.
    #[schema(example = "requests/1m/sliding_window")]
    id: String,
    /// The limit.
    limit: u64,
    /// At most this much passes in a window (of a token bucket: at once); absent where what is told
    /// after the response, or let pass over the limit, comes on top.
    bound: Option<u64>,
}

/// All policies.
#[derive(ToSchema)]
pub(super) struct PolicyList {
    /// `weir/v1`
    #[schema(rename = "apiVersion", example = "weir/v1")]
    api_version: String,
    /// By name.
    policies: Vec<PolicyDocument>,
}

/// Result of a dry run.
#[derive(Serialize, ToSchema)]
pub(super) struct Validation {
    /// Always true; what is not valid is answered with 422.
    pub(super) valid: bool,
    /// In the order of the document.
    pub(super) policies: Vec<Outcome>,
}

/// What writing a policy would do, or did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Outcome {
    /// The policy.
    name: String,
    /// `create`, `replace` or `unchanged`.
    outcome: &'static str,
}

impl Outcome {
    /// `equal` compares with the stored policy, if there is one.
    pub(super) fn of(name: &str, equal: Option<bool>) -> Outcome {
        let outcome = match equal {
            None => "create",
            Some(false) => "replace",
            Some(true) => "unchanged",
        };
        Outcome { name: name.to_owned(), outcome }
    }
}
