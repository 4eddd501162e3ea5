const words = props.words;
const { attribute, copy, set } = window.dom;
const find = window.dom.within(element);
const viewer = find(".viewer");
const ladder = find(".ladder");
const picture = window.studio.picture(viewer, words);
const gallery = window.studio.gallery(find(".gallery"), props.gallery, words, (job) => trigger("open", { job }));
const batch = window.studio.batch(find(".batch"), (name, detail) => act({ name, detail }));
const panel = window.studio.panel(find, words);
const pin = window.studio.pin(viewer, words, { changed: () => state && repaint(), press: togglePin });
const split = window.studio.split(viewer, picture.viewer, words);
const frames = window.studio.frames(find(".frames"));
const notify = window.studio.notify(find(".notify"), words, props.card.app);
const save = window.studio.save(element, words, (text) => {
  const said = find(".saving");
  said.hidden = !text;
  set(said, text);
});
find(".formats").addEventListener("click", (event) => {
  const offered = downloads();
  window.studio.menu(event.currentTarget, offered.map((one) => ({ label: one.label, act: () => save(one) })));
});

/* How long a live run may be silent, at any time and when the page is looked at again. */
const SILENT_MS = 15000;
const BACK_MS = 8000;
const LOOK_MS = 5000;

let state = null;
let received = 0;
let job = null;
let chosen = null;
let sketch = null;
let fresh = true;
let announced = "";
let [inView, followed, settled] = [-1, null, ""];
/* The run that is compared with A as soon as it is done. */
let awaited = null;
/* The run that was compared with the one before it, as Run both asked. */
let compared = null;
let isNew = true;
/* The last stage of the finished run on the screen, and of the one before it. */
let [latest, earlier] = [null, null];

const isLive = () => state.state === "queued" || state.state === "running";

/* Which stage the big picture shows: the chosen one, else the live preview, else the last that is done. */
function target() {
  const byIndex = (index) => (index === null || index === undefined ? null : state.stages[index]);
  if (sketch && !isLive()) return { stage: sketch, source: sketch.source, live: true };
  const pinned = byIndex(chosen);
  if (pinned && pinned.proxy) return { stage: pinned, source: pinned.proxy, live: false };
  if (state.preview && byIndex(state.preview_stage))
    return { stage: byIndex(state.preview_stage), source: state.preview, live: true };
  const last = byIndex(state.show);
  return last && last.proxy ? { stage: last, source: last.proxy, live: false } : null;
}

/* A run's first picture is shown whole; its other stages are shown at the place that is being looked at. */
function paintPicture() {
  const now = target();
  picture.show(now, fresh);
  const [before, after] = [state.stages[0], state.stages[state.stages.length - 1]];
  const isExample = now && !now.live && gallery.has(state.job) && now.stage === after && after !== before;
  split.show(isExample && before.proxy ? { before, after } : null);
  if (now && !now.live) fresh = false;
}

