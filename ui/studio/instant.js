/*
 * The first stage, drawn while the form changes. A forecast of the form says what its picture changes with; once
 * a visitor's own change has made that another, and the form rests for a moment, its picture is asked for.
 */
const KEY = "gspn-studio-instant";
const PAUSE_MS = 160;
const AGAIN_MS = 1500;
const MOST_TRIES = 5;
/* Where a visitor changes the form; a run that is opened fills it in too, and is shown instead. */
const OWN = "#settings, .examples, .suggestions";
const words = props.words;
const { set } = window.dom;
const find = window.dom.within(element);
const toggle = find("input");
const seed = find(".instant-seed");
const thumb = find("img");
let offer = { key: "", off: "" };
let touched = false;
/* What the picture that was asked for last changes with, or the form's that needs none. */
let asked = "";
let tries = 0;
let timer = 0;
let job = window.studio.run?.job ?? null;

/* A browser may forbid storage; then it is on again on the next page. */
function keep(on) {
  try {
    window.localStorage.setItem(KEY, on ? "on" : "off");
  } catch {
    /* It holds until the page is left. */
  }
}

function kept() {
  try {
    return window.localStorage.getItem(KEY) !== "off";
  } catch {
    return true;
  }
}

const isLive = () => ["queued", "running"].includes(window.studio.run?.state);
const canAsk = () => toggle.checked && Boolean(offer.key) && !offer.off && !isLive();

function consider() {
  clearTimeout(timer);
  if (!touched || isLive()) asked = offer.key || asked;
  else if (canAsk() && offer.key !== asked && window.studio.place === "studio") {
    tries = 0;
    timer = setTimeout(ask, PAUSE_MS);
  }
}

function ask(newSeed = false) {
  clearTimeout(timer);
  if (!canAsk()) return;
  asked = offer.key;
  trigger("draw", { new_seed: newSeed });
}

/* On a phone the picture area may be out of sight while the form changes; then it lies over Run's bar as a whole. */
document.querySelector("#actions")?.append(thumb);
const sight = new IntersectionObserver(([area]) => thumb.classList.toggle("needed", !area.isIntersecting), { threshold: 0.3 });

function show(sketch) {
  window.studio.setSketch(sketch);
  if (sketch) {
    thumb.src = sketch.source;
    sight.observe(document.querySelector(".viewer"));
  }
  thumb.hidden = !sketch;
}

/* spoken: what a screen reader says before the text; the badge on the picture shows it. */
function say(text, spoken = "", drawnSeed = false) {
  set(find(".spoken"), spoken);
  set(find(".said"), text);
  // Who pressed it goes on where it was.
  if (seed.contains(document.activeElement) && !drawnSeed) toggle.focus();
  seed.hidden = !drawnSeed;
}

function answer() {
  const { sketch, spoken, said, drawn_seed: drawnSeed, again } = props.value || {};
  if (!touched || !canAsk()) return;
  if (sketch) {
    show(sketch);
    say(said, spoken, drawnSeed);
  } else {
    say(said || "");
    if (again && (tries += 1) <= MOST_TRIES) timer = setTimeout(ask, AGAIN_MS);
  }
}

/* Why it is off is said once a sketch could be expected; before that the switch tells who asks it. */
function paintOffer() {
  const wasOff = toggle.disabled;
  toggle.disabled = Boolean(offer.off);
  find(".instant").classList.toggle("off", toggle.disabled);
  find("label").title = offer.off || words.instant_title;
  if (wasOff || toggle.disabled) say(touched ? offer.off : "");
}

function touch({ target }) {
  if (touched || !target.closest?.(OWN)) return;
  touched = true;
  paintOffer();
}

window.addEventListener("studio:instant", ({ detail }) => {
  offer = detail;
  paintOffer();
  consider();
});
window.addEventListener("studio:run", ({ detail }) => {
  if (detail.job === job) return;
  job = detail.job;
  touched = false;
  clearTimeout(timer);
  thumb.hidden = true;
  say("");
});
for (const kind of ["input", "click", "keydown"])
  document.addEventListener(kind, touch, true);
window.studio.onPlace("studio", consider);

toggle.checked = kept();
toggle.addEventListener("change", () => {
  keep(toggle.checked);
  if (toggle.checked) ask();
  else {
    clearTimeout(timer);
    show(null);
    say("");
  }
});
seed.addEventListener("click", () => ask(true));
watch("value", answer);
