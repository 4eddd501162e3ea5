/* Two to four stages at one place: the server tells what they are, this lays them over or next to each other. */
const words = props.words;
const studio = window.studio;
const { set, when } = window.dom;
const find = window.dom.within(element);
const all = (selector) => [...element.querySelectorAll(selector)];
const stage = find(".cmp-stage");
const panes = all(".cmp-pane:not(.cmp-heat)");
const heatPane = find(".cmp-heat");
const handle = find(".cmp-handle");
const MODES = {
  slider: { key: "s", word: words.compare_slider, title: words.compare_slider_title },
  side: { key: "b", word: words.compare_side, title: words.compare_side_title },
  flip: { key: "h", word: words.compare_flip, title: words.compare_flip_title },
  heat: { key: "d", word: words.compare_heat, title: words.compare_heat_title },
};
const MOST = 4;
const RETRY_MS = 1500;
const MOST_RETRIES = 20;

let refs = [];
let items = [];
let latest = null;
let awaited = "";
let mode = "slider";
let part = 50;
let shown = 0;
let pair = null;
let wanted = null;
let retries = 0;
let unlink = null;
let linked = "";
let place = null;
const viewers = [];
let heat = null;

const button = (text, pressed, act) => {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", act);
  if (pressed !== null) made.setAttribute("aria-pressed", String(pressed));
  return made;
};

function remember() {
  if (studio.place !== "compare") return;
  const at = place && `${place.x.toFixed(4)},${place.y.toFixed(4)},${place.zoom.toFixed(3)}`;
  studio.address({ items: refs.join(",") || null, mode: refs.length ? mode : null, at: refs.length ? at : null });
}

function choose(next) {
  refs = [...new Set(next)].slice(0, MOST);
  pair = null;
  retries = 0;
  remember();
  ask("bring");
}

/* An answer to what was asked for before something else was chosen is not listened to. */
function ask(what) {
  awaited = refs.join(",");
  trigger(what, { items: refs });
}

function viewer(index) {
  if (!viewers[index]) viewers[index] = prepare(panes[index]);
  return viewers[index];
}

function prepare(pane) {
  const made = studio.viewer(pane.querySelector(".cmp-canvas"), { label: "" });
  let timer = 0;
  made.addHandler("animation", paintZoom);
  made.addHandler("animation-finish", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (pane.hidden) return;
      place = made.deep.place();
      paintZoom();
      remember();
    }, 250);
  });
  return made;
}

const first = () => viewers[mode === "flip" ? shown : 0];

function paintZoom() {
  const one = mode === "heat" ? heat || first() : first();
  set(find(".cmp-percent"), one && items.length > 1 ? `${Math.round(one.deep.percent())} %` : "");
}

/* Which panes there are to see; the pictures stay loaded while the mode changes. */
function paintPanes() {
  const ready = items.length > 1;
  stage.dataset.mode = ready ? mode : "empty";
  stage.dataset.count = String(items.length);
  stage.style.setProperty("--part", `${part}%`);
  panes.forEach((pane, index) => {
    const there = ready && index < items.length && mode !== "heat" && (mode !== "slider" || index < 2);
    pane.hidden = !there;
    pane.classList.toggle("under", mode === "flip" && index !== shown);
    if (index < items.length) set(pane.querySelector(".cmp-tag"), `${items[index].letter} · ${items[index].title}`);
  });
  heatPane.hidden = !(ready && mode === "heat");
  handle.hidden = !(ready && mode === "slider");
  handle.setAttribute("aria-valuenow", String(Math.round(part)));
  find(".cmp-empty").hidden = ready;
  if (!ready) return;
  items.forEach((item, index) => viewer(index).deep.show(item.card));
  if (mode === "heat" && pair && pair.card) {
    if (!heat) heat = prepare(heatPane);
    heat.deep.show(pair.card);
    set(heatPane.querySelector(".cmp-tag"), `A − B · ${pair.scale}`);
  } else if (mode === "heat") set(heatPane.querySelector(".cmp-tag"), (pair && pair.error) || words.compare_measuring);
  relink();
}

