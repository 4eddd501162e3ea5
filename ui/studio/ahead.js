/* What the run to come would reuse, or why it cannot be and what would help; nothing to say means nothing to see. */
const changed = element.querySelector(".changed");
const presets = element.querySelector(".presets");
const line = element.querySelector(".ahead");
let latest = 0;

function show() {
  const { asked = 0 } = props.value || {};
  // An answer to what the form held before.
  if (asked && asked < latest) return;
  latest = asked || latest;
  const { text, over, suggestions, outline, changed: settings, preset, instant, texts, tiles } = props.value || {};
  line.hidden = !text;
  line.classList.toggle("over", Boolean(over));
  line.querySelector("span").textContent = text || "";
  window.studio.suggestions(line, suggestions || [], props.words.suggestions, (detail) => trigger("suggestion", detail));
  const held = changed.contains(document.activeElement);
  changed.hidden = !settings;
  if (held && !settings) document.querySelector("#run")?.focus();
  changed.querySelector("span").textContent = settings || "";
  for (const button of presets.children) button.setAttribute("aria-pressed", String(button.dataset.name === preset));
  if (outline) window.studio.setOutline(outline);
  if (instant) window.studio.setInstant(instant);
  if (texts) window.studio.setTexts(texts);
  window.studio.setTiles(tiles || null);
}

props.presets.forEach(({ name, label, title }) => {
  const button = window.dom.made("button", "", label);
  Object.assign(button, { type: "button", title });
  button.dataset.name = name;
  button.addEventListener("click", () => trigger("preset", { name }));
  presets.append(button);
});
window.studio.oneStop(presets);
changed.querySelector("button").addEventListener("click", () => trigger("reset"));
watch("value", show);
show();
