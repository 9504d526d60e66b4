"use strict";
// Sorting of tables, and the explorer of answers. Texts enter the page as text, never as markup.
const $ = (id) => document.getElementById(id);

function make(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = make("button", head.textContent);
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => {
        const cell = row.cells[column];
        return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
      };
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}

async function unpacked() {
  const bytes = Uint8Array.from(atob($("packed").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const { items } = JSON.parse(await new Response(stream).text());
  return { items, texts: items.flatMap((item) => item.texts) };
}

let data = { items: [], texts: [] };
let shown = [];
let current = null;

const text = (number) => data.texts[number];
const arm = (row) => `${row.stage} ${row.strategy}`;
const mark = (row) => (row.ok === null ? "?" : row.ok ? "+" : "-");

function rowsOf(item) {
  const [level, wanted] = [$("level").value, $("arm").value];
  return item.rows.filter((row) => (!level || row.level === level || row.level === "-") && (!wanted || arm(row) === wanted));
}

function matches(item) {
  const rows = rowsOf(item);
  if (!rows.length) return false;
  const asked = rows.filter((row) => row.stage !== "control");
  const which = $("which").value;
  if (which === "differ" && new Set(asked.map(mark)).size < 2) return false;
  if (which === "failed" && !asked.some((row) => row.ok === false)) return false;
  if (which === "missing" && !asked.some((row) => row.ok === null)) return false;
  if ($("category").value && item.category !== $("category").value) return false;
  const check = $("check").value;
  const faulted = which === "failed";
  const concerns = ([id, strict]) => id === check && !(faulted && strict !== false);
  if (check && !rows.some((row) => row.checks.some(concerns))) return false;
  const words = $("search").value.trim().toLowerCase();
  if (!words) return true;
  const everything = [item.id, ...item.messages.map((m) => text(m[1]))];
  for (const row of rows) {
    const texts = [row.prompt, row.prefill, row.answer, row.rest, ...row.checks.map((c) => c[2])];
    everything.push(...texts.map(text), row.error);
  }
  return everything.some((piece) => piece.toLowerCase().includes(words));
}

function list() {
  shown = data.items.filter(matches);
  $("status").textContent = `${shown.length} of ${data.items.length} items`;
  const entries = shown.map((item) => {
    const entry = make("li");
    const button = make("button");
    button.type = "button";
    const asked = rowsOf(item).filter((row) => row.stage !== "control");
    button.append(make("span", item.id + " "), make("span", asked.map(mark).join(""), "marks"));
    button.addEventListener("click", () => open(item));
    button.dataset.id = item.id;
    entry.append(button);
    return entry;
  });
  $("items").replaceChildren(...entries);
  open(shown.includes(current) ? current : shown[0] || null);
}

function withTokens(node, value) {
  // Control tokens are what a reader looks for in a prompt.
  const pattern = /<\|[^|<>\n]{1,40}\|>|<(?:s|\/s|bos|eos|start_of_turn|end_of_turn)>|\[\/?INST\]/g;
  let last = 0;
  for (const found of value.matchAll(pattern)) {
    node.append(value.slice(last, found.index), make("mark", found[0]));
    last = found.index + found[0].length;
  }
  node.append(value.slice(last));
  return node;
}

function marked(node, row) {
  // The opening that was given, then the answer, with what decided each verdict marked.
  const [given, whole] = [text(row.prefill).length, text(row.prefill) + text(row.answer)];
  const places = row.checks.flatMap(([id, strict, , spans]) => spans.map(([from, to]) => ({ id, strict, from, to })));
  const cuts = [...new Set([0, given, whole.length, ...places.flatMap((p) => [p.from, p.to])])].sort((a, b) => a - b);
  for (let n = 0; n + 1 < cuts.length; n++) {
    const [from, to] = [cuts[n], cuts[n + 1]];
    const here = places.filter((p) => p.from <= from && to <= p.to);
    const piece = whole.slice(from, to);
    if (!here.length) {
      node.append(to <= given ? make("span", piece, "given") : piece);
      continue;
    }
    const mark = make("mark", piece, here.some((p) => p.strict === false) ? "bad" : "good");
    mark.title = [...new Set(here.map((p) => `${p.strict ? "passes" : "fails"} ${p.id}`))].join(", ");
    node.append(mark);
  }
  return node;
}

const TAKEN = { u: ["", "the arm's own first choice"], m: ["near", "the arm's second or third choice"], s: ["far", "the arm would hardly say this"] };

function taken({ pieces, arms }) {
  // The answer's tokens as the base model takes them: what it would not have said is marked.
  const box = make("details", undefined, "taken");
  box.append(make("summary", "token by token, as the base model takes it"));
  for (const [arm, marks] of arms) {
    const line = make("pre");
    pieces.forEach((piece, place) => {
      const [look, why] = TAKEN[marks[place]] || ["", ""];
      if (!look) return line.append(piece);
      const node = make("mark", piece, look);
      node.title = why;
      line.append(node);
    });
    box.append(make("p", arm, "note"), line);
  }
  const legend = make("p", undefined, "note");
  legend.append("Unmarked: the arm's own first choice. ", make("mark", "Dotted", "near"), ": second or third. ", make("mark", "Wavy", "far"), ": neither.");
  box.append(legend);
  return box;
}

function card(row) {
  const box = make("article", undefined, "card" + (row.ok === null ? "" : row.ok ? " pass" : " fail"));
  const name = `${row.stage} · ${row.strategy} · ${row.level}` + (row.epoch ? ` · epoch ${row.epoch}` : "");
  box.append(make("h4", name));
  const verdict = row.ok === null ? "missing" : row.ok ? "passes" : "fails";
  const line = make("p", undefined, "note");
  line.append(make("span", verdict, row.ok ? "pass-word" : "fail-word"), ` · ended by ${row.finish} after ${row.tokens} tokens`);
  box.append(line);
  if (row.error) box.append(make("p", row.error));
  box.append(marked(make("pre"), row));
  if (text(row.rest)) {
    const rest = make("details");
    rest.append(make("summary", "the stop string, and what came after it"), make("pre", text(row.rest), "after"));
    box.append(rest);
  }
  if (row.taken) box.append(taken(row.taken));
  const checks = make("ul");
  for (const [id, strict, reason, places] of row.checks) {
    const entry = make("li");
    const word = strict === null ? "not judged" : strict ? "pass" : "fail";
    const where = places.length ? ` (${places.length} marked above)` : "";
    entry.append(make("span", word, strict ? "pass-word" : "fail-word"), ` ${id}: ${text(reason)}${where}`);
    checks.append(entry);
  }
  box.append(checks);
  if (text(row.prompt)) {
    const prompt = make("details");
    prompt.append(make("summary", "exact prompt"), withTokens(make("pre"), text(row.prompt)));
    box.append(prompt);
  }
  return box;
}

function open(item) {
  current = item;
  for (const button of $("items").querySelectorAll("button")) {
    const own = item && button.dataset.id === item.id;
    button.setAttribute("aria-current", own ? "true" : "false");
    if (own) $("items").scrollTop = button.offsetTop - $("items").offsetTop - 40;
  }
  if (!item) {
    $("item").replaceChildren(make("p", "No item fits these filters."));
    return;
  }
  const heading = make("h3", `${item.id} (${item.category})`);
  const question = item.messages.map(([role, content]) => {
    const turn = make("div");
    turn.append(make("strong", role), make("pre", text(content)));
    return turn;
  });
  const cards = make("div", undefined, "cards");
  cards.append(...rowsOf(item).map(card));
  $("item").replaceChildren(heading, ...question, cards);
  const hash = `#item=${encodeURIComponent(item.id)}`;
  if (location.hash !== hash && ready) history.replaceState(null, "", hash);
}

let ready = false;

function fromAddress() {
  const found = /^#item=(.*)$/.exec(location.hash);
  if (!found) return false;
  const item = data.items.find((one) => one.id === decodeURIComponent(found[1]));
  if (!item) return false;
  if (!shown.includes(item)) {
    $("filters").reset();
    list();
  }
  open(item);
  $("explorer").scrollIntoView();
  return true;
}

function step(by) {
  if (!shown.length) return;
  const place = Math.min(shown.length - 1, Math.max(0, shown.indexOf(current) + by));
  open(shown[place]);
}

function show(which) {
  $("which").value = which;
  list();
}

const KEYS = { j: () => step(1), k: () => step(-1), d: () => show("differ"), f: () => show("failed"), a: () => show(""), "/": () => $("search").focus() };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

function fill(id, values) {
  for (const value of [...new Set(values)].sort()) $(id).append(new Option(value, value));
}

unpacked().then(
  (found) => {
    data = found;
    const rows = data.items.flatMap((item) => item.rows);
    fill("category", data.items.map((item) => item.category));
    fill("check", rows.flatMap((row) => row.checks.map((c) => c[0])));
    fill("level", rows.map((row) => row.level).filter((level) => level !== "-"));
    fill("arm", rows.map(arm));
    if ($("level").options.length > 1) $("level").selectedIndex = 1;
    for (const id of ["search", "which", "category", "check", "level", "arm"]) $(id).addEventListener("input", list);
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    list();
    fromAddress();
    ready = true;
    window.addEventListener("hashchange", fromAddress);
    document.body.dataset.ready = "yes";
  },
  (error) => { $("status").textContent = `The answers cannot be unpacked here (${error}); harness show shows them in a terminal.`; },
);
