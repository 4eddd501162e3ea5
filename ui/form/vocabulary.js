/* Chips of the words that the model knows: a press puts one into the prompt, another takes it out again. */
const { made } = window.dom;
const details = element.querySelector(".vocabulary");
const box = element.querySelector(".families");
const chips = [];

const area = () => document.querySelector("#field-prompt textarea");
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
/* A phrase as it stands in a prompt, with the comma or the space before it, also first in the brackets of a weight. */
const found = (phrase) => new RegExp(`(?:^|,? +|,|(?<=[(\\[]))(${escaped(phrase)})(?![\\w-])`, "i");
/* Brackets that are left without a word, with what stood before them. */
const HOLLOW = /(?:^|,? *)(?:\(\s*(?::\s*[\d.]+\s*)?\)|\[\s*\])/;

function write(text) {
  const prompt = area();
  prompt.value = text;
  prompt.dispatchEvent(new Event("input", { bubbles: true }));
}

function joined(text, { phrase, after }) {
  const before = text.trimEnd();
  if (!before) return phrase;
  const continues = after === null || after.some((word) => before.toLowerCase().endsWith(word));
  return before.endsWith(",") ? `${before} ${phrase}` : `${before}${continues ? "" : ","} ${phrase}`;
}

function press(chip) {
  const text = area().value;
  if (found(chip.phrase).test(text)) write(text.replace(found(chip.phrase), "").replace(HOLLOW, "").replace(/(^|[([])[, ]+/, "$1"));
  else write(joined(text, chip));
  paint();
}

function paint() {
  const text = area()?.value || "";
  for (const chip of chips) chip.button.setAttribute("aria-pressed", String(found(chip.phrase).test(text)));
}

for (const { label, phrases, after } of props.families) {
  const row = made("div", "family");
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", label);
  row.append(made("span", "", label));
  for (const phrase of phrases) {
    const button = made("button", "", phrase);
    const chip = { button, phrase, after };
    button.type = "button";
    button.addEventListener("click", () => press(chip));
    chips.push(chip);
    row.append(button);
  }
  box.append(row);
}
window.studio.oneStop(box);
/* What the server fills in makes no event here. */
for (const name of ["pointerenter", "focusin"]) box.addEventListener(name, paint);
details.addEventListener("toggle", paint);
document.addEventListener("input", (event) => event.target === area() && details.open && paint());
