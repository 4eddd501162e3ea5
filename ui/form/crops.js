/* Next to a slider, what it did at some of its values; the crops are fetched when they are first shown. */
const SHOW_MS = 140;
const HIDE_MS = 240;
const GAP = 8;
const sliders = props.sliders || {};
const settings = document.getElementById("settings");
const phone = window.matchMedia("(width <= 760px)");
let shown = null;
let timer = 0;

const named = (field) => field.id.replace("field-", "");
const rangeOf = (field) => field.querySelector("input[type=range]");
const thumbOf = (field) => field.querySelector("input.travel") || rangeOf(field);

function fieldOf(node) {
  const field = node instanceof Element ? node.closest("#settings .field") : null;
  return field && sliders[named(field)] && rangeOf(field) ? field : null;
}

function button({ value, said, alt, title, url }, field, px) {
  const node = document.createElement("button");
  node.type = "button";
  node.title = title;
  node.dataset.value = value;
  const picture = document.createElement("img");
  picture.width = picture.height = px;
  picture.alt = alt;
  picture.src = url;
  const number = document.createElement("span");
  number.textContent = said;
  /* The picture's text says it already. */
  number.setAttribute("aria-hidden", "true");
  node.append(picture, number);
  node.addEventListener("click", () => set(field, value));
  return node;
}

/* As a hand would move it, so that whatever listens to the slider hears of it. */
function set(field, value) {
  const range = rangeOf(field);
  range.value = value;
  for (const name of ["input", "change"]) range.dispatchEvent(new Event(name, { bubbles: true }));
}

function panelOf(field) {
  const there = field.querySelector(".slider-crops");
  if (there) return there;
  const { label, px, crops } = sliders[named(field)];
  const panel = document.createElement("div");
  panel.className = "slider-crops";
  panel.hidden = true;
  panel.setAttribute("role", "group");
  panel.setAttribute("aria-label", label);
  const row = document.createElement("div");
  row.className = "slider-crops-row";
  row.append(...crops.map((crop) => button(crop, field, px)));
  const caption = document.createElement("p");
  caption.textContent = props.caption;
  panel.append(row, caption);
  field.append(panel);
  window.studio.oneStop(panel);
  return panel;
}

/* The crop whose value is nearest to the slider's own is marked. */
function mark(field) {
  const buttons = [...panelOf(field).querySelectorAll("button")];
  const away = buttons.map((node) => Math.abs(Number(node.dataset.value) - Number(rangeOf(field).value)));
  const nearest = away.indexOf(Math.min(...away));
  buttons.forEach((node, i) => {
    if (i === nearest) node.setAttribute("aria-current", "true");
    else node.removeAttribute("aria-current");
  });
}

/* Next to the column at a desk; on a phone over the slider, where the finger is not, or under it. */
function put() {
  if (!shown) return;
  const panel = panelOf(shown);
  const around = shown.getBoundingClientRect();
  const column = settings.getBoundingClientRect();
  panel.style.width = phone.matches ? `${around.width}px` : "";
  const { height } = panel.getBoundingClientRect();
  let left = around.left;
  let top = around.top - height - GAP;
  if (!phone.matches) {
    left = column.right + GAP;
    top = Math.min(around.top + around.height / 2 - height / 2, window.innerHeight - height - GAP);
    top = Math.max(top, GAP);
  } else if (top < GAP) top = around.bottom + GAP;
  panel.style.left = `${left}px`;
  panel.style.top = `${top}px`;
}

function show(field) {
  clearTimeout(timer);
  if (shown !== field) {
    hide();
    shown = field;
    panelOf(field).hidden = false;
    // Whichever was pressed before, the Tab key comes to the first.
    panelOf(field)
      .querySelectorAll("button")
      .forEach((button, index) => (button.tabIndex = index ? -1 : 0));
  }
  mark(field);
  put();
}

function hide() {
  clearTimeout(timer);
  if (shown) panelOf(shown).hidden = true;
  shown = null;
}

/* A field that is used by keyboard keeps its crops when the pointer goes elsewhere. */
function leave() {
  if (!shown?.contains(document.activeElement) || !document.activeElement.matches(":focus-visible")) hide();
}

function later(work, milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(work, milliseconds);
}

function hover(event) {
  /* A finger does not hover, and a slider that is held is not left. */
  if (event.pointerType === "touch" || event.buttons) return;
  const field = fieldOf(event.target);
  if (field && field === shown) clearTimeout(timer);
  else if (field) later(() => show(field), SHOW_MS);
  else later(leave, HIDE_MS);
}

function use(event) {
  const field = fieldOf(event.target);
  if (field) show(field);
}

if (settings && Object.keys(sliders).length) {
  document.addEventListener("pointerover", hover);
  document.documentElement.addEventListener("pointerleave", (event) => {
    if (event.pointerType !== "touch" && !event.buttons) later(leave, HIDE_MS);
  });
  for (const name of ["input", "click"]) settings.addEventListener(name, use);
  settings.addEventListener("focusin", (event) => event.target.matches(":focus-visible") && use(event));
  settings.addEventListener("focusout", (event) => {
    if (event.relatedTarget && fieldOf(event.relatedTarget) !== shown) hide();
  });
  document.addEventListener("pointerdown", (event) => fieldOf(event.target) !== shown && hide());
  window.addEventListener("pointerup", (event) => {
    const under = document.elementFromPoint(event.clientX, event.clientY);
    if (event.pointerType !== "touch" && fieldOf(under) !== shown) later(leave, HIDE_MS);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !shown) return;
    const thumb = thumbOf(shown);
    const within = panelOf(shown).contains(document.activeElement);
    hide();
    if (within) thumb.focus({ focusVisible: false });
  });
  document.addEventListener("scroll", put, { capture: true, passive: true });
  for (const name of ["resize", "studio:place"]) window.addEventListener(name, hide);
}