function relink() {
  const group = items.map((_, index) => viewers[index]);
  if (heat) group.push(heat);
  const name = `${items.length}${heat ? "h" : ""}`;
  if (name === linked) return;
  if (unlink) unlink();
  linked = name;
  unlink = studio.link(group);
}

function restorePlace() {
  const at = new URLSearchParams(window.location.search).get("at");
  const [x, y, zoom] = (at || "").split(",").map(Number);
  if (![x, y, zoom].every(Number.isFinite) || zoom <= 0) return;
  place = { x, y, zoom };
  const one = viewer(0);
  const goal = place;
  one.addOnceHandler("deep-shown", () => {
    one.deep.goTo(goal, true);
    // An address may ask for a place outside the picture.
    one.viewport.applyConstraints(true);
  });
}

/* Buttons are made once and stay, so that the one in use keeps the focus. */
const modeButtons = Object.keys(MODES).map((name) => {
  const made = button(MODES[name].word, false, () => setMode(name));
  made.title = MODES[name].title;
  made.dataset.mode = name;
  return made;
});
find(".cmp-modes").append(...modeButtons);
const letterButtons = panes.map((_, index) => {
  const made = button("ABCD"[index], false, () => flip(index, true));
  made.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && flip(index, false));
  made.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && flip(kept, false));
  return made;
});
find(".cmp-letters").append(...letterButtons);

function paintBar() {
  const ready = items.length > 1;
  for (const made of modeButtons) {
    made.setAttribute("aria-pressed", String(made.dataset.mode === mode));
    made.disabled = !ready;
  }
  find(".cmp-letters").hidden = !(ready && mode === "flip");
  letterButtons.forEach((made, index) => {
    made.setAttribute("aria-pressed", String(index === shown));
    made.hidden = index >= items.length;
  });
  for (const name of [".cmp-swap", ".cmp-fit", ".cmp-full", ".cmp-link"]) find(name).disabled = !ready;
}

let kept = 0;
function flip(index, keep) {
  if (index >= items.length) return;
  shown = index;
  if (keep) kept = index;
  panes.forEach((pane, at) => pane.classList.toggle("under", at !== shown));
  letterButtons.forEach((node, at) => node.setAttribute("aria-pressed", String(at === shown)));
  paintZoom();
}

function setMode(next) {
  mode = next;
  kept = shown = 0;
  paintBar();
  paintPanes();
  paintZoom();
  remember();
}

/* Draws a list again; the focus stays on the button at its place, or goes to the one that adds. */
function redraw(list, nodes) {
  const held = list.contains(document.activeElement) ? document.activeElement : null;
  const alike = () => [...list.querySelectorAll("button")].filter((one) => one.className === held.className);
  const at = held ? alike().indexOf(held) : -1;
  list.replaceChildren(...nodes);
  if (!held) return;
  const left = alike().filter((one) => !one.disabled && !one.hidden);
  const next = left[Math.min(at, left.length - 1)] || find(".cmp-add summary");
  next.focus({ preventScroll: true });
}

function paintItems() {
  redraw(
    find(".cmp-items"),
    items.map((item, index) => {
      const made = document.createElement("li");
      made.innerHTML =
        '<b class="cmp-letter"></b><span class="cmp-thumb"><img alt="" draggable="false"></span>' +
        '<span class="cmp-text"><b></b><span class="cmp-prompt"></span><time></time></span>' +
        '<button type="button" class="cmp-open"></button><button type="button" class="cmp-remove">×</button>';
      set(made.querySelector(".cmp-letter"), item.letter);
      made.querySelector("img").src = item.card.proxy;
      set(made.querySelector(".cmp-text b"), item.title);
      set(made.querySelector(".cmp-prompt"), item.prompt);
      set(made.querySelector("time"), when(item.created));
      const open = made.querySelector(".cmp-open");
      set(open, words.compare_open);
      open.addEventListener("click", () => studio.act && studio.act("open", { job: item.job }));
      open.hidden = !studio.act;
      const remove = made.querySelector(".cmp-remove");
      remove.title = words.compare_remove;
      remove.setAttribute("aria-label", `${words.compare_remove} ${item.letter}`);
      remove.addEventListener("click", () => choose(refs.filter((_, at) => at !== index)));
      return made;
    })
  );
  find(".cmp-add").hidden = items.length >= MOST;
}

