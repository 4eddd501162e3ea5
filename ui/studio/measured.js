/* Time and memory against the picture's size, in the run's panel: what was measured here, and the button for more. */
const { svg: make } = window.dom;
const FOLD_KEY = "gspn-studio-measured";
const WAIT_MS = 1500;
const POLL_MS = 700;
const words = props.words;
const part = element.querySelector(".measured");
const find = window.dom.within(part);
let kind = "seconds";
let timer = 0;
let stages = "";

function cell(name, text, scope) {
  const node = document.createElement(name);
  node.textContent = text;
  if (scope) node.scope = scope;
  return node;
}

function drawPlot({ lines, up, across }, [left, right]) {
  const parts = [];
  for (const [y, text] of up) {
    parts.push(make("path", { class: "grid", d: `M${left} ${y}H${right}` }), make("text", { x: left - 6, y: y + 4, class: "up" }, text));
  }
  for (const [x, text] of across) parts.push(make("text", { x, y: 124, class: "across" }, text));
  for (const [mixer, { path, dots }] of Object.entries(lines).reverse()) {
    const line = make("g", { class: `of-${mixer}` });
    if (path) line.append(make("path", { d: path }));
    for (const [cx, cy] of dots) line.append(make("circle", { cx, cy, r: 2.2 }));
    parts.push(line);
  }
  find("svg").replaceChildren(...parts);
}

function drawTable({ columns, rows }) {
  const head = document.createElement("tr");
  head.append(...columns.map((text) => cell("th", text, "col")));
  find("thead").replaceChildren(head);
  find("tbody").replaceChildren(
    ...rows.map(([name, ...figures]) => {
      const row = document.createElement("tr");
      row.append(cell("th", name, "row"), ...figures.map((text) => cell("td", text || "–")));
      return row;
    })
  );
}

function drawNames(mixers) {
  find(".measured-names").replaceChildren(
    ...mixers.map(([name, label]) => {
      const item = cell("li", label);
      item.className = `of-${name}`;
      return item;
    })
  );
}

function paintProgress({ possible, progress }) {
  const bar = find(".measured-progress");
  const held = document.activeElement;
  find(".measured-begin").hidden = !possible || Boolean(progress);
  find(".measured-end").hidden = bar.hidden = !progress;
  if (progress) {
    bar.querySelector("span").textContent = progress.text;
    bar.querySelector("b").style.transform = `scaleX(${progress.share})`;
  }
  // The button that was pressed gives way to the other; the keyboard stays with it.
  if (held === find(".measured-begin") && progress) find(".measured-end").focus();
  if (held === find(".measured-end") && !progress) find(".measured-begin").focus();
}

function paint() {
  const value = props.value || {};
  part.hidden = !value.ready;
  if (!value.ready) return;
  paintProgress(value);
  find(".measured-said").textContent = value.said || "";
  const { plots } = value;
  find(".measured-empty").hidden = Boolean(plots) || !value.possible;
  for (const selector of [".measured-kinds", ".measured-plot", ".measured-figures"]) find(selector).hidden = !plots;
  for (const button of find(".measured-kinds").children) button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
  if (!plots) return;
  drawPlot(plots[kind], value.box);
  drawTable(plots[kind]);
  drawNames(value.mixers);
  const label = kind === "seconds" ? words.measured_seconds_long : words.measured_memory_long;
  find("svg").setAttribute("aria-label", `${label}. ${value.summary}`);
  find("figcaption").textContent = [kind === "seconds" ? value.summary : "", value.where].filter(Boolean).join(" ");
  find(".measured-note").textContent = [`${label}.`, value.note].filter(Boolean).join(" ");
}

function next() {
  clearTimeout(timer);
  const value = props.value || {};
  if (!value.progress) return;
  timer = setTimeout(() => {
    trigger("refresh");
    // An answer that equals the last one changes nothing and calls no watcher, so the next poll is due already.
    next();
  }, POLL_MS);
}

function place() {
  const panel = document.querySelector(".panel");
  if (!panel) return false;
  panel.append(part);
  return true;
}

for (const button of find(".measured-kinds").children) {
  button.addEventListener("click", () => {
    kind = button.dataset.kind;
    paint();
  });
}
find(".measured-begin").addEventListener("click", () => trigger("begin"));
find(".measured-end").addEventListener("click", () => trigger("end"));
/* On a phone it is view_after until it is asked for. */
const kept = localStorage.getItem(FOLD_KEY);
part.open = kept ? kept === "open" : !matchMedia("(width <= 760px)").matches;
/* The click comes before the change. */
find("summary").addEventListener("click", () => localStorage.setItem(FOLD_KEY, part.open ? "view_after" : "open"));

/* A stage that is done has taught something. */
window.addEventListener("studio:run", () => {
  const run = window.studio.run;
  const now = run ? `${run.job} ${run.stages.filter((stage) => stage.done).length}` : "";
  if (now === stages) return;
  stages = now;
  setTimeout(() => trigger("refresh"), 300);
});

watch("value", () => {
  paint();
  next();
});
const seeking = setInterval(() => place() && clearInterval(seeking), 100);
if (place()) clearInterval(seeking);
paint();
setTimeout(() => trigger("refresh"), WAIT_MS);
