// Renders openapi.json: operations by tag, with a form to try each, then the schemas.
const element = (name, text, kind, ...children) => {
  const node = document.createElement(name);
  if (text) node.textContent = text;
  if (kind) node.className = kind;
  node.append(...children);
  return node;
};
const plain = (text) => (text ?? "").replace(/`/g, "");
const api = await (await fetch("/api/v1/openapi.json")).json();
const resolve = (schema) => (schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema);
const type = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.oneOf) return schema.oneOf.map(type).filter((name) => name !== "null").join(" or ");
  if (schema.items) return `list of ${type(schema.items)}`;
  return [schema.type].flat().filter((name) => name !== "null").join(" or ");
};
const rows = (headings, lines) => {
  const head = element("tr", "", "", ...headings.map((heading) => element("th", heading)));
  const body = lines.map((cells) => element("tr", "", "", ...cells.map((cell) => element("td", plain(cell)))));
  return element("table", "", "", head, ...body);
};
// As on the status page: it lives as long as the tab.
const credentials = () => {
  const token = sessionStorage.getItem("weir-token");
  return token ? { authorization: `Bearer ${token}` } : {};
};
const login = document.getElementById("login");
const admitted = async () => {
  login.hidden = (await fetch("/api/v1/nodes", { headers: credentials() })).status !== 401;
};
login.addEventListener("submit", (event) => {
  event.preventDefault();
  const input = document.getElementById("token");
  sessionStorage.setItem("weir-token", input.value.trim());
  input.value = "";
  admitted();
});
// A file is kept, not shown.
const save = async (response) => {
  const link = element("a");
  link.download = /filename="([^"]+)"/.exec(response.headers.get("content-disposition"))?.[1] ?? "answer";
  link.href = URL.createObjectURL(await response.blob());
  link.click();
  return `saved as ${link.download}`;
};
const field = (label, input) => element("label", label, "", input);

function trial(path, method, operation) {
  const form = element("form");
  const inputs = (operation.parameters ?? []).map((parameter) => {
    const input = element("input");
    input.required = parameter.required ?? false;
    form.append(field(`${parameter.name} (${parameter.in})`, input));
    return { parameter, input };
  });
  let body;
  if (operation.requestBody) {
    body = element("textarea");
    body.rows = 10;
    const schema = resolve(Object.values(operation.requestBody.content)[0].schema);
    body.value = JSON.stringify(schema.example ?? {}, null, 2);
    form.append(field("body (JSON)", body));
  }
  const answer = element("pre", "", "");
  answer.hidden = true;
  form.append(element("button", "Send"), answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let target = path;
    const query = new URLSearchParams();
    const headers = { ...credentials(), ...(body ? { "content-type": "application/json" } : {}) };
    for (const { parameter, input } of inputs) {
      if (!input.value) continue;
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (parameter.in === "query") query.set(parameter.name, input.value);
      else headers[parameter.name] = input.value;
    }
    const url = query.size ? `${target}?${query}` : target;
    answer.hidden = false;
    try {
      const response = await fetch(url, { method: method.toUpperCase(), headers, body: body?.value });
      if (response.status === 401) login.hidden = false;
      const isFile = response.headers.has("content-disposition");
      let text = isFile ? await save(response) : await response.text();
      try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: as it came */ }
      const tag = response.headers.get("etag");
      answer.textContent = `${response.status} ${response.statusText}${tag ? `\nETag: ${tag}` : ""}\n\n${text}`;
    } catch (error) {
      answer.textContent = `no answer: ${error.message}`;
    }
  });
  return form;
}
function operationCard(path, method, operation) {
  const card = element("details", "", "card");
  card.id = operation.operationId;
  card.append(element("summary", "", "", element("span", method, `method ${method}`), element("code", path),
    element("span", plain(operation.summary), "soft")));
  if (operation.description) card.append(element("p", plain(operation.description)));
  if (operation.parameters?.length) {
    card.append(element("h3", "Parameters"), rows(["Name", "In", "Type", ""], operation.parameters.map((it) =>
      [it.name + (it.required ? "" : " (optional)"), it.in, type(it.schema), it.description])));
  }
  const answers = Object.entries(operation.responses).map(([status, it]) =>
    [status, type(Object.values(it.content ?? {})[0]?.schema), it.description]);
  card.append(element("h3", "Answers"), rows(["Status", "Body", ""], answers), element("h3", "Try it"),
    trial(path, method, operation));
  return card;
}
function schemaCard(name, schema) {
  const card = element("details", "", "card");
  card.append(element("summary", "", "", element("code", name), element("span", plain(schema.description), "soft")));
  card.append(rows(["Field", "Type", ""], Object.entries(schema.properties ?? {}).map(([key, it]) =>
    [key + (schema.required?.includes(key) ? "" : " (optional)"), type(it), it.description])));
  if (schema.example) card.append(element("pre", JSON.stringify(schema.example, null, 2)));
  return card;
}
const main = document.getElementById("main");
document.getElementById("title").append(element("small", ` ${api.info.version}`));
document.getElementById("about").textContent = plain(api.info.description);
for (const tag of api.tags) {
  main.append(element("h2", tag.description));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      if (operation.tags?.includes(tag.name)) main.append(operationCard(path, method, operation));
    }
  }
}
main.append(element("h2", "Schemas"));
for (const [name, schema] of Object.entries(api.components.schemas)) main.append(schemaCard(name, schema));
admitted();
const linked = document.getElementById(location.hash.slice(1));
if (linked) linked.open = true;
