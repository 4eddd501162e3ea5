/* Draws into each slider's own block what it decides, or why it decides nothing; asks again as the form changes. */
const { svg: make } = window.dom;
const WAIT_MS = 1500;
let timer = 0;
let latest = 0;

function place(name) {
  const field = document.getElementById(`field-${name}`);
  if (!field) return null;
  let figure = field.querySelector(".slider-curve");
  if (figure) return figure;
  figure = document.createElement("figure");
  figure.className = "slider-curve";
  const svg = make("svg", { viewBox: "0 0 72 22", role: "img", preserveAspectRatio: "none" });
  const said = document.createElement("figcaption");
  said.id = `curve-${name}`;
  figure.append(svg, said);
  field.append(figure);
  return figure;
}

function draw(figure, { path, line, marks, track, fill, said }) {
  const svg = figure.querySelector("svg");
  const parts = [];
  if (track) parts.push(make("path", { class: "track", d: `M${track[0]} 11H${track[1]}` }));
  if (fill) parts.push(make("path", { class: "fill", d: `M${fill[0]} 11H${fill[1]}` }));
  if (line !== null) parts.push(make("path", { class: "least", d: `M2 ${line}H70` }));
  if (path) parts.push(make("path", { class: "curve-line", d: path }));
  for (const [cx, cy] of marks) parts.push(make("circle", { cx, cy, r: 1.6 }));
  svg.replaceChildren(...parts);
  svg.setAttribute("aria-label", said);
  figure.title = said;
  figure.querySelector("figcaption").textContent = said;
}

/* A slider that does nothing can be set beforehand, so it is dimmed and not disabled. */
function mark(field, reason) {
  const name = field.id.replace("field-", "");
  let line = field.querySelector(".slider-idle");
  if (!line && reason) {
    line = document.createElement("p");
    line.className = "slider-idle";
    line.id = `idle-${name}`;
    field.append(line);
  }
  if (line) {
    line.hidden = !reason;
    if (line.textContent !== (reason || "")) line.textContent = reason || "";
  }
  field.classList.toggle("idle", Boolean(reason));
  const curve = field.querySelector(".slider-curve:not([hidden]) figcaption");
  const said = reason ? line.id : curve?.id;
  for (const input of field.querySelectorAll("input[type=range], input[type=number]")) {
    if (said) input.setAttribute("aria-describedby", said);
    else input.removeAttribute("aria-describedby");
  }
}

function paint() {
  const value = props.value || {};
  // An answer to what the form held before.
  if (value.asked && value.asked < latest) return;
  latest = value.asked || latest;
  paintCurves(value);
  for (const field of document.querySelectorAll("#fields .field")) {
    mark(field, (value.idle || {})[field.id.replace("field-", "")]);
  }
}

function paintCurves(value) {
  if (value.wait) {
    ask(WAIT_MS);
    return;
  }
  const curves = value.curves || {};
  for (const figure of document.querySelectorAll(".slider-curve")) {
    const name = figure.parentElement.id.replace("field-", "");
    figure.hidden = !curves[name];
  }
  for (const [name, curve] of Object.entries(curves)) {
    const figure = place(name);
    if (!figure) continue;
    figure.hidden = false;
    draw(figure, curve);
  }
}

/* The server sends curves with every change of the form; they are asked for until the model is there. */
function ask(after) {
  clearTimeout(timer);
  timer = setTimeout(() => trigger("ask"), after);
}

watch("value", paint);
ask(0);