function cell(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  if (kind === "th") made.scope = "col";
  return made;
}

/* A prompt may be long; it is scrolled where it stands. */
function valueCell(text) {
  const made = document.createElement("td");
  const inner = document.createElement("div");
  inner.textContent = text;
  made.append(inner);
  return made;
}

function row(label, values) {
  const made = document.createElement("tr");
  const head = cell("th", label);
  head.scope = "row";
  made.append(head, ...values.map(valueCell));
  return made;
}

function paintTables() {
  const { differ, facts, same } = latest;
  const table = find(".cmp-table");
  table.hidden = items.length < 2;
  const head = document.createElement("tr");
  head.append(cell("th", words.compare_setting), ...items.map((item) => cell("th", item.letter)));
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...[...differ, ...facts].map(([label, values]) => row(label, values)));
  find(".cmp-scroll").tabIndex = table.hidden ? -1 : 0;
  const title = find(".cmp-differ-title");
  title.hidden = items.length < 2;
  set(title, differ.length ? words.compare_differ : words.compare_nothing);
  const view_after = find(".cmp-same");
  view_after.hidden = items.length < 2 || !same.length;
  view_after.querySelector("dl").replaceChildren(
    ...same.map(([label, value]) => {
      const made = document.createElement("div");
      made.append(cell("dt", label), cell("dd", value));
      return made;
    })
  );
}

function paintFigures() {
  const list = find(".cmp-figures");
  list.hidden = items.length < 2;
  const value = (name) => (pair ? pair[name] || "—" : words.compare_measuring);
  list.replaceChildren(
    ...[
      [words.compare_psnr, value("psnr")],
      [words.compare_ssim, value("ssim")],
    ].map((pair) => {
      const made = document.createElement("div");
      made.append(cell("dt", pair[0]), cell("dd", pair[1]));
      return made;
    })
  );
  set(find(".cmp-note"), items.length < 2 ? (items.length ? words.compare_one : "") : (pair && (pair.error || pair.note)) || "");
}

function paintAdd() {
  const run = studio.run;
  const done = run ? run.stages.filter((one) => one.done) : [];
  redraw(
    find(".cmp-stages"),
    done.map((one) => {
      const ref = `${run.job}.${one.index}`;
      const made = button(one.title, null, () => choose([...refs, ref]));
      made.disabled = refs.includes(ref);
      return made;
    })
  );
  find(".cmp-last-two").disabled = done.length < 2;
}

/* Figures are asked for once for each pair; a picture that is still being written is asked for again. */
function askForFigures() {
  if (items.length < 2) return;
  const name = `${refs[0]} ${refs[1]}`;
  if (wanted === name || (pair && pair.name === name)) return;
  wanted = name;
  ask("measure");
}

function take(figures) {
  const name = `${refs[0]} ${refs[1]}`;
  pair = { ...figures, name };
  const writing = figures.error && items.slice(0, 2).some((item) => !item.card.png);
  if (!writing || retries >= MOST_RETRIES) return;
  retries += 1;
  setTimeout(() => {
    if (pair && pair.name === name && studio.place === "compare") {
      pair = null;
      ask("bring");
    }
  }, RETRY_MS);
}

function paint() {
  const value = props.value;
  if (!value || !value.items) return;
  if (value.pair) wanted = null;
  if (awaited !== value.asked.join(",")) return;
  latest = value;
  items = value.items;
  refs = items.map((item) => item.ref);
  awaited = refs.join(",");
  if (value.pair) take(value.pair);
  // The figures come later and do not take back what was said of a link.
  if (value.said || !value.pair) say(value.said);
  remember();
  if (shown >= items.length) kept = shown = 0;
  paintItems();
  paintBar();
  paintPanes();
  paintTables();
  paintFigures();
  paintAdd();
  paintZoom();
  askForFigures();
}