function card(stage, index) {
  let item = ladder.children[index];
  if (!item) {
    item = document.createElement("li");
    item.innerHTML =
      '<button type="button" class="card"><span class="thumb"><img alt="" hidden draggable="false"></span>' +
      '<span class="text"><b></b> <span class="lines"></span><span class="meter"><i></i></span></span></button>' +
      '<a class="get" role="button"><svg viewBox="0 0 16 16" aria-hidden="true">' +
      '<path d="M8 2v8M4.500 7 8 10.500 11.500 7M3 13.500h10"/></svg></a>' +
      '<button type="button" class="stage-menu" aria-haspopup="menu" aria-expanded="false" hidden>' +
      '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M3 8h.01M8 8h.01M13 8h.01"/></svg></button>';
    item.querySelector(".card").addEventListener("click", () => choose(index));
    item.querySelector(".stage-menu").addEventListener("click", (event) => {
      const offered = stageOffers(index);
      window.studio.menu(event.currentTarget, offered.map((action) => ({ label: action.label, act: () => act(action) })));
    });
    ladder.append(item);
  }
  const now = target();
  const button = item.querySelector(".card");
  item.className = stage.state;
  item.classList.toggle("pinned-a", pin.is(ref(index)));
  item.classList.toggle("over", Boolean(stage.over));
  item.classList.toggle("long", Boolean(stage.long));
  item.classList.toggle("shown", Boolean(now && now.stage === stage));
  attribute(button, "aria-label", stage.label);
  attribute(button, "aria-pressed", String(Boolean(now && now.stage === stage)));
  button.disabled = !stage.proxy && stage.state !== "running";
  set(item.querySelector("b"), stage.title);
  set(item.querySelector(".lines"), stage.lines.join("\n"));
  item.querySelector(".meter i").style.transform = `scaleX(${stage.progress || 0})`;
  item.querySelector(".thumb").style.aspectRatio = `${stage.width} / ${stage.height}`;
  const thumb = item.querySelector("img");
  const source = stage.proxy || (state.preview_stage === index ? state.preview : null);
  thumb.hidden = !source;
  if (source && thumb.getAttribute("src") !== source) thumb.src = source;
  const menu = item.querySelector(".stage-menu");
  menu.hidden = !stageOffers(index).length;
  attribute(menu, "aria-label", words.stage_menu.replace("{stage}", stage.title));
  paintSuggestions(item, stage.suggestions || []);
  const get = item.querySelector(".get");
  get.hidden = stage.state !== "done";
  attribute(get, "href", stage.png);
  attribute(get, "download", stage.png ? stage.file : null);
  attribute(get, "aria-disabled", stage.png ? null : "true");
  attribute(get, "aria-label", stage.png ? `${words.download} ${stage.title}` : words.download_wait);
  attribute(get, "title", stage.png ? stage.file : words.download_wait);
}

/* What would help a planned stage that does not fit; each changes the form. */
function paintSuggestions(item, suggestions) {
  const isNew = suggestions.length > 0 && !item.querySelector(".suggestions");
  item.classList.toggle("helped", suggestions.length > 0);
  window.studio.suggestions(item, suggestions, words.suggestions, (detail) => trigger("suggestion", detail));
  // What is wrong must be seen, and on most screens its card is behind the strip's edge.
  if (isNew) find(".strip").scrollLeft = item.offsetLeft + item.offsetWidth - find(".strip").clientWidth;
}

/* What can be done next; comparing only where this page has a place for it. */
function offers(actions) {
  return (actions || []).filter(({ name }) => name !== "compare" || window.studio.has("compare"));
}

const ref = (index) => `${state.job}.${index}`;
const stageOffers = (index) => [
  ...(state.job && state.stages[index].state === "done" ? [pin.action(ref(index))] : []),
  ...offers(state.actions.stages[index]),
];

/* Pin a finished stage as A, or let it go. */
function togglePin(asked) {
  const stage = state.stages.find((one, index) => ref(index) === asked && one.state === "done" && one.proxy);
  if (stage) pin.toggle({ ...stage, ref: asked, job: state.job });
}

function repaint() {
  paintLadder();
  paintPicture();
  paintTools();
  paintActions();
  paintWords();
  frames(target() ? [] : state.stages);
}

function paintTools() {
  pin.paint(shownRef());
  find(".formats").hidden = !downloads().length;
}

/* The reference of the finished stage that the picture shows, null while it shows none. */
function shownRef() {
  const now = target();
  return now && !now.live && state.job ? ref(state.stages.indexOf(now.stage)) : null;
}

/* What can be saved besides the PNG: of the stage in the picture, and of its run. */
function downloads() {
  const index = state.stages.findIndex((_, at) => ref(at) === shownRef());
  return index < 0 ? [] : [...(state.saves.stages[index] || []), ...state.saves.run];
}

