/* The lab: axes on the left, the grid of cells beside them. The server reads the values, prices and runs. */
const words = props.words;
const studio = window.studio;
const find = (selector) => element.querySelector(selector);
const MOST_AXES = 2;
const MOST_COMPARED = 4;
const PRICE_MS = 350;
const STUDY_KEY = "gspn-studio-study";
const METRICS = {
  seconds: { word: words.lab_seconds, best: Math.min },
  memory: { word: words.lab_memory, best: Math.min },
  consistency: { word: words.lab_consistency, best: Math.max },
  detail: { word: words.lab_detail, best: Math.max },
};

let axes = [{ name: "upscale_strength", stage: "", text: "" }];
let study = null;
let watched = null;
let metric = "seconds";
let picked = new Set();
let timer = 0;
let offered = false;

const set = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};
const made = (kind, name, text = "") => {
  const node = document.createElement(kind);
  if (name) node.className = name;
  if (text) node.textContent = text;
  return node;
};
const option = (value, text) => {
  const node = made("option", "", text);
  node.value = value;
  return node;
};
const said = (text) => {
  const line = find(".lab-said");
  line.hidden = !text;
  set(line, text || "");
};

/* Axes */
const about = (name) => props.names.find(([one]) => one === name);

function buildAxis(index) {
  const axis = axes[index];
  const group = made("fieldset", "lab-axis");
  const legend = made("legend", "", index < axes.length - 1 ? words.lab_down : words.lab_across);
  const row = made("div", "lab-axis-row");
  const name = made("select", "lab-axis-name");
  name.setAttribute("aria-label", words.lab_setting);
  name.append(...props.names.map(([value, label]) => option(value, label)));
  name.value = axis.name;
  const stage = made("select", "lab-axis-stage");
  stage.setAttribute("aria-label", words.lab_stage);
  stage.append(option("", words.lab_all_stages), ...props.stages.map((px) => option(String(px), `${px} px`)));
  stage.value = axis.stage;
  stage.disabled = !about(axis.name)[3];
  row.append(name, stage);
  const text = made("textarea", "lab-axis-text");
  text.rows = 2;
  text.spellcheck = false;
  text.value = axis.text;
  text.placeholder = about(axis.name)[2];
  text.setAttribute("aria-label", words.lab_values);
  const count = made("p", "lab-axis-count");
  group.append(legend, row, text, count);
  name.addEventListener("change", () => {
    axes[index] = { name: name.value, stage: "", text: "" };
    paintAxes();
    price();
    element.querySelectorAll(".lab-axis-text")[index].focus();
  });
  stage.addEventListener("change", () => {
    axis.stage = stage.value;
    price();
  });
  text.addEventListener("input", () => {
    axis.text = text.value;
    price();
  });
  if (index) {
    const remove = made("button", "lab-axis-remove", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", words.lab_remove_axis);
    remove.title = words.lab_remove_axis;
    remove.addEventListener("click", () => {
      axes.splice(index, 1);
      paintAxes();
      price();
    });
    legend.append(remove);
  }
  return group;
}

function paintAxes() {
  find(".lab-axes").replaceChildren(...axes.map((_, index) => buildAxis(index)));
  find(".lab-more").hidden = axes.length >= MOST_AXES;
}

function price() {
  clearTimeout(timer);
  timer = setTimeout(() => trigger("price", { axes }), PRICE_MS);
}

function paintSetup(value) {
  value.axes.forEach((told, index) => {
    const line = element.querySelectorAll(".lab-axis-count")[index];
    if (!line) return;
    set(line, told.error || told.count);
    line.classList.toggle("error", Boolean(told.error));
  });
  find(".lab-base").replaceChildren(
    ...value.base.map(([label, text]) => {
      const row = made("div");
      row.append(made("dt", "", label), made("dd", "", text));
      return row;
    })
  );
  set(find(".lab-cost"), value.error || value.cost);
  find(".lab-cost").classList.toggle("error", Boolean(value.error));
  find(".lab-begin").disabled = !value.ready;
}

/* The grid */
function best() {
  const values = study.cells.map((cell) => cell.figures[metric][0]).filter((value) => value !== null);
  return values.length > 1 ? METRICS[metric].best(...values) : null;
}

function buildCell(number) {
  const cell = made("td");
  cell.innerHTML =
    '<button type="button" class="lab-cell"><span class="lab-thumb"><img alt="" draggable="false" hidden></span>' +
    '<span class="lab-word"></span><span class="lab-figure"></span><span class="lab-meter"><i></i></span></button>' +
    '<button type="button" class="lab-cell-more">⋯</button>';
  cell.querySelector(".lab-cell").addEventListener("click", () => pick(number));
  cell.querySelector(".lab-cell-more").addEventListener("click", (event) => offer(event.currentTarget, number));
  return cell;
}

function paintCell(node, cell, top) {
  node.className = cell.state;
  const press = node.querySelector(".lab-cell");
  const image = node.querySelector("img");
  image.hidden = !cell.thumb;
  if (cell.thumb && image.getAttribute("src") !== cell.thumb) image.src = cell.thumb;
  const [value, text] = cell.figures[metric];
  set(node.querySelector(".lab-word"), cell.thumb && cell.state !== "failed" ? "" : cell.word);
  set(node.querySelector(".lab-figure"), cell.state === "done" ? text : "");
  node.classList.toggle("best", value !== null && value === top);
  node.querySelector(".lab-meter i").style.transform = `scaleX(${cell.state === "running" ? cell.progress : 0})`;
  press.disabled = !cell.ref;
  press.setAttribute("aria-pressed", String(picked.has(cell.number)));
  press.setAttribute("aria-label", `${cell.label}: ${cell.word}${cell.state === "done" ? `, ${text}` : ""}`);
  const more = node.querySelector(".lab-cell-more");
  more.setAttribute("aria-label", `${words.lab_cell_more}: ${cell.label}`);
  more.hidden = !choices(cell).length;
}

function choices(cell) {
  const list = [];
  if (cell.job && cell.thumb) list.push({ label: words.lab_open, act: () => studio.act("open", { job: cell.job }) });
  if (!study.own) return list;
  if (cell.state === "waiting" || cell.state === "running")
    list.push({ label: words.lab_skip, act: () => change("skip", cell.number) });
  if (cell.state === "failed" || cell.state === "skipped")
    list.push({ label: words.lab_retry, act: () => change("retry", cell.number) });
  return list;
}

function offer(anchor, number) {
  const list = choices(study.cells[number]);
  if (studio.menu) studio.menu(anchor, list);
  else if (list.length) list[0].act();
}

function pick(number) {
  if (picked.has(number)) picked.delete(number);
  else if (picked.size < MOST_COMPARED) picked.add(number);
  paintStudy();
}

function paintGrid() {
  const table = find(".lab-grid");
  const [head, body] = [table.tHead, table.tBodies[0]];
  const shape = `${study.id} ${study.rows.length} ${study.columns.length}`;
  if (table.dataset.shape !== shape) {
    table.dataset.shape = shape;
    const row = made("tr");
    const sided = study.rows.length > 1 || study.down;
    if (sided) row.append(made("td", "lab-corner"));
    for (const text of study.columns) {
      const cell = made("th", "", text);
      cell.scope = "col";
      row.append(cell);
    }
    head.replaceChildren(row);
    body.replaceChildren(
      ...study.rows.map((text, at) => {
        const line = made("tr");
        if (sided) {
          const side = made("th", "", text);
          side.scope = "row";
          line.append(side);
        }
        line.append(...study.columns.map((_, column) => buildCell(at * study.columns.length + column)));
        return line;
      })
    );
    if (sided) set(head.querySelector(".lab-corner"), `${study.down} ↓ ${study.across} →`);
  }
  const top = best();
  const nodes = [...body.querySelectorAll("td")];
  study.cells.forEach((cell, number) => paintCell(nodes[number], cell, top));
}

const SVG = "http://www.w3.org/2000/svg";
function paintPlot() {
  const figure = find(".lab-plot");
  const values = study.cells.map((cell) => cell.figures[metric][0]);
  const known = values.filter((value) => value !== null);
  const numbers = study.numbers;
  figure.hidden = !numbers || known.length < 2;
  if (figure.hidden) return;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const [first, last] = [Math.min(...numbers), Math.max(...numbers)];
  const x = (value) => 6 + ((value - first) / (last - first || 1)) * 388;
  const y = (value) => 112 - ((value - low) / (high - low || 1)) * 104;
  const lines = study.rows.map((_, row) => {
    const path = document.createElementNS(SVG, "path");
    const points = numbers
      .map((number, column) => [number, values[row * numbers.length + column]])
      .filter((point) => point[1] !== null)
      .sort((one, other) => one[0] - other[0]);
    path.setAttribute("d", points.map(([a, b], at) => `${at ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join(""));
    path.style.opacity = String(1 - (0.65 * row) / Math.max(1, study.rows.length - 1 || 1));
    return path;
  });
  figure.querySelector("svg").replaceChildren(...lines);
  const text = (value) => study.cells.find((cell) => cell.figures[metric][0] === value).figures[metric][1];
  set(figure.querySelector("figcaption"), `${METRICS[metric].word}: ${text(low)} – ${text(high)}`);
  const ends = figure.querySelectorAll(".lab-plot-ends span");
  set(ends[0], `${study.across} ${first}`);
  set(ends[1], String(last));
}

function paintStudy() {
  const there = Boolean(study);
  find(".lab-bar").hidden = !there;
  find(".lab-progress").hidden = !there || study.state !== "running";
  find(".lab-empty").hidden = there;
  find(".lab-scroll").hidden = !there;
  if (!there) {
    find(".lab-plot").hidden = true;
    set(find(".lab-notice"), "");
    return;
  }
  set(find(".lab-name b"), study.title);
  set(find(".lab-name span"), `${study.state_word} · ${study.count}`);
  set(find(".lab-notice"), study.notice);
  find(".lab-progress i").style.transform = `scaleX(${study.progress})`;
  find(".lab-stop").hidden = !study.own || study.state !== "running";
  find(".lab-resume").hidden = !study.own || study.state !== "stopped";
  const compare = find(".lab-compare");
  compare.hidden = picked.size < 2;
  set(compare, `${words.lab_compare} ${picked.size}`);
  paintGrid();
  paintPlot();
}

/* Which study is shown */
function look(id) {
  watched = id;
  try {
    localStorage.setItem(STUDY_KEY, id);
  } catch {
    /* The address remembers it as well. */
  }
  if (studio.place === "lab") studio.address({ study: id });
  trigger("watch", { study: id });
}

function leave(id) {
  if (watched !== id) return;
  watched = study = null;
  picked = new Set();
  try {
    localStorage.removeItem(STUDY_KEY);
  } catch {
    /* Nothing was remembered there. */
  }
  studio.address({ study: null });
  paintStudy();
}

const change = (what, cell = null) => trigger("change_study", { study: study.id, what, cell });

function paintList(studies) {
  find(".lab-past-title").hidden = !studies.length;
  find(".lab-past").replaceChildren(
    ...studies.map((one) => {
      const item = made("li");
      const open = made("button", "lab-past-open");
      open.type = "button";
      open.append(made("b", "", one.title), made("span", "", `${one.state} · ${one.count}`));
      open.addEventListener("click", () => {
        picked = new Set();
        look(one.id);
      });
      const remove = made("button", "lab-past-remove", "×");
      remove.type = "button";
      remove.title = words.lab_forget;
      remove.setAttribute("aria-label", `${words.lab_forget}: ${one.title}`);
      remove.addEventListener("click", () => trigger("change_study", { study: one.id, what: "remove" }));
      item.append(open, remove);
      return item;
    })
  );
}

async function save({ url, name }) {
  const answer = await fetch(url);
  if (!answer.ok) return;
  const link = made("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function paint() {
  const value = props.value || {};
  if (value.kind === "setup") {
    paintSetup(value);
    said("");
  } else if (value.kind === "list") paintList(value.studies);
  else if (value.kind === "begun") {
    said("");
    if (watched !== value.id) picked = new Set();
    look(value.id);
    trigger("studies");
  } else if (value.kind === "archive") save(value);
  else if (value.kind === "said") said(value.said);
  else if (value.kind === "study" && value.study.id === watched) {
    const ended = study && study.id === watched && study.state === "running" && value.study.state !== "running";
    study = value.study;
    picked = new Set([...picked].filter((number) => study.cells[number]?.ref));
    paintStudy();
    if (ended) trigger("studies");
  }
  if (value.lost) leave(value.lost);
}

find(".lab-more").addEventListener("click", () => {
  axes.push({ name: "seed", stage: "", text: "" });
  paintAxes();
  price();
  element.querySelectorAll(".lab-axis-text")[axes.length - 1].focus();
});
find(".lab-begin").addEventListener("click", () => trigger("begin", { axes }));
find(".lab-stop").addEventListener("click", () => change("stop"));
find(".lab-resume").addEventListener("click", () => change("resume"));
find(".lab-export").addEventListener("click", () => trigger("archive", { study: study.id }));
find(".lab-compare").addEventListener("click", () => {
  const items = [...picked].map((number) => study.cells[number].ref);
  studio.go("compare", { items });
});
const select = find(".lab-pick select");
select.append(...Object.entries(METRICS).map(([name, { word }]) => option(name, word)));
select.addEventListener("change", () => {
  metric = select.value;
  if (study) paintStudy();
});

find(".lab-grid").addEventListener("keydown", (event) => {
  const cells = [...element.querySelectorAll(".lab-cell")];
  const at = cells.indexOf(event.target);
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -study.columns.length, ArrowDown: study.columns.length };
  if (at < 0 || !(event.key in moves)) return;
  event.preventDefault();
  const step = moves[event.key];
  for (let to = at + step; to >= 0 && to < cells.length; to += step)
    if (!cells[to].disabled) {
      cells[to].focus();
      return;
    }
});

studio.onPlace("lab", (detail) => {
  const asked = detail.study || new URLSearchParams(window.location.search).get("study");
  let kept = null;
  try {
    kept = localStorage.getItem(STUDY_KEY);
  } catch {
    /* Nothing is remembered. */
  }
  if (!offered) {
    offered = true;
    paintAxes();
  }
  price();
  trigger("studies");
  const id = asked || watched || kept;
  if (id && (id !== watched || !study)) look(id);
  else if (id) studio.address({ study: id });
  paintStudy();
});

watch("value", paint);
paint();