function say(text) {
  const said = find(".cmp-said");
  said.hidden = !text;
  set(said, text || "");
}

function slide(clientX) {
  const box = stage.getBoundingClientRect();
  part = Math.min(100, Math.max(0, ((clientX - box.left) / box.width) * 100));
  stage.style.setProperty("--part", `${part}%`);
  handle.setAttribute("aria-valuenow", String(Math.round(part)));
}
handle.addEventListener("pointerdown", (event) => {
  handle.setPointerCapture(event.pointerId);
  handle.classList.add("held");
});
handle.addEventListener("pointermove", (event) => handle.classList.contains("held") && slide(event.clientX));
for (const name of ["pointerup", "pointercancel"]) handle.addEventListener(name, () => handle.classList.remove("held"));
handle.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: -2, ArrowRight: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
  if (!(event.key in steps)) return;
  event.preventDefault();
  event.stopPropagation();
  const box = stage.getBoundingClientRect();
  slide(box.left + ((part + steps[event.key]) / 100) * box.width);
});

const swap = () => choose([refs[1], refs[0], ...refs.slice(2)]);
find(".cmp-swap").addEventListener("click", swap);
find(".cmp-fit").addEventListener("click", () => first().deep.fit());
find(".cmp-full").addEventListener("click", () => first().deep.full());
find(".cmp-link").addEventListener("click", async (event) => {
  const made = event.currentTarget;
  remember();
  try {
    await navigator.clipboard.writeText(window.location.href);
    set(made, words.compare_linked);
  } catch {
    set(made, words.compare_link_failed);
  }
  setTimeout(() => set(made, words.compare_link), 2000);
});
find(".cmp-last-two").addEventListener("click", () => {
  const run = studio.run;
  const done = run ? run.stages.filter((one) => one.done) : [];
  choose(done.slice(-2).map((one) => `${run.job}.${one.index}`));
});
for (const made of all(".cmp-history")) made.addEventListener("click", () => studio.go("history"));

function pasted(text) {
  const plain = text.trim();
  try {
    const asked = new URL(plain, window.location.href).searchParams;
    if (asked.get("items")) return asked.get("items").split(",");
    if (asked.get("job")) return [asked.get("job")];
  } catch {
    /* Not an address: it may be the run itself. */
  }
  return plain ? [plain] : [];
}
find(".cmp-paste").addEventListener("change", (event) => {
  const more = pasted(event.currentTarget.value);
  event.currentTarget.value = "";
  if (more.length) choose([...refs, ...more]);
});

document.addEventListener("keydown", (event) => {
  if (studio.place !== "compare" || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, summary, dialog") || items.length < 2) return;
  // Space presses the button that it is on, but for one that is pressed already.
  if (event.key === " " && event.target.closest('button:not([aria-pressed="true"])')) return;
  const key = event.key.toLowerCase();
  const asked = Object.keys(MODES).find((name) => MODES[name].key === key);
  if (asked) setMode(asked);
  else if (key === "x") swap();
  else if (key === " " && mode === "flip" && !event.repeat) flip((kept + 1) % items.length, false);
  else if (mode === "flip" && key >= "1" && key <= "4") flip(Number(key) - 1, true);
  else if (!(event.target.closest(".openseadragon-canvas") || !first()?.deep.key(event))) return;
  else if (key !== " " || mode !== "flip") return;
  event.preventDefault();
});
document.addEventListener("keyup", (event) => {
  if (studio.place === "compare" && event.key === " " && mode === "flip") flip(kept, false);
});

studio.onPlace("compare", (detail) => {
  const asked = new URLSearchParams(window.location.search);
  if (MODES[asked.get("mode")]) mode = asked.get("mode");
  else if (window.matchMedia("(width <= 760px)").matches) mode = "slider";
  const next = detail.items || (asked.get("items") ? asked.get("items").split(",") : refs);
  if (asked.get("at") && !detail.items) restorePlace();
  if (next.length) choose(next);
  else paint();
});
window.addEventListener("studio:run", () => studio.place === "compare" && paintAdd());

watch("value", paint);
paint();
