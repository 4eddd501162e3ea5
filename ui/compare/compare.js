/* Two to four stages at one place: which are chosen, what the server says of them, the bar above, keys and the link. */
const words = props.words;
const studio = window.studio;
const { copy, made, set } = window.dom;
const find = window.dom.within(element);
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
let awaited = "";
let pair = null;
let wanted = null;
let retries = 0;

const stage = new studio.CompareStage(element, {
  words,
  moved: () => remember(),
  zoomed: (text) => set(find(".cmp-percent"), text),
});
const side = new studio.CompareSide(element, {
  words,
  remove: (index) => choose(refs.filter((_, at) => at !== index)),
  add: (ref) => choose([...refs, ref]),
});

const blind = new studio.CompareBlind(element, { words, order: choose, changed: paintAll, whenSeen: (then) => stage.whenSeen(then) });

/* The pair that comes with the page stands here until the visitor has pictures. */
const isSample = () => props.sample.length > 1 && refs.join() === props.sample.join();
const hasOwn = () => studio.compareStages().some((one) => !props.examples.includes(one.ref.split(".")[0]));

/* What is compared */
function remember(always = false) {
  // The address would say which is which.
  if (studio.place !== "compare" || blind.hidden) return;
  if (isSample() && !always) {
    studio.address({ items: null, mode: null, at: null });
    return;
  }
  const { place, mode } = stage;
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

function say(text, isRemark = false) {
  const said = find(".cmp-said");
  said.classList.toggle("remark", isRemark);
  said.hidden = !text;
  set(said, text || "");
}

function paint() {
  const value = props.value;
  if (!value || !value.items) return;
  if (value.pair) wanted = null;
  if (awaited !== value.asked.join(",")) return;
  items = value.items;
  refs = items.map((item) => item.ref);
  awaited = refs.join(",");
  if (value.pair) take(value.pair);
  // The figures come later and do not take back what was said of a link.
  if (value.said || !value.pair) say(value.said || (isSample() ? words.compare_sample : ""), !value.said);
  paintAll();
  askForFigures();
}

function paintAll() {
  remember();
  if (blind.active && items.length !== 2) blind.active = blind.hidden = false;
  blind.paint(props.value);
  side.paint(props.value, pair);
  side.paintAdd(refs);
  stage.paint(blind.masked(items), pair);
  stage.paintZoom();
  paintBar();
}

/* The bar: its buttons are made once and stay, so that the one in use keeps the focus. */
function button(text, act) {
  const node = made("button", "", text);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
}

const modeButtons = Object.keys(MODES).map((name) => {
  const node = button(MODES[name].word, () => setMode(name));
  node.title = MODES[name].title;
  node.dataset.mode = name;
  return node;
});
find(".cmp-modes").append(...modeButtons);
const letterButtons = [..."ABCD"].map((letter, index) => {
  const node = button(letter, () => flip(index, true));
  node.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && flip(index, false));
  node.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && flip(stage.kept, false));
  return node;
});
find(".cmp-letters").append(...letterButtons);

function paintBar() {
  const ready = items.length > 1;
  for (const node of modeButtons) {
    node.setAttribute("aria-pressed", String(node.dataset.mode === stage.mode));
    node.disabled = !ready;
  }
  find(".cmp-letters").hidden = !(ready && stage.mode === "flip");
  letterButtons.forEach((node, index) => (node.hidden = index >= items.length));
  paintLetters();
  for (const name of [".cmp-fit", ".cmp-full"]) find(name).disabled = !ready;
  for (const name of [".cmp-swap", ".cmp-link"]) find(name).disabled = !ready || blind.hidden;
  find(".cmp-blind-toggle").disabled = items.length !== 2;
  find(".cmp-blind-toggle").setAttribute("aria-pressed", String(blind.active));
}

function paintLetters() {
  letterButtons.forEach((node, index) => node.setAttribute("aria-pressed", String(index === stage.shown)));
}

function flip(index, keep) {
  stage.flip(index, keep);
  paintLetters();
}

function setMode(next) {
  stage.setMode(next);
  paintBar();
  remember();
}

const swap = () => !blind.hidden && choose([refs[1], refs[0], ...refs.slice(2)]);
find(".cmp-swap").addEventListener("click", swap);
find(".cmp-blind-toggle").addEventListener("click", () => (blind.active ? blind.stop() : blind.start(refs)));
find(".cmp-fit").addEventListener("click", () => stage.first().deep.fit());
find(".cmp-full").addEventListener("click", () => stage.first().deep.full());
find(".cmp-link").addEventListener("click", async (event) => {
  const node = event.currentTarget;
  remember(true);
  set(node, (await copy(window.location.href)) ? words.compare_linked : words.compare_link_failed);
  setTimeout(() => set(node, words.compare_link), 2000);
});

/* Adding */
find(".cmp-last-two").addEventListener("click", () => choose(studio.compareStages().slice(-2).map((one) => one.ref)));
for (const node of element.querySelectorAll(".cmp-history")) node.addEventListener("click", () => studio.go("history"));

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
  const { mode } = stage;
  const key = event.key.toLowerCase();
  const asked = Object.keys(MODES).find((name) => MODES[name].key === key);
  if (asked) setMode(asked);
  else if (key === "x") swap();
  else if (key === " " && mode === "flip" && !event.repeat) flip((stage.kept + 1) % items.length, false);
  else if (mode === "flip" && key >= "1" && key <= "4") flip(Number(key) - 1, true);
  else if (!(event.target.closest(".openseadragon-canvas") || !stage.first()?.deep.key(event))) return;
  else if (key !== " " || mode !== "flip") return;
  event.preventDefault();
});
document.addEventListener("keyup", (event) => {
  if (studio.place === "compare" && event.key === " " && stage.mode === "flip") flip(stage.kept, false);
});

/* The place of an address, null for none that can be gone to. */
function placeOf(at) {
  const [x, y, zoom] = (at || "").split(",").map(Number);
  return [x, y, zoom].every(Number.isFinite) && zoom > 0 ? { x, y, zoom } : null;
}

studio.onPlace("compare", (detail) => {
  const asked = new URLSearchParams(window.location.search);
  if (MODES[asked.get("mode")]) stage.mode = asked.get("mode");
  else if (window.matchMedia("(width <= 760px)").matches) stage.mode = "slider";
  // A pair of its own is seen whole, and in the way that shows both.
  if (detail.items && detail.items.join() !== refs.join()) stage.reset();
  let next = detail.items || (asked.get("items") ? asked.get("items").split(",") : refs);
  if (isSample() && next === refs && hasOwn()) next = [];
  else if (!next.length && !hasOwn()) next = props.sample;
  const at = detail.items ? null : placeOf(asked.get("at"));
  if (at) stage.goTo(at);
  // A blind comparison goes on with the next pair.
  if (blind.active && detail.items?.length === 2) blind.start(next);
  else if (next.length || refs.length) choose(next);
  else paint();
});
window.addEventListener("studio:run", () => studio.place === "compare" && side.paintAdd(refs));

watch("value", paint);
paint();
