/* The lab: axes on the left, the grid of cells next to them. The server reads the values, prices and runs. */
const words = props.words;
const studio = window.studio;
const { made, set, when } = window.dom;
const find = window.dom.within(element);
const MOST_AXES = 2;
const MOST_COMPARED = 4;
const PRICE_MS = 350;
const SILENT_MS = 8000;
const MOST_FILE_BYTES = 2 ** 24;
const STUDY_KEY = "gspn-studio-study";
// Before and after a cell, in the order in which they are read.
const STEPS = { before: -1, after: 1 };
const METRICS = {
  seconds: { word: words.lab_seconds, best: Math.min },
  processor: { word: words.lab_processor, best: Math.min },
  memory: { word: words.lab_memory, best: Math.min },
  consistency: { word: words.lab_consistency, best: Math.max },
  detail: { word: words.lab_detail, best: Math.max },
  adherence: { word: words.lab_adherence, best: Math.max },
};

let study = null;
let watched = null;
let received = 0;
let metric = "seconds";
let chosen = false;
let picked = new Set();
let timer = 0;
let turn = 0;
// Of the visitor; null until the server has said.
let listed = null;

const said = (text) => {
  const line = find(".lab-said");
  line.hidden = !text;
  set(line, text || "");
};

const axes = new studio.Axes(find(".lab-axes"), {
  words,
  names: props.names,
  stages: props.stages,
  changed: () => {
    find(".lab-more").hidden = axes.count >= MOST_AXES;
    said("");
    price();
  },
});

const given = () => {
  turn += 1;
  return { turn, axes: axes.given() };
};

function price() {
  clearTimeout(timer);
  // What was priced last is no longer what would run.
  turn += 1;
  if (studio.place !== "lab") return;
  timer = setTimeout(() => trigger("price", given()), PRICE_MS);
}

function paintSetup(value) {
  if (value.turn !== turn) return;
  axes.say(value.axes);
  find(".lab-base").replaceChildren(
    ...value.base.map(([label, text]) => {
      const row = made("div");
      const value = made("dd", "", text);
      value.title = text;
      row.append(made("dt", "", label), value);
      return row;
    })
  );
  set(find(".lab-cost"), value.error || value.cost);
  find(".lab-cost").classList.toggle("error", Boolean(value.error));
  find(".lab-begin").disabled = !value.ready;
}

/* The grid */
const cells = new studio.Cells(find(".lab-grid"), { words, press: pick, enlarge, choices });

function choices(cell) {
  const list = [];
  if (cell.ref) list.push({ label: words.lab_enlarge, act: () => enlarge(cell.number) });
  if (cell.job && cell.thumb) list.push({ label: words.lab_open, act: () => studio.act("open", { job: cell.job }) });
  if (!study.own) return list;
  if (cell.state === "waiting" || cell.state === "running")
    list.push({ label: words.lab_skip, act: () => change("skip", cell.number) });
  if (cell.state === "failed" || cell.state === "skipped")
    list.push({ label: words.lab_retry, act: () => change("retry", cell.number) });
  return list;
}

function pick(number) {
  const full = !picked.has(number) && picked.size >= MOST_COMPARED;
  if (picked.has(number)) picked.delete(number);
  else if (!full) picked.add(number);
  paintStudy();
  if (full) set(find(".lab-notice"), words.lab_most);
}

function best() {
  const values = study.cells.map((cell) => cell.figures[metric][0]).filter((value) => value !== null);
  return values.length > 1 ? METRICS[metric].best(...values) : null;
}

// The sample is seen whole, and so without a plot below it.
const paintPlot = () => studio.labPlot(find(".lab-plot"), study?.is_sample ? null : study, metric, METRICS[metric].word);

function offerMetrics() {
  // A figure that no cell can have is not offered.
  for (const option of select.options) {
    const has = study.cells.some((cell) => cell.figures[option.value][0] !== null);
    const tells = { adherence: study.tells_adherence, processor: study.tells_processor }[option.value];
    option.hidden = option.disabled = study.is_sample ? !has : tells === false;
  }
  if (select.querySelector(`[value="${metric}"]`).disabled)
    select.value = metric = study.is_sample ? "adherence" : "seconds";
  // Whatever else the machine does makes a run longer, and not the work of its cores.
  if (metric === "seconds" && study.tells_processor && !chosen) select.value = metric = "processor";
}

