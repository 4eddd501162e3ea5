/* Chips of the LoRA files: a press puts one into the field, with its weight next to it, or takes it out. */
const { made, set } = window.dom;
const words = props.words;
const find = window.dom.within(element);
let box = find(".loras-chips");
const note = find(".loras-note span");
let chips = [];

const field = () => document.querySelector("#field-loras textarea, #field-loras input");

/* What the field names, as [name, weight as it is written]. */
function held() {
  const entries = (field()?.value || "").split(/[,\n]/).map((entry) => entry.trim());
  return entries.filter(Boolean).map((entry) => {
    const at = entry.lastIndexOf(":");
    return at < 0 ? [entry, "1"] : [entry.slice(0, at).trim(), entry.slice(at + 1).trim()];
  });
}

function write(entries) {
  const input = field();
  if (!input) return;
  input.value = entries.map(([name, weight]) => `${name}:${weight}`).join(", ");
  input.dispatchEvent(new Event("input", { bubbles: true }));
  paint();
}

function toggle(name) {
  const others = held().filter(([other]) => other !== name);
  if (others.length < held().length) write(others);
  else if (others.length < props.most) write([...others, [name, "1"]]);
}

function weigh(name, value) {
  const weight = Math.min(props.most_weight, Math.max(-props.most_weight, Number(value)));
  if (value === "" || !Number.isFinite(weight)) return;
  write(held().map(([other, before]) => [other, other === name ? String(weight) : before]));
}

function paint() {
  const entries = new Map(held());
  for (const { name, button, weight } of chips) {
    const chosen = entries.has(name);
    button.setAttribute("aria-pressed", String(chosen));
    weight.hidden = !chosen;
    if (chosen && document.activeElement !== weight && weight.value !== entries.get(name)) weight.value = entries.get(name);
    button.disabled = !chosen && entries.size >= props.most;
  }
}

function chip(name) {
  const row = made("span", "lora");
  const button = made("button", "", name);
  button.type = "button";
  button.addEventListener("click", () => toggle(name));
  const weight = made("input");
  Object.assign(weight, { type: "number", min: -props.most_weight, max: props.most_weight, step: props.weight_step });
  weight.setAttribute("aria-label", words.loras_weight.replace("{name}", name));
  weight.addEventListener("change", () => weigh(name, weight.value));
  row.append(button, weight);
  box.append(row);
  return { name, button, weight };
}

function show() {
  const { names = [], note: said = "", unusable = [] } = props.value || {};
  if (names.join("\n") !== chips.map(({ name }) => name).join("\n")) {
    const empty = box.cloneNode(false);
    box.replaceWith(empty);
    box = empty;
    chips = names.map(chip);
    window.studio.oneStop(box);
  }
  set(note, said);
  note.title = unusable.join("\n");
  paint();
}

find(".loras-refresh").addEventListener("click", () => trigger("refresh"));
/* What the server fills in makes no event here. */
for (const name of ["pointerenter", "focusin"]) element.addEventListener(name, paint);
document.addEventListener("input", (event) => event.target === field() && paint());
watch("value", show);
show();
