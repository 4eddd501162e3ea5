/* The visitor's own runs as a grid of pictures. The server tells what there is; a press is shown at once. */
const words = props.words;
const { attribute, set } = window.dom;
const find = window.dom.within(element);
const grid = find(".history-grid");
const search = find(".history-search");
const starred = find(".history-starred");
const picked = new Map();
const PAGE = 60;
const MOST_COMPARED = 4;

let limit = PAGE;
let asked = false;
let followed = "";

const said = (template, values) => template.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const shown = () => ({ query: search.value, starred: starred.getAttribute("aria-pressed") === "true", limit });
const send = (name, what = {}) => trigger(name, { ...shown(), ...what });
const refresh = () => {
  asked = true;
  send("refresh");
};

function when(seconds) {
  const date = new Date(seconds * 1000);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const now = new Date();
  if (now.toDateString() === date.toDateString()) return time;
  const year = now.getFullYear() === date.getFullYear() ? {} : { year: "numeric" };
  return `${date.toLocaleDateString([], { day: "numeric", month: "short", ...year })} ${time}`;
}

function build(id) {
  const item = document.createElement("li");
  item.dataset.run = id;
  item.innerHTML =
    '<a class="run-picture"><img alt="" loading="lazy" decoding="async" draggable="false"><span class="run-blank"></span></a>' +
    '<label class="run-pick"><input type="checkbox"><span aria-hidden="true"></span></label>' +
    '<button type="button" class="run-star"><svg viewBox="0 0 20 20" aria-hidden="true">' +
    '<path d="m10 2.600 2.200 4.700 5.100.650-3.750 3.500.970 5.050L10 14l-4.520 2.500.970-5.050L2.700 7.950l5.100-.650z"/></svg></button>' +
    '<span class="run-state"></span>' +
    '<p class="run-prompt"></p><p class="run-facts"></p>' +
    '<input type="text" class="run-note" maxlength="500" autocomplete="off">' +
    '<div class="run-tools"><time></time><button type="button" class="run-resume"></button>' +
    '<button type="button" class="run-init-image"></button>' +
    '<button type="button" class="run-delete"></button></div>' +
    '<div class="run-sure" role="group" hidden><span></span><button type="button" class="run-yes"></button>' +
    '<button type="button" class="run-no"></button></div>';
  const part = (selector) => item.querySelector(selector);
  const open = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    window.studio.act("open", { job: id });
  };
  part(".run-picture").href = `?job=${encodeURIComponent(id)}`;
  part(".run-picture").addEventListener("click", open);
  part(".run-pick input").addEventListener("change", (event) => pick(item, event.currentTarget.checked));
  part(".run-star").addEventListener("click", (event) => {
    const on = event.currentTarget.getAttribute("aria-pressed") !== "true";
    event.currentTarget.setAttribute("aria-pressed", String(on));
    send("annotate", { job: id, favourite: on });
  });
  const note = part(".run-note");
  note.placeholder = words.history_note;
  note.addEventListener("change", () => send("annotate", { job: id, note: note.value }));
  note.addEventListener("keydown", (event) => {
    if (event.key === "Escape") note.value = note.defaultValue;
    if (event.key === "Enter" || event.key === "Escape") note.blur();
  });
  set(part(".run-init-image"), words.history_init_image);
  part(".run-init-image").addEventListener("click", () =>
    window.studio.act("init_image", { job: id, stage: Number(item.dataset.stage) })
  );
  set(part(".run-resume"), words.history_resume);
  part(".run-resume").addEventListener("click", () => window.studio.act("resume", { job: id }));
  const ask = (on) => {
    part(".run-sure").hidden = !on;
    part(".run-tools").hidden = on;
    part(on ? ".run-no" : ".run-delete").focus();
  };
  set(part(".run-delete"), words.history_delete);
  set(part(".run-sure span"), words.history_sure);
  set(part(".run-yes"), words.history_delete);
  set(part(".run-no"), words.history_keep);
  part(".run-delete").addEventListener("click", () => ask(true));
  part(".run-no").addEventListener("click", () => ask(false));
  part(".run-sure").addEventListener("keydown", (event) => event.key === "Escape" && ask(false));
  part(".run-yes").addEventListener("click", () => {
    picked.delete(id);
    const runs = [...grid.querySelectorAll(":scope > :not(.run-grid)")];
    const at = runs.indexOf(item);
    (runs[at + 1] || runs[at - 1])?.querySelector(".run-picture").focus();
    item.classList.add("going");
    send("remove", { job: id });
  });
  return item;
}