/* The grid that comes with the page stands here until the visitor has one. */
function offerSample() {
  const fits = Boolean(props.sample) && !watched && listed?.length === 0;
  if (study?.is_sample && !fits) study = null;
  else if (!study && fits) study = props.sample;
}

function paintStudy() {
  offerSample();
  const there = Boolean(study);
  find(".lab-bar").hidden = !there;
  find(".lab-progress").hidden = !there || study.state !== "running";
  find(".lab-empty").hidden = there;
  find(".lab-scroll").hidden = !there;
  set(find(".lab-notice"), there ? study.notice : "");
  if (!there) {
    paintPlot();
    return;
  }
  set(find(".lab-name b"), study.title);
  set(find(".lab-name span"), `${study.state_word} · ${study.count}`);
  find(".lab-progress i").style.transform = `scaleX(${study.progress})`;
  find(".lab-stop").hidden = !study.own || study.state !== "running";
  find(".lab-resume").hidden = !study.own || study.state !== "stopped";
  const isSample = Boolean(study.is_sample);
  find(".lab-adopt").hidden = !isSample;
  find(".lab-grid").classList.toggle("sample", isSample);
  find(".lab-sheet").hidden = find(".lab-export").hidden = isSample;
  const compare = find(".lab-compare");
  compare.hidden = picked.size < 2;
  offerMetrics();
  set(compare, `${words.lab_compare} ${picked.size}`);
  cells.paint(study, { metric, picked, best: best() });
  paintPlot();
}

const large = new studio.Large(find(".lab-large"), {
  ask: (number) => trigger("enlarge", { ref: study.cells[number].ref }),
  tell: (number) => [`${study.title}: ${study.cells[number].label}`, study.cells[number].figures[metric][1]],
  next: (number, key) => {
    if (key in STEPS) {
      let at = number + STEPS[key];
      while (study.cells[at] && !study.cells[at].ref) at += STEPS[key];
      return study.cells[at] ? at : null;
    }
    const to = cells.next(number, key);
    return to !== null && study.cells[to].ref ? to : null;
  },
  left: (number) => study?.cells[number] && cells.focus(number),
});

function enlarge(number) {
  if (study.cells[number].ref) large.open(number);
}

