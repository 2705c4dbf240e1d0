// The status page: reads the public API every two seconds. Foreign text only ever becomes text nodes.
const PERIOD = 2000;
const at = (id) => document.getElementById(id);
const element = (name, text, kind) => {
  const node = document.createElement(name);
  node.textContent = text ?? "";
  if (kind) node.className = kind;
  return node;
};
// The token lives as long as the tab, and goes nowhere but to this manager.
const token = () => sessionStorage.getItem("weir-token");
const keep = (value) => (value ? sessionStorage.setItem("weir-token", value) : sessionStorage.removeItem("weir-token"));
class Refused extends Error {}
const read = async (path) => {
  const headers = { accept: "application/json" };
  if (token()) headers.authorization = `Bearer ${token()}`;
  const answer = await fetch("/api/v1" + path, { headers });
  if (answer.status === 401 || answer.status === 403) throw new Refused((await answer.json()).detail);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
};
const table = (id, headings, rows, empty) => {
  const head = element("tr");
  head.append(...headings.map((heading) => element("th", heading)));
  const body = rows.map((cells) => {
    const row = element("tr");
    row.append(...cells.map((cell) => (cell instanceof Node ? wrap(cell) : element("td", cell))));
    return row;
  });
  if (rows.length) at(id).replaceChildren(head, ...body);
  else at(id).replaceChildren(element("caption", empty, "soft"));
};
const wrap = (node) => {
  const cell = element("td");
  cell.append(node);
  return cell;
};
const flag = (on, yes, no) => element("span", on ? yes : no, on ? "good" : "bad");
const ago = (time) => {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(time)) / 1000));
  return seconds < 90 ? `${seconds} s ago` : new Date(time).toLocaleString();
};
const link = (peer) => flag(peer.link === "up" && peer.ready, "up", peer.link === "up" ? "up, not ready" : "down");
const lag = ({ lag_seconds: seconds, outstanding }) =>
  outstanding ? flag(seconds < 5, `${seconds.toFixed(1)} s`, `${seconds.toFixed(0)} s, ${outstanding} entries`) : "none";
const limits = (policy) => {
  const own = (policy.limits ?? []).map(({ window, calendar, timezone, algorithm, ...units }) =>
    Object.entries(units).map(([unit, amount]) => `${amount} ${unit}`).join(" ") + ` / ${window ?? `${calendar} (${timezone})`}`);
  if (policy.groups) own.push(`${policy.groups.length} conditional`);
  return own.join(", ") || "refuses";
};
async function refresh() {
  const [{ nodes }, { agents }, { policies }, { decisions, truncated }] = await Promise.all(
    ["/nodes", "/agents", "/policies", "/decisions"].map(read));
  const self = nodes.find((node) => node.self);
  at("manager").textContent = `${self.id} · ${self.version}`;
  const tiles = [["agents", agents.length], ["policies", policies.length], ["live counters", self.counters],
    ["throttled now", decisions.length + (truncated ? "+" : "")], ["conflicts", self.conflicts]];
  at("tiles").replaceChildren(...tiles.map(([name, value]) => {
    const tile = element("div", "", "tile");
    tile.append(element("b", value), element("span", name));
    return tile;
  }));
  table("decisions", ["Policy", "Limit", "Key", "Used", "Of", "Reason", "Until"], decisions.map((it) =>
    [it.policy, it.limit_id, it.key.join(" · ") || "everybody", it.used, it.limit, it.reason.replace("_", " "),
      new Date(it.until).toLocaleTimeString()]),
    "Nobody.");
  table("agents", ["Agent", "Group", "Usage link", "Follows", "Share", "Policies", "Checks", "Unsent", "Last seen"],
    agents.map((it) => [it.id, it.gateway_group, flag(it.connected, "up", "down"), it.active_manager || "nobody",
      flag(it.member, "member", "none"), "r" + it.policies_revision, it.checks, it.unsent, ago(it.last_seen)]),
    "No agent has reported yet.");
  at("conflicts").hidden = !self.conflicts;
  // What only the manager that answers knows of itself is absent for its peers.
  const managers = nodes.map((it) => (it.self
    ? [it.id, "this one", it.roles.join(", "), "", `${it.policies} (r${it.policies_revision})`, it.counters,
      it.decision_sessions, `${it.fleet.size} in view ${it.fleet.view}`, "started " + new Date(it.started).toLocaleString()]
    : [it.id ?? it.address, link(it), it.roles.join(", "), it.id ? lag(it) : "", "", "", "", "",
      it.last_seen ? ago(it.last_seen) : `never${it.last_failure ? `: ${it.last_failure}` : ""}`]));
  table("nodes", ["Manager", "Link", "Roles", "Lag", "Policies", "Counters", "Sessions", "Fleet", "Last heard"], managers, "");
  table("policies", ["Name", "Level", "Mode", "Key", "Limits", "Match"], policies.map((it) =>
    [it.name, it.level, it.mode, (it.key ?? []).join(", "), limits(it), element("code", it.match)]),
    "None yet: POST one to /api/v1/policies, or run traffic-manager policy apply -f FILE.");
}
const ask = (why) => {
  at("login").hidden = !why;
  at("logout").hidden = !token();
  if (why) at("why").textContent = token() ? `Refused: ${why}.` : "This manager asks for a token with the role viewer or admin.";
};
at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  keep(at("token").value.trim());
  at("token").value = "";
  loop();
});
at("logout").addEventListener("click", (event) => {
  event.preventDefault();
  keep("");
  location.reload();
});
// A link shows no token: with one, the page fetches what is behind it.
at("metrics").addEventListener("click", async (event) => {
  if (!token()) return;
  event.preventDefault();
  const answer = await fetch("/metrics", { headers: { authorization: `Bearer ${token()}` } });
  location.href = URL.createObjectURL(new Blob([await answer.text()], { type: "text/plain;charset=utf-8" }));
});
let timer;
async function loop() {
  clearTimeout(timer);
  try {
    await refresh();
    ask("");
    at("live").replaceChildren(flag(true, "● live"));
  } catch (error) {
    if (error instanceof Refused) {
      ask(error.message);
      at("live").replaceChildren(flag(false, "", "● no access"));
      return;
    }
    at("live").replaceChildren(flag(false, "", `● no answer: ${error.message}`));
  }
  timer = setTimeout(loop, PERIOD);
}
loop();
