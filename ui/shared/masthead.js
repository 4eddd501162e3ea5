const THEME_KEY = "gspn-studio-theme";
const words = props.words;
const { language } = window.studio;
language.start(props.catalogues);
const { clock } = window.dom;
const find = window.dom.within(element);
const status = find(".status");
const machine = find(".machine");
const chip = find(".chip");
const issue = find(".issue");
const dialog = find(".keys-dialog");
let heard = 0;

function showStatus() {
  const value = props.value || {};
  status.textContent = value.status || "";
  machine.textContent = value.machine ? ` · ${value.machine}` : "";
  status.classList.toggle("busy", Boolean(status.textContent));
  if ("refused" in value) refused = value.refused;
  showIssue(refused || value.issue || "");
  if (value.changing) awaitChange();
}

/* What is wrong with the model stays until it is read; the same sentence does not come back. */
let dismissed = "";
/* Why another model was not taken: it stays as well, until one is asked for again. */
let refused = "";
function showIssue(text) {
  issue.hidden = !text || text === dismissed;
  issue.querySelector("p").textContent = text;
}
issue.querySelector("button").addEventListener("click", () => {
  dismissed = issue.querySelector("p").textContent;
  refused = "";
  issue.hidden = true;
});

/* Another model is another page under this address: load it once its server answers. */
let waiting = null;
function awaitChange() {
  if (waiting) return;
  const before = window.gradio_config && window.gradio_config.app_id;
  waiting = setInterval(async () => {
    try {
      const answer = await fetch(new URL("config", document.baseURI), { cache: "no-store" });
      if (answer.ok && (await answer.json()).app_id !== before) window.location.reload();
    } catch {
      /* It is not back yet. */
    }
  }, 700);
}

const choose = find(".choose");
const models = props.models || [];
if (models.length > 1) {
  choose.hidden = false;
  choose.append(find(".model b"));
  choose.addEventListener("click", () => {
    const items = models.map(({ name, label, current }) => ({
      label,
      act: () => {
        if (current) return;
        dismissed = "";
        trigger("choose", { name });
      },
    }));
    window.studio.menu(choose, items);
  });
}

function setTheme(dark) {
  document.documentElement.classList.toggle("dark", dark);
  document.body.classList.toggle("dark", dark);
}

const remembered = localStorage.getItem(THEME_KEY);
if (remembered) setTheme(remembered === "dark");

find(".theme").addEventListener("click", () => {
  const dark = !document.body.classList.contains("dark");
  setTheme(dark);
  localStorage.setItem(THEME_KEY, dark ? "dark" : "light");
});

find(".language").addEventListener("click", (event) => {
  const items = props.languages.map(([code, name]) => ({
    label: code === language.code ? `${name} ✓` : name,
    act: () => code !== language.code && language.choose(code),
  }));
  window.studio.menu(event.currentTarget, items);
});

find(".explain").addEventListener("click", (event) => {
  const on = document.getElementById("studio").classList.toggle("explain");
  event.currentTarget.setAttribute("aria-pressed", String(on));
});

find(".places").hidden = props.places.length < 2;
for (const [place, label] of props.places) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.place = place;
  button.textContent = label;
  button.addEventListener("click", () => window.studio.go(place));
  find(".places").append(button);
}

function paintPlaces() {
  for (const button of find(".places").children) {
    if (button.dataset.place === window.studio.place) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  paintChip();
}

/* How far the run is, seen from another tab. */
function paintTitle() {
  const run = window.studio.run;
  const state = run?.state === "running" ? `${Math.floor(100 * run.progress)} %` : run?.state === "queued" && language.said(run.headline);
  const title = [state, props.card.app].filter(Boolean).join(" · ");
  if (document.title !== title) document.title = title;
}

/* The run at hand, kept in view wherever its own screen is not. */
function paintChip() {
  const run = window.studio.run;
  const live = run && (run.state === "queued" || run.state === "running");
  chip.hidden = window.studio.place === "studio" || !run || !run.job;
  if (chip.hidden) return;
  const since = (performance.now() - heard) / 1000;
  const left = live && run.left !== null ? Math.max(0, run.left - since) : null;
  chip.dataset.state = run.state;
  chip.classList.toggle("live", live);
  find(".chip-title").textContent = run.headline;
  find(".chip-left").textContent = left === null ? "" : clock(left);
  find(".chip-bar").hidden = !live;
  find(".chip-bar i").style.transform = `scaleX(${run.progress || 0})`;
  const label = [words.chip, run.headline, left === null ? "" : `${clock(left)} ${words.left_after}`];
  chip.setAttribute("aria-label", label.filter(Boolean).join(", "));
}

/* The address is the run's, so it is not changed to lead there. */
find(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  window.studio.go("studio");
  document.getElementById("run")?.focus();
});

chip.addEventListener("click", () => window.studio.go("studio"));
window.addEventListener("studio:place", paintPlaces);
window.addEventListener("studio:run", () => {
  heard = performance.now();
  paintTitle();
  paintChip();
});
setInterval(paintChip, 1000);

for (const [keys, what] of props.keys) {
  const row = document.createElement("div");
  const term = document.createElement("dt");
  for (const key of keys.split(" ")) {
    const cap = document.createElement("kbd");
    cap.textContent = key;
    term.append(cap, " ");
  }
  const said = document.createElement("dd");
  said.textContent = what;
  row.append(term, said);
  find(".keys-list").append(row);
}
const showKeys = () => dialog.open || dialog.showModal();
find(".keys").addEventListener("click", showKeys);
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
document.addEventListener("keydown", (event) => {
  if (event.key !== "?" || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest("input, textarea, select, [contenteditable], [role=listbox]")) return;
  event.preventDefault();
  showKeys();
});

watch("value", showStatus);
showStatus();
window.studio.start(props.places.map(([place]) => place));