function paintRun(item, run) {
  const part = (selector) => item.querySelector(selector);
  item.classList.remove("going");
  item.dataset.state = run.state;
  item.classList.toggle("of-grid", Boolean(run.group));
  const image = part("img");
  image.hidden = !run.thumb;
  if (run.thumb) attribute(image, "src", run.thumb);
  image.alt = run.thumb ? run.prompt : "";
  attribute(part(".run-picture"), "aria-label", said(words.history_open, { prompt: run.prompt }));
  set(part(".run-blank"), run.thumb ? "" : words.history_blank);
  set(part(".run-state"), run.state === "done" ? "" : run.state_word);
  set(part(".run-prompt"), run.prompt);
  attribute(part(".run-prompt"), "title", run.prompt);
  set(part(".run-facts"), run.facts.map((fact) => (/^[\d.,]+ \S+$/.test(fact) ? fact.replace(" ", "\u00a0") : fact)).join(" · "));
  attribute(part("time"), "datetime", new Date(run.created * 1000).toISOString());
  set(part("time"), when(run.created));
  const star = part(".run-star");
  attribute(star, "aria-pressed", String(run.favourite));
  attribute(star, "aria-label", said(words.history_star, { prompt: run.prompt }));
  const note = part(".run-note");
  attribute(note, "aria-label", said(words.history_note_of, { prompt: run.prompt }));
  if (document.activeElement !== note && note.value !== run.note) note.value = run.note;
  note.defaultValue = run.note;
  attribute(part(".run-pick"), "title", words.history_pick);
  attribute(part(".run-pick input"), "aria-label", said(words.history_pick_of, { prompt: run.prompt }));
  part(".run-pick").hidden = run.stage === null || !window.studio.has("compare");
  part(".run-pick input").checked = picked.has(run.id);
  if (picked.has(run.id)) picked.set(run.id, `${run.id}.${run.stage}`);
  item.dataset.stage = run.stage ?? "";
  part(".run-resume").hidden = !run.resumable;
  part(".run-init-image").hidden = run.stage === null || run.live;
  part(".run-delete").hidden = run.live;
}

/* The line over the runs of a grid or a batch, which leads to it. */
function buildGroup(id, group) {
  const item = document.createElement("li");
  item.className = "run-grid";
  item.dataset.run = `group ${id}`;
  item.innerHTML = '<span></span> <b></b> <button type="button"></button>';
  const [kind, open] = group.study ? [words.history_grid, words.history_grid_open] : [words.history_batch, words.history_batch_open];
  set(item.querySelector("span"), kind);
  set(item.querySelector("button"), open);
  item.querySelector("button").addEventListener("click", () => {
    if (group.study) window.studio.go("lab", { study: group.study });
    else window.studio.act("open", { job: group.job });
  });
  return item;
}

/* The runs in their order, each group under its line. */
function listed(value) {
  const list = [];
  value.runs.forEach((run, index) => {
    if (run.group && run.group !== value.runs[index - 1]?.group) list.push({ id: `group ${run.group}`, ...value.groups[run.group] });
    list.push(run);
  });
  return list;
}

function pick(item, on) {
  if (on) picked.set(item.dataset.run, `${item.dataset.run}.${item.dataset.stage}`);
  else picked.delete(item.dataset.run);
  paintPicked();
}

function paintPicked() {
  const count = picked.size;
  find(".history-picked").hidden = !count;
  set(find(".history-picked span"), said(count > MOST_COMPARED ? words.history_too_many : words.history_picked, { count }));
  find(".history-compare").disabled = count < 2 || count > MOST_COMPARED;
}

function paint() {
  const value = props.value;
  if (!value) return;
  const old = new Map([...grid.children].map((item) => [item.dataset.run, item]));
  listed(value).forEach((run, index) => {
    const item = old.get(run.id) || (run.title ? buildGroup(run.id.slice(6), run) : build(run.id));
    old.delete(run.id);
    if (run.title) set(item.querySelector("b"), run.title);
    else paintRun(item, run);
    if (grid.children[index] !== item) grid.insertBefore(item, grid.children[index] || null);
  });
  for (const item of old.values()) item.remove();
  find(".history-more").hidden = !value.more;
  set(find(".history-count"), value.count);
  set(find(".history-usage span"), value.usage.text);
  find(".history-usage b").style.transform = `scaleX(${value.usage.share})`;
  find(".history-usage").hidden = !value.usage.text;
  find(".history-said").hidden = !value.said;
  set(find(".history-said"), value.said);
  const nothing = !value.runs.length;
  const sought = Boolean(search.value) || shown().starred;
  find(".history-empty").hidden = !nothing || !asked;
  set(find(".history-empty-title"), sought ? words.history_none : words.history_empty);
  set(find(".history-empty-text"), sought ? "" : words.history_empty_text);
  find(".history-start").hidden = sought;
  paintPicked();
}

let typing = 0;
search.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    limit = PAGE;
    refresh();
  }, 200);
});
starred.addEventListener("click", () => {
  starred.setAttribute("aria-pressed", String(!shown().starred));
  limit = PAGE;
  refresh();
});
const more = () => {
  limit += PAGE;
  refresh();
};
find(".history-more").addEventListener("click", more);
find(".history-start").addEventListener("click", () => window.studio.go("studio"));
find(".history-clear").addEventListener("click", () => {
  picked.clear();
  for (const box of grid.querySelectorAll(".run-pick input")) box.checked = false;
  paintPicked();
});
find(".history-compare").addEventListener("click", () => window.studio.go("compare", { items: [...picked.values()] }));

window.studio.onPlace("history", refresh);
/* A run that begins, ends or finishes a stage while the list is looked at changes it. */
window.addEventListener("studio:run", () => {
  const run = window.studio.run;
  const now = run ? `${run.job} ${run.state} ${run.stages.filter((stage) => stage.done).length}` : "";
  if (now === followed) return;
  followed = now;
  if (window.studio.place === "history") refresh();
});

watch("value", paint);
paint();