/* Which study is shown */
function look(id) {
  if (watched !== id) picked = new Set();
  watched = id;
  received = performance.now();
  try {
    localStorage.setItem(STUDY_KEY, id);
  } catch {
    /* The address remembers it as well. */
  }
  if (studio.place === "lab") studio.address({ study: id });
  trigger("watch", { study: id });
  paintList();
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

/* A stream that broke off while the device slept is taken up again. */
function reattach() {
  if (study?.state === "running" && performance.now() - received > SILENT_MS) look(watched);
}

const change = (what, cell = null) => trigger("change_study", { study: study.id, what, cell });

function paintList() {
  const list = find(".lab-past");
  const at = [...list.querySelectorAll("button")].indexOf(document.activeElement);
  find(".lab-past-title").hidden = !listed?.length;
  list.replaceChildren(
    ...(listed || []).map((one) => {
      const item = made("li");
      const open = made("button", "lab-past-open");
      open.type = "button";
      if (one.id === watched) open.setAttribute("aria-current", "true");
      open.append(made("b", "", one.title), made("span", "", `${one.state} · ${one.count} · ${when(one.created)}`));
      open.addEventListener("click", () => look(one.id));
      const remove = made("button", "lab-past-remove", "×");
      remove.type = "button";
      remove.title = words.lab_forget;
      remove.setAttribute("aria-label", `${words.lab_forget}: ${one.title}, ${when(one.created)}`);
      remove.addEventListener("click", () => trigger("change_study", { study: one.id, what: "remove" }));
      item.append(open, remove);
      return item;
    })
  );
  const buttons = list.querySelectorAll("button");
  if (at >= 0) (buttons[Math.min(at, buttons.length - 1)] || find(".lab-axis-text")).focus({ preventScroll: true });
}

async function save({ url, name }) {
  const answer = await fetch(url);
  if (answer.ok) hand(await answer.blob(), name);
}

function hand(blob, name) {
  const link = made("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function take(next) {
  received = performance.now();
  const ended = study?.id === next.id && study.state === "running" && next.state !== "running";
  study = next;
  picked = new Set([...picked].filter((number) => study.cells[number]?.ref));
  paintStudy();
  if (!ended) return;
  trigger("studies");
  // What has run need not run again.
  price();
}

function paint() {
  const value = props.value || {};
  if (value.kind === "setup") paintSetup(value);
  else if (value.kind === "list") {
    listed = value.studies;
    paintList();
    paintStudy();
  } else if (value.kind === "begun") {
    said("");
    find(".lab-begin").disabled = false;
    look(value.id);
    trigger("studies");
  } else if (value.kind === "adopted") {
    axes.set(value.axes);
    find(".lab-axis-text").focus();
  } else if (value.kind === "archive") {
    find(".lab-export").disabled = false;
    save(value);
  } else if (value.kind === "card") large.take(value, (number) => study?.cells[number]?.ref === value.ref);
  else if (value.kind === "said") {
    find(".lab-export").disabled = false;
    said(value.said);
  } else if (value.kind === "study" && value.study.id === watched) take(value.study);
  if (value.lost) leave(value.lost);
}

find(".lab-more").addEventListener("click", () => {
  axes.add(axes.given()[0].name === "seed" ? "upscale_strength" : "seed").focus();
});
find(".lab-begin").addEventListener("click", (event) => {
  // One press, one study; the answer gives the button back.
  event.currentTarget.disabled = true;
  clearTimeout(timer);
  trigger("begin", given());
});
/* Of a grid's file only its settings and axes are sent. */
async function openFile(file) {
  let grid = null;
  try {
    if (file.size <= MOST_FILE_BYTES) grid = JSON.parse(await file.text());
  } catch {
    /* It cannot be read as JSON. */
  }
  if (!grid?.base || !Array.isArray(grid.axes)) said(words.lab_not_grid);
  else trigger("open_grid", { base: grid.base, axes: grid.axes });
}

find(".lab-open-file").addEventListener("click", () => find(".lab-file").click());
find(".lab-file").addEventListener("change", (event) => {
  const [file] = event.currentTarget.files;
  if (file) openFile(file);
  event.currentTarget.value = "";
});
find(".lab-adopt").addEventListener("click", () => trigger("adopt"));
find(".lab-stop").addEventListener("click", () => change("stop"));
find(".lab-resume").addEventListener("click", () => change("resume"));
find(".lab-export").addEventListener("click", (event) => {
  event.currentTarget.disabled = true;
  trigger("archive", { study: study.id });
});
find(".lab-sheet").addEventListener("click", async (event) => {
  const button = event.currentTarget;
  button.disabled = true;
  try {
    const sheet = await studio.contactSheet(study, { metric, word: METRICS[metric].word });
    hand(sheet, `gspn-grid-${study.id.slice(0, 8)}.png`);
  } finally {
    button.disabled = false;
  }
});
find(".lab-compare").addEventListener("click", () => {
  const items = [...picked].map((number) => study.cells[number].ref);
  studio.go("compare", { items });
});
const select = find(".lab-pick select");
select.append(...Object.entries(METRICS).map(([name, { word }]) => new Option(word, name)));
select.addEventListener("change", () => {
  metric = select.value;
  chosen = true;
  if (study) paintStudy();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) reattach();
});
window.addEventListener("online", reattach);

axes.add("upscale_strength");
find(".lab-presets").prepend(
  ...props.presets.map(([label, list]) => {
    const button = made("button", "lab-preset", label);
    button.type = "button";
    button.addEventListener("click", () => axes.set(list));
    return button;
  })
);
studio.onPlace("lab", (detail) => {
  const asked = detail.study || new URLSearchParams(window.location.search).get("study");
  let kept = null;
  try {
    kept = localStorage.getItem(STUDY_KEY);
  } catch {
    /* Nothing is remembered. */
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