async function act({ name, label, detail }, button) {
  if (name === "compare") window.studio.go("compare", detail);
  else if (name === "pin") togglePin(detail.ref);
  else if (name === "copy") {
    const { text, address } = detail;
    const link = new URL(window.location.pathname, window.location.href);
    for (const [key, value] of Object.entries(address || {})) link.searchParams.set(key, value);
    const said = (await copy(text || link.href)) ? words.copied : words.not_copied;
    set(button, said);
    set(find(".announce"), said);
    setTimeout(() => set(button, label), 2000);
  } else if (name === "init_image") window.studio.act(name, detail);
  else {
    isNew = name === "redo"; // The stage of A's size is A itself in a run that goes on from it.
    if (name === "pick") sketch = null;
    repaint();
    trigger(name, detail);
  }
}

/* This run next to A, or else to the one that was on the screen before it: what a change of the form did. */
function comparison() {
  const found = pin.now() ? pin.match(state.job, state.stages) : null;
  if (found !== null) return [{ name: "compare", label: words.compare_pinned, detail: { items: [pin.now(), ref(found)] } }];
  if (!earlier || state.state !== "done" || earlier === finished()) return [];
  return [{ name: "compare", label: words.compare_earlier, detail: { items: [earlier, finished()] } }];
}

/* Who pinned a result and then pressed Run wants to see the two. */
function compareAwaited() {
  if (state.job !== awaited || isLive()) return;
  awaited = null;
  const [pair] = state.state === "done" && pin.now() ? comparison() : [];
  if (pair && window.studio.place === "studio" && pair.detail.items[0] === pin.now()) offers([pair]).forEach((one) => act(one));
}

/* Who pressed Run both wants to see the two. */
function comparePair() {
  const other = state.compare_with;
  if (!other || state.state !== "done" || compared === job) return;
  compared = job;
  if (window.studio.place === "studio" && window.studio.has("compare")) window.studio.go("compare", { items: [other, finished()] });
}

const finished = () => `${state.job}.${state.stages.length - 1}`;
const finishedOwn = () => (state.state === "done" && !gallery.has(state.job) ? finished() : null);

function paintActions() {
  const offered = offers([...comparison(), ...state.actions.run]);
  const group = find(".actions");
  group.hidden = !offered.length;
  const key = JSON.stringify(offered);
  if (group.dataset.shown === key) return;
  group.dataset.shown = key;
  group.replaceChildren(
    ...offered.map((action) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = action.label;
      if (action.title) button.title = action.title;
      button.dataset.name = action.name;
      button.addEventListener("click", () => act(action, button));
      return button;
    })
  );
}

function compareLast() {
  const pinned = pin.now() && state ? comparison() : [];
  const pair = state && offers([...pinned, ...state.actions.run]).find(({ name }) => name === "compare");
  if (pair) act(pair);
}

function paintLadder() {
  while (ladder.children.length > state.stages.length) ladder.lastChild.remove();
  state.stages.forEach(card);
  // Cards that cannot be pressed are scrolled by keyboard all the same.
  attribute(find(".strip"), "tabindex", ladder.querySelector(".card:enabled, .suggestions button") ? null : 0);
  const now = target();
  const index = now ? state.stages.indexOf(now.stage) : -1;
  if (index === inView) return;
  inView = index;
  if (index < 0) return;
  // Only the strip scrolls; scrollIntoView would move the page as well.
  const item = ladder.children[index];
  find(".strip").scrollLeft = item.offsetLeft - (find(".strip").clientWidth - item.offsetWidth) / 2;
}

function paintWords() {
  const now = target();
  find(".hello").hidden = state.state !== "empty" || Boolean(now);
  const veil = find(".veil");
  veil.hidden = Boolean(now) || !state.veil;
  set(veil, state.veil || "");
  const badge = find(".badge");
  badge.hidden = !(now && now.live);
  if (now && now.live) set(badge, [now.stage.title, ...now.stage.lines].join(" · "));
  if (state.announce !== announced) {
    announced = state.announce;
    set(find(".announce"), announced);
  }
}

