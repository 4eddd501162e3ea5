/* Puts a range of its own in place of gradio's, whose equal parts change the picture by like amounts. */
const WHOLE = 1000;
const sliders = props.sliders || {};
const fields = document.getElementById("fields");

/* The slider's value nearest to one, on its steps. */
function onStep({ stops, step }, value) {
  const least = stops[0];
  const stepped = least + Math.round((value - least) / step) * step;
  return Number(Math.min(Math.max(stepped, least), stops.at(-1)).toFixed(6));
}

function valueAt(slider, position) {
  const { stops } = slider;
  const place = (position / WHOLE) * (stops.length - 1);
  const before = Math.min(Math.floor(place), stops.length - 2);
  return onStep(slider, stops[before] + (place - before) * (stops[before + 1] - stops[before]));
}

function positionOf({ stops }, value) {
  const after = stops.findIndex((stop, i) => i > 0 && value <= stop);
  const end = after < 0 ? stops.length - 1 : after;
  const [low, high] = [stops[end - 1], stops[end]];
  const place = end - 1 + Math.min(Math.max((value - low) / (high - low), 0), 1);
  return Math.round((place / (stops.length - 1)) * WHOLE);
}

/* What a key makes of a value; undefined for a key that moves nothing. */
function moved(slider, value, key) {
  const { stops, step } = slider;
  const [up, down] = [value + step, value - step];
  const paged = (by) => valueAt(slider, Math.min(Math.max(positionOf(slider, value) + by, 0), WHOLE));
  switch (key) {
    case "ArrowRight":
    case "ArrowUp":
      return up;
    case "ArrowLeft":
    case "ArrowDown":
      return down;
    case "PageUp":
      return Math.max(paged(WHOLE / 10), up);
    case "PageDown":
      return Math.min(paged(-WHOLE / 10), down);
    case "Home":
      return stops[0];
    case "End":
      return stops.at(-1);
    default:
      return undefined;
  }
}

function show(own, native, slider) {
  const value = Number(native.value);
  /* A thumb that is held stays under the hand while its value is the one that it stands for. */
  if (valueAt(slider, Number(own.value)) !== value) own.value = positionOf(slider, value);
  own.style.setProperty("--range_progress", `${Number(own.value) / (WHOLE / 100)}%`);
  own.setAttribute("aria-valuetext", native.value);
  own.disabled = native.disabled;
}

/* As a hand would move gradio's own, so that whatever listens to it hears of it. */
function hand(native, value, ...events) {
  native.value = value;
  for (const name of events) native.dispatchEvent(new Event(name, { bubbles: true }));
}

function install(field, name, slider) {
  const native = field.querySelector("input[type=range]");
  if (!native || field.querySelector("input.travel")) return;
  const own = document.createElement("input");
  Object.assign(own, { type: "range", className: "travel", id: `travel-${name}`, min: 0, max: WHOLE, step: 1 });
  own.setAttribute("aria-label", slider.label);
  own.addEventListener("input", () => {
    hand(native, valueAt(slider, Number(own.value)), "input");
    show(own, native, slider);
  });
  own.addEventListener("change", () => hand(native, native.value, "change"));
  own.addEventListener("pointerup", (event) => native.dispatchEvent(new PointerEvent("pointerup", event)));
  own.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const value = moved(slider, Number(native.value), event.key);
    if (value === undefined) return;
    event.preventDefault();
    hand(native, onStep(slider, value), "input", "change");
    show(own, native, slider);
  });
  native.after(own);
  native.hidden = true;
  native.tabIndex = -1;
  const label = field.querySelector(`label[for="${native.id}"]`);
  if (label) label.htmlFor = own.id;
  /* Gradio draws every value that it takes, a typed one and one from the server too, into this style. */
  const seen = new MutationObserver(() => show(own, native, slider));
  seen.observe(native, { attributeFilter: ["style", "disabled"] });
  show(own, native, slider);
}

function installAll() {
  for (const [name, slider] of Object.entries(sliders)) {
    const field = document.getElementById(`field-${name}`);
    if (field) install(field, name, slider);
  }
}

installAll();
/* A field that gradio draws later, or once more, gets its range too. */
if (fields) new MutationObserver(installAll).observe(fields, { childList: true, subtree: true });