function remember() {
  if (state.job === job) {
    latest = finishedOwn() || latest;
    return;
  }
  if (latest) earlier = latest;
  latest = finishedOwn();
  awaited = isNew && pin.now() && !state.restored && !gallery.has(state.job) && !state.batch.length ? state.job : null;
  isNew = true;
  if (job !== null && isLive() && !state.batch.some((one) => one.job === job) && matchMedia("(width <= 760px)").matches) viewer.scrollIntoView({ block: "end" });
  job = state.job;
  chosen = sketch = null;
  fresh = true;
  window.studio.address({ job: gallery.has(job) ? null : job });
}

/* What the masthead and the other places know of the run. */
function publish() {
  const { stages, panel } = state;
  const done = stages.filter((stage) => stage.state === "done").length;
  window.studio.setRun({
    job,
    state: state.state,
    headline: panel.headline,
    left: panel.left,
    progress: stages.length ? (done + (isLive() ? panel.progress || 0 : 0)) / stages.length : 0,
    stages: stages.map((stage, index) => ({ index, title: stage.title, done: stage.state === "done" })),
  });
}

const paint = () => props.value?.panel && show(props.value);

function show(value) {
  state = value;
  received = performance.now();
  remember();
  element.closest("#studio")?.setAttribute("data-state", state.state);
  paintLadder();
  paintPicture();
  paintTools();
  panel.paint(state, received);
  notify.paint(state, `${state.panel.headline} · ${state.panel.detail}`);
  paintActions();
  paintWords();
  gallery.paint(state.job);
  batch.paint(state.batch, state.actions.run);
  frames(target() ? [] : state.stages);
  publish();
  if (state.follow && followed !== job) trigger("reattach", { job });
  followed = state.follow ? job : null;
  const kept = isLive() ? "" : `${job} ${state.stages.filter((stage) => stage.png).length}`;
  if (kept && kept !== settled) trigger("settled");
  settled = kept;
  compareAwaited();
  comparePair();
}

function choose(index) {
  const stage = state.stages[index];
  if (!stage || (!stage.proxy && stage.state !== "running")) return;
  chosen = stage.proxy ? index : null;
  sketch = null;
  repaint();
}

/* Ask for the present state of a run that has been silent, by a plain request: the stream may have lost it. */
function look(silent_ms) {
  if (state && isLive() && performance.now() - received > silent_ms) trigger("look", { job });
}

props.examples.forEach((text, index) => {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", () => {
    trigger("example", { index });
    document.querySelector("#field-prompt textarea")?.focus();
  });
  item.append(button);
  find(".examples").append(item);
});

const press = (id) => {
  const button = document.getElementById(id);
  if (button && !button.disabled) button.click();
};
document.addEventListener("keydown", (event) => {
  if (event.isComposing || window.studio.place !== "studio" || document.querySelector("dialog[open]")) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    press("run");
  } else if (event.key === "Escape" && !event.defaultPrevented && !event.target.closest("[role=listbox], [role=combobox]"))
    press("stop");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable], [role=listbox]")) return;
  if (event.key >= "1" && event.key <= "9" && state) choose(Number(event.key) - 1);
  else if (event.key.toLowerCase() === "c") compareLast();
  else if (event.key.toLowerCase() === "p" && state) togglePin(shownRef());
  else if (!event.defaultPrevented) picture.key(event);
});

/* Other places ask here for a run to be shown or taken up again. */
const EVENTS = ["open", "pick", "resume", "extend", "vary", "redo"];
window.addEventListener("studio:act", ({ detail }) => {
  if (EVENTS.includes(detail.name)) trigger(detail.name, detail.what);
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look(BACK_MS);
});
window.addEventListener("online", () => look(BACK_MS));
setInterval(() => state && panel.paintClock(state, received), 250);
setInterval(() => look(SILENT_MS), LOOK_MS);

/* An outline that was asked for before there was a run comes too late. */
window.addEventListener("studio:outline", ({ detail }) => {
  if (!state?.job) show(detail);
});

/* The first stage of what the form holds is shown over a run that has ended. */
window.addEventListener("studio:sketch", ({ detail }) => {
  sketch = detail;
  if (state) repaint();
});
watch("value", paint);
paint();
